package broker

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

const least = "AppID:Long:least_connections"

// idle returns how many connections to Worker-1 are idle.
func (l *lab) idle() int {
	l.Idle.mu.Lock()
	defer l.Idle.mu.Unlock()
	return len(l.Idle.idle[0])
}

// fillIdle has n connections to Worker-1 idle.
func (l *lab) fillIdle(n int) {
	l.t.Helper()
	var asks sync.WaitGroup
	for range n {
		asks.Go(func() { l.expect(least, "answer", time.Second) })
	}
	asks.Wait()
	if got := l.idle(); got != n {
		l.t.Fatalf("%d idle connections, want %d", got, n)
	}
}

// oneWorker has a broker know Worker-1 alone, and keep connections to it.
func oneWorker(b *Broker) {
	b.Pool = balance.NewPool([]balance.Worker{{Name: "Worker-1", Addr: "Worker-1"}}, selectors()...)
	b.Idle = NewIdlePool(100)
}

// vanishing is a worker that answers after a second, as many jobs on a
// connection as come, until its machine vanishes: then all connections that
// there are hang, and only new ones work.
type vanishing struct {
	mu  sync.Mutex // guards era
	era int
}

func (v *vanishing) now() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.era
}

func (v *vanishing) vanish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.era++
}

func (v *vanishing) serve(c *memnet.Conn) {
	defer c.Close()
	for era := v.now(); ; {
		job, err := protocol.ReadJob(c)
		if err != nil {
			return
		}
		if v.now() != era {
			io.Copy(io.Discard, c)
			return
		}
		time.Sleep(time.Second)
		io.WriteString(c, job.Name.Line("answer"))
	}
}

// A worker whose machine vanished and came back costs the requests that met a
// dead connection, and not one for each connection that was kept; it is not
// taken for a failing worker.
func TestVanishedWorkerBehindIdleConnections(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", w.serve)
		l.fillIdle(20)
		w.vanish()
		l.expect(least, "Error: Worker-1: no whole answer within 30s; the job may have run, so it was not sent again (see broker -redispatch)", 30*time.Second)
		if n := l.idle(); n != 0 {
			t.Errorf("%d connections are idle that have been for longer", n)
		}
		for range 20 {
			l.expect(least, "answer", time.Second)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Up || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A connection that was put back while another one hung has proved that it is
// alive: it stays.
func TestYoungerIdleConnectionsStay(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", w.serve)
		l.fillIdle(2)
		w.vanish()
		var asks sync.WaitGroup
		for range 2 {
			asks.Go(func() { l.ask(least) })
		}
		time.Sleep(time.Second)
		l.expect(least, "answer", time.Second) // on a new connection, which is put back
		asks.Wait()
		if n := l.idle(); n != 1 {
			t.Errorf("%d idle connections, want 1", n)
		}
	})
}

// Only a new connection that fails is held against the worker.
func TestNewConnectionThatFailsCounts(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		l.worker("Worker-1", hangs)
		for range 3 {
			l.ask(least)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Cooling {
			t.Errorf("%+v", s)
		}
	})
}

// What was not used for a minute is closed, and what was used stays.
func TestUnusedConnectionsAreClosed(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", w.serve)
		l.fillIdle(3)
		for range 3 { // one of them
			time.Sleep(idleTimeout - 2*time.Second)
			l.expect(least, "answer", time.Second)
		}
		if n := l.idle(); n != 1 {
			t.Errorf("%d idle connections, want 1", n)
		}
		time.Sleep(idleTimeout)
		synctest.Wait()
		if n := l.idle(); n != 0 {
			t.Errorf("%d idle connections after a minute", n)
		}
	})
}

// However a worker's answers are shifted, no client gets that of another one.
func TestNoClientGetsTheAnswerOfAnother(t *testing.T) {
	for name, serve := range map[string]func(c *memnet.Conn){
		"one line too many, late": func(c *memnet.Conn) {
			last := ""
			for {
				job, err := protocol.ReadJob(c)
				if err != nil {
					return
				}
				if last != "" {
					io.WriteString(c, last)
				}
				last = job.Name.Line("answer")
				io.WriteString(c, last)
			}
		},
		"a name that was not asked for": keeps("# first\n", "#1 second\n"),
		"no name on a reused one":       keeps("# first\n", "second\n"),
		"an end on a reused one":        keeps("# first\n", "second"),
	} {
		inLab(t, oneWorker, func(l *lab) {
			l.worker("Worker-1", func(c *memnet.Conn) { serve(c); c.Close() })
			first, _ := l.ask(least)
			if first != "first" && first != "answer" {
				t.Fatalf("%s: %q", name, first)
			}
			got, _ := l.ask(least)
			if !strings.HasPrefix(got, "Error: Worker-1: ") {
				t.Errorf("%s: the second client read %q", name, got)
			}
			if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Up || l.idle() != 0 {
				t.Errorf("%s: %+v, %d idle", name, s, l.idle())
			}
		})
	}
}

// A worker of another make ends its answer with a newline and knows no names: its
// answers are relayed, and its connections are not kept.
func TestWorkerWithoutNames(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		conns := 0
		l.worker("Worker-1", func(c *memnet.Conn) { conns++; keeps("hello\n")(c) })
		for range 3 {
			l.expect(least, "hello", 0)
		}
		if conns != 3 {
			t.Errorf("%d connections, want 3", conns)
		}
	})
}

// Without -keepalive no job has a name, and what looks like one is relayed as it
// is.
func TestWhatLooksLikeANameIsRelayed(t *testing.T) {
	for _, text := range []string{"#1 answer", "#01 answer", "#A1 answer", "#0 answer"} {
		inLab(t, nil, func(l *lab) {
			l.worker("Worker-1", answers(text, 0))
			l.expect(long, text, 0)
		})
	}
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers("#1 "+strings.Repeat("x", protocol.MaxLen), 0))
		if got, _ := l.ask(long); !strings.HasPrefix(got, "Error: Worker-1: answer longer than 1024 bytes") {
			t.Errorf("%.60q", got)
		}
	})
}

// The longest answer passes with its name, and is relayed without.
func TestLongestAnswerWithItsName(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		longest := strings.Repeat("x", protocol.MaxLen)
		l.worker("Worker-1", keeps("# "+longest+"\n", "# "+longest+"x\n"))
		l.expect(least, longest, 0)
		got, _ := l.ask(least)
		if want := "Error: Worker-1: answer longer than 1024 bytes"; !strings.HasPrefix(got, want) {
			t.Errorf("%.80q", got)
		}
	})
}

// A refusal is relayed word for word, counts as the worker's failure, and with
// Redispatch goes to the next worker.
func TestRefusalIsAFailure(t *testing.T) {
	const odd = "Error: disk \xff full"
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers(odd, 0))
		l.expect(long, odd, 0)
		x := l.book.done[0]
		if x.Failure == nil || x.Failure.Reason != Refused || x.Failure.Error() != "disk \xff full" || x.Answer != odd {
			t.Errorf("%+v", x)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.Failed != 1 || answered(s) != 0 {
			t.Errorf("%+v", s)
		}
	})
	inLab(t, func(b *Broker) { b.Redispatch = true }, func(l *lab) {
		l.worker("Worker-1", answers(odd, 0))
		l.worker("Worker-2", answers(protocol.Response, 0))
		l.expect(long, protocol.Response, 0)
		if got := l.book.text(); got != "redispatched from Worker-1: disk \xff full" {
			t.Errorf("told %q", got)
		}
	})
	inLab(t, func(b *Broker) { b.Redispatch = true }, func(l *lab) {
		for i := range 3 {
			l.worker(fmt.Sprintf("Worker-%d", i+1), answers("Error: no", 0))
		}
		l.expect(long, "Error: no worker available: Worker-1: no; Worker-2: no; Worker-3: no", 0)
		if x := l.book.done[0]; x.Answer != "" {
			t.Errorf("the answer of an exchange that has none: %q", x.Answer)
		}
	})
}

// A refusal on a kept connection is a failure of the worker and none of the
// connection.
func TestRefusalKeepsItsConnection(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		l.worker("Worker-1", keeps("# Error: no\n", "# yes\n"))
		l.expect(least, "Error: no", 0)
		l.expect(least, "yes", 0)
		if s := l.Pool.Snapshot().Workers[0]; s.Failed != 1 || answered(s) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A worker that refuses again and again has failed, whether or not its
// connection was idle before.
func TestRefusalsOnOneConnectionCount(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		l.worker("Worker-1", keeps("# yes\n", "# Error: no\n", "# Error: no\n", "# Error: no\n"))
		l.expect(least, "yes", 0)
		for range 3 {
			l.expect(least, "Error: no", 0)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Cooling {
			t.Errorf("%+v", s)
		}
	})
}

// Thousands of workers that fail are told by cause.
func TestManyFailuresAreGrouped(t *testing.T) {
	f := Failure{Reason: NoWorker}
	for i := range 6000 {
		a := refusedBy(i + 1)
		if i == 2999 {
			a.Err = io.ErrUnexpectedEOF
		}
		f.Attempts = append(f.Attempts, a)
	}
	const want = "no worker available: Worker-1 and 5998 more: connection refused; Worker-3000: unexpected EOF"
	if got := f.Error(); got != want {
		t.Errorf("%.200s\nwant %s", got, want)
	}
	f.Attempts = f.Attempts[:listed]
	if got := f.Error(); strings.Count(got, "Worker-") != listed {
		t.Errorf("%s", got)
	}
}

// A client that comes and goes without a byte has asked for nothing.
func TestNoRequest(t *testing.T) {
	for name, leave := range map[string]func(*memnet.Conn){
		"closes": func(c *memnet.Conn) { c.Close() },
		"resets": func(c *memnet.Conn) { c.Reset() },
	} {
		inLab(t, nil, func(l *lab) {
			c, _ := l.net.Dial(t.Context(), "broker")
			leave(c.(*memnet.Conn))
			synctest.Wait()
			if len(l.book.done) != 1 || l.book.done[0].Failure.Reason != NoRequest {
				t.Errorf("%s: %+v", name, l.book.done)
			}
			if got := l.book.text(); got != "" {
				t.Errorf("%s: told %q", name, got)
			}
		})
	}
}

// A browser can read what this is.
func TestBrowser(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		got, _ := l.ask("GET /x:Short:round_robin HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(got, "This is the broker of a load-balancing lab") {
			t.Errorf("%q", got)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.Assigned != 0 {
			t.Error("a worker was asked")
		}
	})
}

// watched has a broker that watches its clients. The test runs the watch.
func watched(t *testing.T, endIsGone bool, change func(*Broker), f func(*lab)) {
	t.Helper()
	watch := &socket.Watch{EndIsGone: endIsGone}
	inLab(t, func(b *Broker) {
		b.Watch = watch
		if change != nil {
			change(b)
		}
	}, func(l *lab) {
		ctx, stop := context.WithCancel(l.t.Context())
		var running sync.WaitGroup
		running.Go(func() { watch.Run(ctx) })
		f(l)
		stop()
		running.Wait()
	})
}

// The job of a client that resets its connection is withdrawn soon: its place is
// free, its worker is told by a close, and no worker has failed.
func TestClientThatResets(t *testing.T) {
	for _, change := range []func(*Broker){nil, func(b *Broker) { b.Redispatch = true }, keepsIdle} {
		watched(t, false, change, func(l *lab) {
			closed := make(chan time.Duration, 1)
			start := time.Now()
			l.worker("Worker-1", func(c *memnet.Conn) {
				io.Copy(io.Discard, c)
				c.Close()
				closed <- time.Since(start)
			})
			c, _ := l.net.Dial(t.Context(), "broker")
			io.WriteString(c, long)
			time.Sleep(time.Second)
			c.(*memnet.Conn).Reset()
			if took := <-closed - time.Second; took > 300*time.Millisecond {
				t.Errorf("the job was withdrawn after %v", took)
			}
			synctest.Wait()
			s := l.Pool.Snapshot().Workers[0]
			if s.InFlight != 0 || s.Withdrawn != 1 || s.Failed != 0 || s.State != balance.Up {
				t.Errorf("%+v", s)
			}
			if x := l.book.done[0]; x.Failure == nil || x.Failure.Reason != ClientLeft || x.Attempts != 1 {
				t.Errorf("%+v", x)
			}
			if got := l.book.text(); got != "gone: "+server.ErrPeerGone.Error() {
				t.Errorf("told %q", got)
			}
		})
	}
}

// A client that closes in good order may only have half-closed: its job goes on,
// and it is told apart when its answer is written. With -abort-on-close its end
// of stream means that it has left.
func TestClientThatCloses(t *testing.T) {
	for _, test := range []struct {
		name      string
		endIsGone bool
		leave     func(*memnet.Conn)
		withdrawn int
		told      string
	}{
		{"closes", false, func(c *memnet.Conn) { c.Close() }, 0, "gone: "},
		{"half-closes", false, func(c *memnet.Conn) { c.CloseWrite() }, 0, ""},
		{"closes, with -abort-on-close", true, func(c *memnet.Conn) { c.Close() }, 1, "gone: "},
		{"half-closes, with -abort-on-close", true, func(c *memnet.Conn) { c.CloseWrite() }, 1, "gone: "},
	} {
		watched(t, test.endIsGone, nil, func(l *lab) {
			l.worker("Worker-1", answers(protocol.Response, 5*time.Second))
			c, _ := l.net.Dial(t.Context(), "broker")
			io.WriteString(c, long)
			time.Sleep(time.Second)
			test.leave(c.(*memnet.Conn))
			time.Sleep(10 * time.Second)
			s := l.Pool.Snapshot().Workers[0]
			if s.Withdrawn != test.withdrawn || answered(s) != 1-test.withdrawn || s.Failed != 0 {
				t.Errorf("a client that %s: %+v", test.name, s)
			}
			if got := l.book.text(); !strings.HasPrefix(got, test.told) || test.told == "" && got != "" {
				t.Errorf("a client that %s: told %q", test.name, got)
			}
		})
	}
}

// A client that leaves within the first moments has asked for too short a time
// to be watched; its request is served as if it were there.
func TestShortRequestsAreNotWatched(t *testing.T) {
	watched(t, false, nil, func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, 50*time.Millisecond))
		c, _ := l.net.Dial(t.Context(), "broker")
		io.WriteString(c, long)
		synctest.Wait()
		c.(*memnet.Conn).Reset()
		time.Sleep(time.Second)
		if s := l.Pool.Snapshot().Workers[0]; answered(s) != 1 || s.Withdrawn != 0 {
			t.Errorf("%+v", s)
		}
	})
}
