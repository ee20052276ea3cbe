package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// A lab is a broker with three workers, in a bubble.
type lab struct {
	*Broker
	t    *testing.T
	net  memnet.Net
	stop context.CancelFunc
	done chan error
	book record

	panicked func(value any, stack []byte) // nil: a panic fails the test
}

// record remembers what it was told.
type record struct {
	mu    sync.Mutex // guards all below
	lines []string
	done  []Exchange
	steps []string
}

func (j *record) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *record) Connected(net.Addr) {}
func (j *record) Unreachable(w string, err error) {
	j.add("unreachable %s: %v", w, neterr.Reason(err))
}
func (j *record) Redispatched(w string, err error) {
	j.add("redispatched from %s: %v", w, neterr.Reason(err))
}
func (j *record) Step(x *Exchange, s Step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.steps = append(j.steps, fmt.Sprintf("%s %s", []string{"queued", "assigned", "sent", "released"}[s], x.Worker))
}
func (j *record) ClientGone(_ *Exchange, err error) { j.add("gone: %v", err) }
func (j *record) Done(x *Exchange) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done = append(j.done, *x)
}

func (j *record) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "; ")
}

// selectors returns the selectors of both approaches.
func selectors() []balance.Selector {
	return []balance.Selector{
		protocol.RoundRobin:       new(balance.RoundRobin),
		protocol.LeastConnections: new(balance.LeastConnections),
	}
}

// newLab starts a broker in front of Worker-1 to Worker-3, none of which is
// there yet. change, if not nil, changes it before it starts.
func newLab(t *testing.T, change func(*Broker)) *lab { return newLabOf(t, 0, change) }

// newLabOf is newLab with a limit on clients; 0 means none.
func newLabOf(t *testing.T, maxConns int, change func(*Broker)) *lab {
	l := &lab{t: t, done: make(chan error, 1)}
	var workers []balance.Worker
	for _, name := range []string{"Worker-1", "Worker-2", "Worker-3"} {
		workers = append(workers, balance.Worker{Name: name, Addr: name})
	}
	l.Broker = &Broker{
		Pool:           balance.NewPool(workers, selectors()...),
		Dial:           l.net.DialWithin,
		RequestTimeout: 5 * time.Second, DialTimeout: 2 * time.Second, AnswerTimeout: 30 * time.Second,
		Observer: &l.book,
	}
	if change != nil {
		change(l.Broker)
	}
	ctx, stop := context.WithCancel(t.Context())
	l.stop = stop
	s := server.Server{Handle: l.Handle, DrainTimeout: time.Minute, MaxConns: maxConns}
	if change != nil {
		s.Panicked = func(value any, stack []byte) {
			if l.panicked == nil {
				panic(value)
			}
			l.panicked(value, stack)
		}
	}
	listener := l.net.Listen("broker")
	go func() { l.done <- s.Serve(ctx, listener) }()
	return l
}

// worker starts a worker that does what serve does with each connection.
func (l *lab) worker(name string, serve func(*memnet.Conn)) *memnet.Listener {
	listener := l.net.Listen(name)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(c.(*memnet.Conn))
		}
	}()
	l.t.Cleanup(func() { listener.Close() })
	return listener
}

// answers is a worker that answers text after some time, and closes.
func answers(text string, after time.Duration) func(*memnet.Conn) {
	return func(c *memnet.Conn) {
		defer c.Close()
		b := make([]byte, protocol.MaxLen)
		if n, _ := c.Read(b); string(b[:n]) != "AppID:Long" {
			text = fmt.Sprintf("got %q", b[:n])
		}
		time.Sleep(after)
		io.WriteString(c, text)
	}
}

func closes(c *memnet.Conn) {
	c.Read(make([]byte, protocol.MaxLen))
	c.Close()
}

func resets(c *memnet.Conn) {
	c.Read(make([]byte, protocol.MaxLen))
	c.Reset()
}

func hangs(c *memnet.Conn) {
	defer c.Close()
	io.Copy(io.Discard, c)
}

// ask sends a request and returns the answer and how long it took.
func (l *lab) ask(request string) (string, time.Duration) {
	l.t.Helper()
	start := time.Now()
	c, err := l.net.Dial(l.t.Context(), "broker")
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	b, err := io.ReadAll(c)
	if err != nil {
		l.t.Errorf("reading the answer to %.40q: %v", request, err)
	}
	return string(b), time.Since(start)
}

func (l *lab) expect(request, answer string, took time.Duration) {
	l.t.Helper()
	if got, d := l.ask(request); got != answer || d != took {
		l.t.Errorf("%.40q: %q after %v\nwant %q after %v", request, got, d, answer, took)
	}
}

// end stops the broker and checks that nothing was leaked: no lease, and (the
// bubble sees to that) no goroutine.
func (l *lab) end() {
	l.t.Helper()
	l.stop()
	if err := <-l.done; err != nil {
		l.t.Errorf("the broker ended with %v", err)
	}
	if l.Idle != nil {
		l.Idle.Close()
	}
	for _, w := range l.Pool.Snapshot().Workers {
		if w.InFlight != 0 || w.Assigned != answered(w)+w.Failed+w.Withdrawn {
			l.t.Errorf("%s at the end: %+v", w.Name, w)
		}
	}
}

// answered returns how many requests a worker answered.
func answered(w balance.Status) int {
	return w.Answered[protocol.RoundRobin] + w.Answered[protocol.LeastConnections]
}

const long = "AppID:Long:round_robin"

// inLab runs f with a lab in a bubble.
func inLab(t *testing.T, change func(*Broker), f func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, change)
		f(l)
		l.end()
	})
}

func TestRelays(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers("Response from Worker", 5*time.Second))
		l.worker("Worker-2", answers("any other \x00 text\n", time.Second))
		l.worker("Worker-3", answers("Error: so says the worker", 0))
		l.expect(long, "Response from Worker", 5*time.Second)
		l.expect(long, "any other \x00 text", time.Second)
		l.expect(long, "Error: so says the worker", 0)
		if v := l.book.done[0]; v.Worker != "Worker-1" || v.Attempts != 1 || v.Serving != 5*time.Second {
			t.Errorf("the exchange: %+v", v)
		}
	})
}

func TestThirtyAtOnce(t *testing.T) {
	for _, approach := range protocol.Approaches() {
		inLab(t, nil, func(l *lab) {
			for _, w := range l.Pool.Snapshot().Workers {
				l.worker(w.Name, answers(protocol.Response, 5*time.Second))
			}
			var wg sync.WaitGroup
			for range 30 {
				wg.Go(func() { l.expect("AppID:Long:"+approach.String(), protocol.Response, 5*time.Second) })
			}
			wg.Wait()
			for _, w := range l.Pool.Snapshot().Workers {
				if w.Peak != 10 || w.Assigned != 10 || w.Answered[approach] != 10 {
					t.Errorf("%s, %s: %d requests, %d answered, at most %d at once, want 10", approach, w.Name, w.Assigned, w.Answered[approach], w.Peak)
				}
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.expect("AppID:Medium:round_robin", `Error: unknown type "Medium": want Long or Short`, 0)
		l.expect("AppID:Lo", `Error: incomplete request: got "AppID:Lo", want AppID:<type>:<approach> within 5s`, 5*time.Second)
		l.expect("", `Error: incomplete request: got "", want AppID:<type>:<approach> within 5s`, 5*time.Second)
		l.expect(strings.Repeat("x", 64<<10), `Error: request "`+strings.Repeat("x", 64)+`"... is longer than 1024 bytes: want AppID:<type>:<approach>`, 0)
		for _, w := range l.Pool.Snapshot().Workers {
			if w.Assigned != 0 {
				t.Errorf("%s got a bad request", w.Name)
			}
		}
	})
}

// One deadline covers the whole request: a byte a second does not extend it.
func TestDribbling(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c, _ := l.net.Dial(t.Context(), "broker")
		start := time.Now()
		go func() {
			for range 20 {
				io.WriteString(c, "x")
				time.Sleep(time.Second)
			}
		}()
		got, err := io.ReadAll(c)
		if !strings.HasPrefix(string(got), `Error: incomplete request: got "xxxxx`) || err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("%q, %v after %v", got, err, time.Since(start))
		}
		c.Close()
		time.Sleep(20 * time.Second)
	})
}

func TestFailover(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-3", answers(protocol.Response, 0))
		l.expect(long, protocol.Response, 0)
		if got, want := l.book.text(), "unreachable Worker-1: connection refused; unreachable Worker-2: connection refused"; got != want {
			t.Errorf("record: %s", got)
		}
		if v := l.book.done[0]; v.Attempts != 3 || v.Worker != "Worker-3" {
			t.Errorf("exchange: %+v", v)
		}
	})
}

func TestAllDownAndBack(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.expect(long, "Error: no worker available: Worker-1: connection refused; Worker-2: connection refused; Worker-3: connection refused", 0)
		for range 5 { // each begins with the next one
			got, took := l.ask(long)
			if !strings.HasPrefix(got, "Error: no worker available: ") || strings.Count(got, ": connection refused") != 3 || took != 0 {
				t.Errorf("%q after %v", got, took)
			}
		}
		l.worker("Worker-2", answers(protocol.Response, 0))
		l.expect(long, protocol.Response, 0)
		l.expect("AppID:Long:least_connections", protocol.Response, 0)
	})
}

func TestBlackHole(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.net.BlackHole("Worker-1")
		l.worker("Worker-2", answers(protocol.Response, 0))
		l.expect(long, protocol.Response, 2*time.Second)
		if got := l.book.text(); got != "unreachable Worker-1: no connection within 2s" {
			t.Errorf("record: %s", got)
		}
	})
}

// What was sent is not sent again: the job may have run.
func TestAtMostOnce(t *testing.T) {
	const notAgain = "; the job may have run, so it was not sent again (see broker -redispatch)"
	for _, test := range []struct {
		name, reason string
		worker       func(*memnet.Conn)
		took         time.Duration
	}{
		{"closes", "closed without an answer", closes, 0},
		{"resets", "connection reset by peer", resets, 0},
		{"hangs", "no whole answer within 30s", hangs, 30 * time.Second},
		{"is too late", "no whole answer within 30s", answers("late", time.Hour), 30 * time.Second},
		{"is without end", "answer longer than 1024 bytes", answers(strings.Repeat("x", 64<<10), 0), 0},
		{"is cut off", "no whole answer within 30s", func(c *memnet.Conn) { io.WriteString(c, "Resp"); hangs(c) }, 30 * time.Second},
	} {
		inLab(t, nil, func(l *lab) {
			l.worker("Worker-1", test.worker)
			l.worker("Worker-2", answers(protocol.Response, 0))
			l.expect(long, "Error: Worker-1: "+test.reason+notAgain, test.took)
			if l.Pool.Snapshot().Workers[1].Assigned != 0 {
				t.Errorf("when the worker %s, another one got the request", test.name)
			}
			time.Sleep(time.Hour)
		})
		inLab(t, func(b *Broker) { b.Redispatch = true }, func(l *lab) {
			l.worker("Worker-1", test.worker)
			l.worker("Worker-2", answers(protocol.Response, 0))
			l.expect(long, protocol.Response, test.took)
			if got := l.book.text(); !strings.HasPrefix(got, "redispatched from Worker-1: ") {
				t.Errorf("record: %s", got)
			}
			time.Sleep(time.Hour)
		})
	}
}

// run makes all attempts of an exchange, for a client that is not there.
func (b *Broker) run(ctx context.Context, x *Exchange) {
	client := server.Unserved(ctx, absentClient{})
	for next := b.choose(ctx, client, x); next != nil; {
		next = next(ctx, client)
	}
}

// absentClient is a client that is not there.
type absentClient struct{ socket.Conn }

func (absentClient) SetWriteDeadline(time.Time) error { return nil }
func (absentClient) Write(p []byte) (int, error)      { return len(p), nil }
func (absentClient) Peek() socket.PeerState           { return socket.Quiet }
func (absentClient) CloseWrite() error                { return errors.ErrUnsupported }
func (absentClient) Close() error                     { return nil }

// A worker that fails at once has always the fewest in flight. It must not
// attract everything.
func TestFailingFastAttractsLittle(t *testing.T) {
	for _, redispatch := range []bool{false, true} {
		inLab(t, func(b *Broker) { b.Redispatch = redispatch }, func(l *lab) {
			l.worker("Worker-1", answers(protocol.Response, time.Second))
			l.worker("Worker-2", closes)
			l.worker("Worker-3", answers(protocol.Response, time.Second))
			var wg sync.WaitGroup
			var mu sync.Mutex // guards failed
			failed := 0
			for range 60 {
				wg.Go(func() {
					if got, _ := l.ask("AppID:Long:least_connections"); got != protocol.Response {
						mu.Lock()
						failed++
						mu.Unlock()
					}
				})
				time.Sleep(25 * time.Millisecond)
			}
			wg.Wait()
			if redispatch && failed > 0 || failed > 4 {
				t.Errorf("redispatch %v: %d of 60 failed", redispatch, failed)
			}
		})
	}
}

// An empty line means "not taken" only from a worker that was asked by the
// extension: from another one it may come after the job has run.
func TestEmptyLineIsNoAnswer(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers("\n", 0))
		l.worker("Worker-2", answers(protocol.Response, 0))
		l.expect(long, "Error: Worker-1: closed without an answer; the job may have run, so it was not sent again (see broker -redispatch)", 0)
	})
}

// The time for the answer counts from the end of the connect.
func TestSlowConnectLeavesTimeForTheAnswer(t *testing.T) {
	var l *lab
	slowly := func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
		time.Sleep(time.Second)
		return l.net.DialWithin(ctx, addr, within)
	}
	inLab(t, func(b *Broker) { b.Dial = slowly }, func(lab *lab) {
		l = lab
		l.worker("Worker-1", hangs)
		l.expect(long, "Error: Worker-1: no whole answer within 30s; the job may have run, so it was not sent again (see broker -redispatch)", 31*time.Second)
		if v := l.book.done[0]; v.Connecting != time.Second || v.Serving != 30*time.Second {
			t.Errorf("the exchange: %+v", v)
		}
	})
}

// unwritable is a connection that was reset before the job was written.
type unwritable struct {
	socket.Conn
	closed *bool
}

func (unwritable) SetDeadline(time.Time) error { return nil }
func (unwritable) Write([]byte) (int, error)   { return 0, neterr.Errno(neterr.Reset) }
func (c unwritable) Close() error              { *c.closed = true; return nil }

func TestUnwrittenGoesToTheNext(t *testing.T) {
	var l *lab
	closed := false
	dial := func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
		if addr == "Worker-1" {
			return unwritable{closed: &closed}, nil
		}
		return l.net.DialWithin(ctx, addr, within)
	}
	inLab(t, func(b *Broker) { b.Dial = dial }, func(lab *lab) {
		l = lab
		l.worker("Worker-2", answers(protocol.Response, time.Second))
		l.expect(long, protocol.Response, time.Second)
		if !closed {
			t.Error("the connection was not closed")
		}
		if got := l.book.text(); got != "unreachable Worker-1: connection reset by peer" {
			t.Errorf("the observer was told %q", got)
		}
	})
}

// A job whose exchange is over is not sent.
func TestNotSentAfterTheEnd(t *testing.T) {
	never := func(context.Context, string, time.Duration) (socket.Conn, error) {
		t.Error("a worker was dialed")
		return nil, neterr.Errno(neterr.Refused)
	}
	inLab(t, func(b *Broker) { b.Dial = never }, func(l *lab) {
		ctx, cancel := context.WithCancel(l.t.Context())
		cancel()
		x := &Exchange{Request: protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}}
		if l.run(ctx, x); x.Failure == nil || x.Failure.Reason != CutOff || x.Failure.Error() != "the broker stopped before the answer came" {
			t.Errorf("got %v", x.Failure)
		}
		if w := l.Pool.Snapshot().Workers[0]; w.State != balance.Up || w.Failed != 1 {
			t.Errorf("%+v", w)
		}
	})
}

func TestOwnFailuresAreNotCounted(t *testing.T) {
	out := func(context.Context, string, time.Duration) (socket.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: neterr.Errno(neterr.ProcessFiles)}
	}
	inLab(t, func(b *Broker) { b.Dial = out }, func(l *lab) {
		for range 5 {
			if got, _ := l.ask(long); !strings.Contains(got, "too many open files") {
				t.Errorf("got %q", got)
			}
		}
		for _, w := range l.Pool.Snapshot().Workers {
			if w.State != balance.Up {
				t.Errorf("%s is %v", w.Name, w.State)
			}
		}
	})
}

func TestClientGone(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, time.Second))
		c, _ := l.net.Dial(t.Context(), "broker")
		io.WriteString(c, long)
		synctest.Wait()
		c.(*memnet.Conn).Reset()
		time.Sleep(2 * time.Second)
		if answered(l.Pool.Snapshot().Workers[0]) != 1 || !strings.HasPrefix(l.book.text(), "gone") {
			t.Errorf("%+v, record %q", l.Pool.Snapshot().Workers[0], l.book.text())
		}
	})
}

// The lease is free before the answer is written.
func TestLeaseIsFreeBeforeTheAnswer(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, 0))
		l.expect(long, protocol.Response, 0)
		if n := l.Pool.Snapshot().Workers[0].InFlight; n != 0 {
			t.Errorf("%d in flight when the answer was there", n)
		}
	})
}

func TestDrainCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		l.worker("Worker-1", answers(protocol.Response, 2*time.Minute))
		l.AnswerTimeout = time.Hour
		go func() {
			time.Sleep(time.Second)
			l.stop()
		}()
		l.expect(long, "Error: the broker stopped before the answer came", time.Minute+time.Second)
		if err := <-l.done; !errors.Is(err, server.ErrDrainTimeout) {
			t.Errorf("ended with %v", err)
		}
		if w := l.Pool.Snapshot().Workers[0]; w.InFlight != 0 || w.State != balance.Up {
			t.Errorf("%+v", w)
		}
		time.Sleep(time.Hour)
	})
}

func newExchange() *Exchange {
	return &Exchange{
		Request: protocol.Request{Type: protocol.Short, Approach: protocol.LeastConnections},
		mark:    time.Now(),
	}
}
