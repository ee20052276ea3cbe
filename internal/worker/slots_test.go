package worker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// inSlots runs f with a worker that has that number of slots.
func inSlots(t *testing.T, slots int, f func(l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, slots)
		f(l)
		l.stop()
	})
}

// expect checks that got is want.
func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSlots(t *testing.T) {
	for _, test := range []struct {
		slots int
		jobs  string // L and S, in the order in which they come
		took  []int  // seconds, from the start, in that order
	}{
		{0, "SLSL", []int{1, 5, 1, 5}},
		{1, "S", []int{1}},
		{1, "SSSS", []int{1, 2, 3, 4}},
		{1, "LSLS", []int{5, 6, 11, 12}},
		{2, "LSLSS", []int{5, 1, 6, 6, 7}},
		{3, "LLLLLLL", []int{5, 5, 5, 10, 10, 10, 15}},
		{9, "LSLSS", []int{5, 1, 5, 1, 1}},
	} {
		inSlots(t, test.slots, func(l *lab) {
			var asks sync.WaitGroup
			took := make([]int, len(test.jobs))
			for i, letter := range test.jobs {
				job := protocol.Job{Type: map[rune]protocol.Type{'L': protocol.Long, 'S': protocol.Short}[letter]}
				asks.Go(func() {
					answer, d := l.ask(job.String())
					expect(t, "answer", answer, protocol.Response)
					took[i] = int(d / time.Second)
					expect(t, "part of a second", d%time.Second, 0)
				})
				synctest.Wait()
			}
			asks.Wait()
			if !slices.Equal(took, test.took) {
				t.Errorf("%s in %d slots: answered after %v, want %v", test.jobs, test.slots, took, test.took)
			}
		})
	}
}

// Jobs start in the order in which they came, even 500 of them.
func TestFirstComeFirstServed(t *testing.T) {
	inSlots(t, 3, func(l *lab) {
		var came []string
		var conns []*memnet.Conn
		for range 500 {
			c := l.send("AppID:Short")
			conns = append(conns, c)
			came = append(came, c.LocalAddr().String())
			synctest.Wait()
		}
		for _, c := range conns {
			io.ReadAll(c)
			c.Close()
		}
		if !sameInThrees(l.book.peers, came) {
			t.Errorf("started\n%v\nwant\n%v", l.book.peers, came)
		}
	})
}

// sameInThrees reports whether two lists agree. Three jobs end at the same
// moment here, so three start at one, and may write themselves down in any
// order.
func sameInThrees(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i += 3 {
		end := min(i+3, len(a))
		if !slices.Equal(slices.Sorted(slices.Values(a[i:end])), slices.Sorted(slices.Values(b[i:end]))) {
			return false
		}
	}
	return true
}

// The line that work begins appears when it does, not when the job has come.
func TestProcessingIsSaidAtTheStart(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		a := l.send("AppID:Long")
		synctest.Wait()
		b := l.send("AppID:Short")
		defer a.Close()
		defer b.Close()
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		expect(t, "started before 5 s", l.book.startedSoFar(), 1)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		expect(t, "started after 5 s", l.book.startedSoFar(), 2)
	})
}

func TestJobOfAPeerThatLeftIsDropped(t *testing.T) {
	for name, leave := range map[string]func(*memnet.Conn){
		"closes":                   func(c *memnet.Conn) { c.Close() },
		"resets":                   func(c *memnet.Conn) { c.Reset() },
		"half-closes":              func(c *memnet.Conn) { c.CloseWrite() },
		"says more and closes":     func(c *memnet.Conn) { io.WriteString(c, "more"); c.Close() },
		"closes in the same write": nil, // see below
	} {
		for _, job := range []protocol.Job{{Type: protocol.Long}, {Type: protocol.Long, Name: 0x1f}} {
			inSlots(t, 1, func(l *lab) {
				first, second := l.send("AppID:Long"), l.send("AppID:Long")
				synctest.Wait()
				leaver := l.send(job.String())
				if leave == nil {
					leaver.Close()
				} else {
					time.Sleep(JobTimeout + time.Second) // which is not for waiting
					leave(leaver)
				}
				synctest.Wait()
				what := fmt.Sprintf("a peer that %s, %q", name, job)
				if want := []string{leaver.LocalAddr().String()}; !slices.Equal(l.book.dropped, want) {
					t.Errorf("%s: dropped %v, want %v", what, l.book.dropped, want)
				}
				last := l.send("AppID:Short")
				answer, _ := io.ReadAll(last)
				expect(t, what+": the next one's answer", string(answer), protocol.Response)
				expect(t, what+": started", fmt.Sprint(l.book.started), "[AppID:Long AppID:Long AppID:Short]")
				first.Close()
				second.Close()
				last.Close()
				leaver.Close()
			})
		}
	}
}

// A half-close by a peer that is still there looks like leaving; it is told.
func TestHalfCloseWhileWaitingIsTold(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		first := l.send("AppID:Short")
		synctest.Wait()
		second := l.send("AppID:Short")
		first.CloseWrite() // its work has begun
		synctest.Wait()
		second.CloseWrite()
		answer, _ := io.ReadAll(second)
		if !strings.HasPrefix(string(answer), "Error: the connection was closed") {
			t.Errorf("the job that waits: %q", answer)
		}
		answer, _ = io.ReadAll(first)
		expect(t, "the job that is worked on", string(answer), protocol.Response)
		first.Close()
		second.Close()
	})
}

// With no limit no job waits, and a half-close is no matter, as ever.
func TestHalfCloseWithoutLimit(t *testing.T) {
	inSlots(t, 0, func(l *lab) {
		c := l.send("AppID:Short")
		c.CloseWrite()
		answer, _ := io.ReadAll(c)
		expect(t, "answer", string(answer), protocol.Response)
		c.Close()
	})
}

// A kept connection loses nothing that comes while its job waits: not even a
// next job that comes early, in pieces.
func TestKeptConnectionInSlots(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		first := l.send("AppID:Long")
		synctest.Wait()
		kept := l.send("AppID-keep#1f:Short\n")
		synctest.Wait()
		for _, piece := range []string{"AppID-", "keep#1f:Lo", "ng\n"} {
			io.WriteString(kept, piece)
			time.Sleep(time.Second)
		}
		r := bufio.NewReader(kept)
		start := time.Now().Add(-3 * time.Second)
		for _, want := range []time.Duration{6 * time.Second, 11 * time.Second} {
			answer, err := r.ReadString('\n')
			if err != nil || answer != named || time.Since(start) != want {
				t.Errorf("%q, %v after %v, want it after %v", answer, err, time.Since(start), want)
			}
		}
		time.Sleep(time.Hour) // idle for as long as it likes
		io.WriteString(kept, "AppID-keep#1f:Short\n")
		if answer, err := r.ReadString('\n'); err != nil || answer != named {
			t.Errorf("after an hour: %q, %v", answer, err)
		}
		first.Close()
		kept.Close()
	})
}

// A kept connection may be idle for ever, but once a job has begun to come it
// has to come whole, in time. That the first job has come in two parts, and so had a
// deadline, does not matter any more.
func TestKeptConnectionHasADeadlineForAJob(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		kept := l.send("AppID-keep#1f:Sh")
		defer kept.Close()
		synctest.Wait()
		io.WriteString(kept, "ort\n")
		r := bufio.NewReader(kept)
		r.ReadString('\n')
		time.Sleep(time.Hour)
		start := time.Now()
		go func() { // a byte a second does not put the deadline off
			for i := range len("AppID-keep#1f:Sho") {
				io.WriteString(kept, "AppID-keep#1f:Sho"[i:i+1])
				time.Sleep(time.Second)
			}
		}()
		answer, err := io.ReadAll(r)
		expect(t, "refused after", time.Since(start), JobTimeout)
		if err != nil || !strings.HasPrefix(string(answer), "Error: incomplete job") {
			t.Errorf("%q, %v", answer, err)
		}
		time.Sleep(time.Minute) // for the sender to end
	})
}

// A peer that goes on sending while its job waits does not fill the worker's
// memory, and gets its answer.
func TestFloodWhileWaiting(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		first := l.send("AppID:Long")
		synctest.Wait()
		flood := l.send("AppID:Short")
		synctest.Wait()
		io.WriteString(flood, strings.Repeat("x", 100_000))
		answer, err := io.ReadAll(flood)
		expect(t, "answer", string(answer), protocol.Response)
		expect(t, "error", err, nil)
		first.Close()
		flood.Close()
	})
}

func TestWatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		l := n.Listen("worker")
		there, _ := n.Dial(t.Context(), "worker")
		here, _ := l.Accept()
		io.WriteString(there, strings.Repeat("x", 100_000))
		in := &jobReader{conn: server.Unserved(t.Context(), socket.Of(here))}
		w := in.watch()
		<-w.over
		expect(t, "left", w.end(), false)
		if n, err := in.conn.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("the connection has a deadline still: %v", err)
		}
		if n := len(in.early); n < protocol.MaxLen || n > 2*protocol.MaxLen {
			t.Errorf("read ahead %d bytes", n)
		}
	})
}

// unhurried is a connection that takes a second to notice that it is
// interrupted.
type unhurried struct{ socket.Conn }

func (c unhurried) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		time.Sleep(time.Second)
	}
	return n, err
}

// When a watch has ended, nobody reads ahead any more.
func TestWatchHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		l := n.Listen("worker")
		there, _ := n.Dial(t.Context(), "worker")
		here, _ := l.Accept()
		in := &jobReader{conn: server.Unserved(t.Context(), unhurried{socket.Of(here)})}
		w := in.watch()
		synctest.Wait()
		start := time.Now()
		expect(t, "left", w.end(), false)
		expect(t, "ended after", time.Since(start), time.Second)
		there.Close()
	})
}

// A watch goes on for as long as the job waits, however the job has come.
func TestWatchIsNotOverWithTheDeadlineForTheJob(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		first, second := l.send("AppID:Long"), l.send("AppID:Long")
		synctest.Wait()
		leaver := l.send("AppID:")
		synctest.Wait()
		io.WriteString(leaver, "Long") // now it has a deadline
		time.Sleep(JobTimeout + time.Second)
		expect(t, "dropped before it left", len(l.book.dropped), 0)
		leaver.Close()
		synctest.Wait()
		expect(t, "dropped", len(l.book.dropped), 1)
		first.Close()
		second.Close()
	})
}

// A next job that came early is read whole, however long it is.
func TestLongEarlyJob(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		first := l.send("AppID:Long")
		synctest.Wait()
		kept := l.send("AppID-keep#1f:Short\n")
		synctest.Wait()
		io.WriteString(kept, strings.Repeat(" ", 200)+"AppID-keep#1f:Short\n")
		r := bufio.NewReader(kept)
		for range 2 {
			if answer, err := r.ReadString('\n'); err != nil || answer != named {
				t.Errorf("%q, %v", answer, err)
			}
		}
		first.Close()
		kept.Close()
	})
}

// A job whose turn it is when everything ends is not begun.
func TestTurnAtTheEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	ticket := new(queue).join(1)
	expect(t, "error", ticket.await(ctx, nil), context.Canceled)
	ticket.leave()
}

// A drain waits for the jobs that wait, too.
func TestDrainOfSlots(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		var asks sync.WaitGroup
		answers := make([]string, 5)
		for i := range answers {
			asks.Go(func() { answers[i], _ = l.ask("AppID:Short") })
			synctest.Wait()
		}
		time.Sleep(time.Second / 2)
		expect(t, "stopped after", l.stop(), 3*time.Second)
		asks.Wait()
		if want := []string{protocol.Response, protocol.Response, protocol.Response, "", ""}; !slices.Equal(answers, want) {
			t.Errorf("answers %q, want %q", answers, want)
		}
		expect(t, "started", len(l.book.started), 4)
		expect(t, "dropped", len(l.book.dropped), 0)
	})
}

func TestDrainEndsWithTheLastWaiting(t *testing.T) {
	inSlots(t, 1, func(l *lab) {
		var asks sync.WaitGroup
		for range 2 {
			asks.Go(func() {
				answer, _ := l.ask("AppID:Short")
				expect(t, "answer", answer, protocol.Response)
			})
		}
		synctest.Wait()
		expect(t, "stopped after", l.stop(), 2*time.Second)
		asks.Wait()
	})
}

// Whichever ticket is given back, the number of slots stays the same.
func TestQueueKeepsItsSlots(t *testing.T) {
	var q queue
	var places []*ticket
	for range 10 {
		places = append(places, q.join(2))
	}
	running := func() (n int) {
		for _, p := range places {
			select {
			case <-p.turn:
				n++
			default:
			}
		}
		return n
	}
	for _, i := range []int{9, 5, 0, 2, 7, 1, 3, 4} {
		expect(t, fmt.Sprintf("running before place %d leaves", i), running(), 2)
		places[i].leave()
		places[i] = &ticket{}
	}
	expect(t, "running", running(), 2)
	places[6].leave()
	places[8].leave()
	expect(t, "running in the end", q.running, 0)
	expect(t, "waiting in the end", q.waiting.Len(), 0)
}

// clumsy is an observer that panics at the first job.
type clumsy struct {
	*book
	once sync.Once
}

func (c *clumsy) Processing(job protocol.Job, peer net.Addr) {
	c.once.Do(func() { panic("on purpose") })
	c.book.Processing(job, peer)
}

// A panic costs its own job: the slot is free for the next one.
func TestPanicGivesItsSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		told := 0
		w := &Worker{Slots: 1, Observer: &clumsy{book: new(book)}}
		s := server.Server{Handle: w.Handle, Panicked: func(any, []byte) { told++ }}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		l := n.Listen("worker")
		go func() { done <- s.Serve(ctx, l) }()
		for _, want := range []string{"", protocol.Response} {
			c, _ := n.Dial(t.Context(), "worker")
			io.WriteString(c, "AppID:Short")
			got, _ := io.ReadAll(c)
			expect(t, "answer", string(got), want)
			c.Close()
		}
		stop()
		<-done // it is told after its connection is closed
		expect(t, "panics", told, 1)
	})
}
