package worker

import (
	"bufio"
	"context"
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

// book counts what a worker tells.
type book struct {
	mu      sync.Mutex // guards all below
	started []protocol.Job
	peers   []string // of those started
	refused []string
	dropped []string // peers
}

func (b *book) Processing(job protocol.Job, peer net.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started = append(b.started, job)
	b.peers = append(b.peers, peer.String())
}

func (b *book) Refused(_ net.Addr, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = append(b.refused, reason)
}

func (b *book) Dropped(peer net.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped = append(b.dropped, peer.String())
}

func (b *book) startedSoFar() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.started)
}

// named is the answer to a job with the name #1f.
const named = "#1f " + protocol.Response + "\n"

// lab is a worker in a bubble: Long takes 5 s, Short 1 s, a drain at most 3 s.
type lab struct {
	t    *testing.T
	net  memnet.Net
	book book
	stop func() time.Duration // stops the worker and returns how long that took
}

func newLab(t *testing.T, slots int) *lab { return newLabOf(t, slots, 0, nil) }

// newLabOf is newLab with a limit on connections, 0 for none, whose connections
// are changed by wrap, unless that is nil.
func newLabOf(t *testing.T, slots, maxConns int, wrap func(socket.Conn) socket.Conn) *lab {
	l := &lab{t: t}
	w := &Worker{Work: [protocol.NumTypes]time.Duration{protocol.Long: 5 * time.Second, protocol.Short: time.Second}, Slots: slots, Observer: &l.book}
	s := server.Server{Handle: w.Handle, DrainTimeout: 3 * time.Second, MaxConns: maxConns}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	listener := wrapping{l.net.Listen("worker"), wrap}
	go func() {
		defer close(done)
		s.Serve(ctx, listener)
	}()
	l.stop = func() time.Duration {
		start := time.Now()
		cancel()
		<-done
		return time.Since(start)
	}
	return l
}

// wrapping is a listener that changes the connections that it accepts.
type wrapping struct {
	socket.Listener
	wrap func(socket.Conn) socket.Conn // nil: not at all
}

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.wrap == nil {
		return c, err
	}
	return l.wrap(socket.Of(c)), nil
}

// send sends text on a new connection.
func (l *lab) send(text string) *memnet.Conn {
	l.t.Helper()
	c, err := l.net.Dial(l.t.Context(), "worker")
	if err != nil {
		l.t.Fatal(err)
	}
	io.WriteString(c, text)
	return c.(*memnet.Conn)
}

// ask sends text and returns all of the answer, and how long it took.
func (l *lab) ask(text string) (string, time.Duration) {
	start := time.Now()
	c := l.send(text)
	defer c.Close()
	answer, err := io.ReadAll(c)
	if err != nil {
		l.t.Errorf("reading the answer to %.40q: %v", text, err)
	}
	return string(answer), time.Since(start)
}

// inLab runs f with a worker without a limit. ask sends a job to it.
func inLab(t *testing.T, f func(b *book, ask func(string) (string, time.Duration), stop func() time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 0)
		f(&l.book, l.ask, l.stop)
		l.stop()
	})
}

func TestJobs(t *testing.T) {
	inLab(t, func(b *book, ask func(string) (string, time.Duration), _ func() time.Duration) {
		for _, test := range []struct {
			text, answer string
			took         time.Duration
		}{
			{"AppID:Long", protocol.Response, 5 * time.Second},
			{"AppID:Short", protocol.Response, time.Second},
			{"AppID:Short:round_robin", protocol.Response, time.Second},
			{"AppID:Medium", `Error: unknown type "Medium": want Long or Short`, 0},
			{"AppID", `Error: incomplete job: got "AppID", want AppID:<type> within 5s`, 5 * time.Second},
			{strings.Repeat("x", 64<<10), `Error: job "` + strings.Repeat("x", 64) + `"... is longer than 1024 bytes: want AppID:<type>`, 0},
		} {
			if answer, took := ask(test.text); answer != test.answer || took != test.took {
				t.Errorf("%.40q: %q after %v\nwant %q after %v", test.text, answer, took, test.answer, test.took)
			}
		}
		if len(b.started) != 3 || len(b.refused) != 3 {
			t.Errorf("started %v, refused %v", b.started, b.refused)
		}
	})
}

func TestJobsAtOnce(t *testing.T) {
	inLab(t, func(_ *book, ask func(string) (string, time.Duration), _ func() time.Duration) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, took := ask("AppID:Long"); took != 5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
		wg.Wait()
	})
}

func TestStop(t *testing.T) {
	inLab(t, func(b *book, ask func(string) (string, time.Duration), stop func() time.Duration) {
		answers := make(chan string, 2)
		for _, text := range []string{"AppID:Short", "AppID:Long"} {
			go func() {
				answer, _ := ask(text)
				answers <- answer
			}()
		}
		synctest.Wait()
		if took := stop(); took != 3*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if got := <-answers; got != protocol.Response {
			t.Errorf("finished in time: %q", got)
		}
		if got := <-answers; got != "" {
			t.Errorf("not finished in time: %q", got)
		}
		if want := []string{"stopped before the job was done"}; !slices.Equal(b.refused, want) {
			t.Errorf("told %q, want %q", b.refused, want)
		}
	})
}

// A broker that closes a connection that it kept has asked nothing.
func TestClosedKeptConnectionIsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 0)
		kept := l.send("AppID-keep#1f:Short\n")
		bufio.NewReader(kept).ReadString('\n')
		kept.Close()
		synctest.Wait()
		if len(l.book.refused) != 0 {
			t.Errorf("refused %v", l.book.refused)
		}
		if _, took := l.ask("AppID:Medium"); took != 0 || len(l.book.refused) != 1 {
			t.Errorf("refused %v", l.book.refused)
		}
		l.stop()
	})
}

// A stop lets idle kept connections go at once, whatever the broker does: it
// is told that no job was taken, and then that nothing follows.
func TestStopClosesIdleKeptConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 0)
		kept := l.send("AppID-keep#1f:Short\n")
		defer kept.Close()
		r := bufio.NewReader(kept)
		if answer, err := r.ReadString('\n'); err != nil || answer != named {
			t.Fatalf("%q, %v", answer, err)
		}
		time.Sleep(time.Hour)
		start := time.Now()
		told := make(chan time.Duration)
		go func() {
			if rest, err := io.ReadAll(r); string(rest) != "\n" || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
			told <- time.Since(start)
		}()
		stopped := make(chan time.Duration)
		go func() { stopped <- l.stop() }()
		const atOnce = 10 * time.Millisecond // for a job that is on its way
		if took := <-told; took > atOnce {
			t.Errorf("told after %v", took)
		}
		if took := <-stopped; took > atOnce+100*time.Millisecond {
			t.Errorf("stopped after %v", took)
		}
	})
}

// The same when its job ends after the stop has begun: nothing is in flight then,
// so no drain timeout would end the waiting for a next job.
func TestStopClosesKeptConnectionsAfterTheirJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 0)
		kept := l.send("AppID-keep#1f:Short\n")
		synctest.Wait()
		stopped := make(chan time.Duration, 1)
		go func() { stopped <- l.stop() }()
		kept.SetReadDeadline(time.Now().Add(time.Minute))
		if got, err := io.ReadAll(kept); string(got) != named+"\n" || err != nil {
			t.Errorf("%q, %v, want the answer, and that no job was taken", got, err)
		}
		kept.Close()
		if took := <-stopped; took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("stopped after %v, want the second of the job and a moment", took)
		}
	})
}
