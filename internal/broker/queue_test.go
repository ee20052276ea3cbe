package broker

import (
	"io"
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

// limited returns a change that gives the broker this many workers, with one
// place each.
func limited(workers int) func(*Broker) {
	return func(b *Broker) {
		var all []balance.Worker
		for _, name := range []string{"Worker-1", "Worker-2", "Worker-3"}[:workers] {
			all = append(all, balance.Worker{Name: name, Addr: name, Limit: 1})
		}
		b.Pool = balance.NewPool(all, selectors()...)
		b.QueueTimeout = 30 * time.Second
	}
}

// asks connects a client that sends a request, and waits until it is served or
// queued.
func (l *lab) asks(request string) *memnet.Conn {
	l.t.Helper()
	c := l.connects()
	io.WriteString(c, request)
	synctest.Wait()
	return c
}

// Requests that find no place wait, and are served in the order in which they
// came, each by the first worker that is free.
func TestQueueServesInOrder(t *testing.T) {
	inLab(t, limited(2), func(l *lab) {
		l.worker("Worker-1", answers("one", 5*time.Second))
		l.worker("Worker-2", answers("two", 7*time.Second))
		var clients sync.WaitGroup
		for i, want := range []struct {
			text string
			took time.Duration
		}{{"one", 5}, {"two", 7}, {"one", 10}, {"two", 14}, {"one", 15}} {
			c := l.asks([]string{long, least}[i%2])
			clients.Go(func() {
				if got, took := l.reads(c); got != want.text || took != want.took*time.Second {
					t.Errorf("client %d: %q after %v, want %q after %v", i, got, took, want.text, want.took*time.Second)
				}
			})
		}
		if q := l.Pool.Queue(); q.Waiting != 3 {
			t.Errorf("%d wait, want 3", q.Waiting)
		}
		clients.Wait()
		last := l.book.done[4]
		if last.Queued != 10*time.Second || last.Serving != 5*time.Second || last.Attempts != 1 {
			t.Errorf("queued for %v, served for %v, %d attempts", last.Queued, last.Serving, last.Attempts)
		}
	})
}

// A request that waits for too long is told how many wait.
func TestQueueTimeout(t *testing.T) {
	for _, others := range []int{0, 11} {
		inLab(t, func(b *Broker) {
			limited(1)(b)
			b.AnswerTimeout = 90 * time.Second
		}, func(l *lab) {
			l.worker("Worker-1", hangs)
			l.asks(long)
			c := l.asks(long)
			want := "Error: no worker was free within 30s (1 request waits)"
			for range others {
				time.Sleep(time.Millisecond)
				l.asks(long)
				want = "Error: no worker was free within 30s (12 requests wait)"
			}
			since := time.Duration(others) * time.Millisecond
			if got, took := l.reads(c); got != want || took != 30*time.Second-since {
				t.Errorf("%q after %v\nwant %q", got, took+since, want)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if x := l.book.done[0]; x.Failure.Reason != QueueTimeout || x.Attempts != 0 || x.Queued != 30*time.Second {
				t.Errorf("%+v", x)
			}
		})
	}
}

// A request that waits again, since its worker was dead, waits for what is left of
// the time.
func TestQueueTimeoutIsForAllWaits(t *testing.T) {
	inLab(t, func(b *Broker) {
		limited(2)(b)
		b.AnswerTimeout = 90 * time.Second
	}, func(l *lab) {
		dies := l.worker("Worker-1", answers("one", 20*time.Second))
		l.worker("Worker-2", hangs)
		l.asks(long)
		l.asks(long)
		c := l.asks(long)
		dies.Close()
		if got, took := l.reads(c); got != "Error: no worker was free within 30s (1 request waits)" || took != 30*time.Second {
			t.Errorf("%q after %v", got, took)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if x := l.book.done[1]; x.Attempts != 1 || x.Queued != 30*time.Second {
			t.Errorf("%+v", x)
		}
	})
}

// A client that leaves while its request waits loses its place soon: a reset is
// enough, with -abort-on-close the end of its stream too.
func TestLeavingTheQueue(t *testing.T) {
	for _, test := range []struct {
		what      string
		endIsGone bool
		leave     func(*memnet.Conn)
		leaves    bool
	}{
		{"resets", false, func(c *memnet.Conn) { c.Reset() }, true},
		{"half-closes", false, func(c *memnet.Conn) { c.CloseWrite() }, false},
		{"half-closes, with -abort-on-close", true, func(c *memnet.Conn) { c.CloseWrite() }, true},
		{"closes, with -abort-on-close", true, func(c *memnet.Conn) { c.Close() }, true},
	} {
		watched(t, test.endIsGone, limited(1), func(l *lab) {
			l.worker("Worker-1", answers(protocol.Response, 5*time.Second))
			l.asks(long)
			c := l.asks(long)
			time.Sleep(time.Second)
			test.leave(c)
			time.Sleep(300 * time.Millisecond)
			if left := l.Pool.Queue().Waiting == 0; left != test.leaves {
				t.Errorf("a client that %s: left the queue is %v", test.what, left)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			assigned := 2
			if test.leaves {
				assigned = 1
				if x := l.book.done[0]; x.Failure.Reason != ClientLeft || x.Attempts != 0 {
					t.Errorf("a client that %s: %+v", test.what, x)
				}
			}
			if s := l.Pool.Snapshot().Workers[0]; s.Assigned != assigned || s.Withdrawn != 0 {
				t.Errorf("a client that %s: %+v", test.what, s)
			}
		})
	}
}

// goneClient is a client that has left.
type goneClient struct{ absentClient }

func (goneClient) Peek() socket.PeerState { return socket.Reset }

// A place that is given in the moment in which the client leaves is given back.
func TestPlaceOfAClientThatLeft(t *testing.T) {
	watched(t, false, limited(1), func(l *lab) {
		for range 20 { // whichever is noticed first
			held, _ := l.Pool.Assign(int(protocol.RoundRobin), new(balance.Request))
			client := server.Unserved(l.t.Context(), goneClient{})
			x := newExchange()
			wait := l.choose(l.t.Context(), client, x)
			time.Sleep(300 * time.Millisecond) // the watch sees that it has left
			held.Release(balance.Answered)
			if next := wait(l.t.Context(), client); next != nil || x.Failure.Reason != ClientLeft {
				t.Fatalf("it goes on, or ends with %v", x.Failure)
			}
			if x.Attempts != 1 || x.Worker != "Worker-1" {
				t.Fatalf("%d attempts, the last at %q: the pool has assigned it", x.Attempts, x.Worker)
			}
		}
		if s := l.Pool.Snapshot().Workers[0]; s.InFlight != 0 || s.Withdrawn != 20 {
			t.Errorf("%+v", s)
		}
	})
}

// A place that is given in the moment in which the broker gives up is given back,
// and counts as a failure for the pool and for the observer.
func TestPlaceAfterTheStop(t *testing.T) {
	inLab(t, limited(1), func(l *lab) {
		held, _ := l.Pool.Assign(int(protocol.RoundRobin), new(balance.Request))
		client := server.Unserved(l.t.Context(), absentClient{})
		x := newExchange()
		l.choose(l.t.Context(), client, x) // it waits
		held.Release(balance.Answered)
		if next := l.waited(client, x, balance.Lease{}, true); next != nil {
			t.Fatal("it goes on")
		}
		if x.Attempts != 1 || len(x.Failure.Attempts) != 1 || x.Failure.Attempts[0].Worker != "Worker-1" {
			t.Errorf("%d attempts, %+v", x.Attempts, x.Failure)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.InFlight != 0 || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A place that is given in the moment in which the time is over is used.
func TestPlaceInTheLastMoment(t *testing.T) {
	inLab(t, limited(1), func(l *lab) {
		l.QueueTimeout = 0
		for range 20 { // whichever is noticed first
			held, _ := l.Pool.Assign(int(protocol.RoundRobin), new(balance.Request))
			client := server.Unserved(l.t.Context(), absentClient{})
			x := newExchange()
			wait := l.choose(l.t.Context(), client, x)
			held.Release(balance.Answered)
			if next := wait(l.t.Context(), client); next == nil {
				t.Fatalf("it ends with %v", x.Failure)
			}
			l.release(x, balance.NotCounted)
		}
	})
}

// A client that leaves after its request has waited, while its worker works, is
// seen as any other.
func TestLeavingAfterTheQueue(t *testing.T) {
	watched(t, false, limited(1), func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, 5*time.Second))
		l.asks(long)
		c := l.asks(long)
		time.Sleep(7 * time.Second)
		c.Reset()
		time.Sleep(5 * time.Second)
		if s := l.Pool.Snapshot().Workers[0]; s.Withdrawn != 1 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A stop serves those that wait, as long as the drain lasts.
func TestStopServesTheQueue(t *testing.T) {
	inLab(t, limited(1), func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, 25*time.Second))
		var clients sync.WaitGroup
		for range 2 {
			c := l.asks(long)
			clients.Go(func() {
				if text, _ := l.reads(c); text != protocol.Response {
					t.Errorf("%q", text)
				}
			})
		}
		l.stop()
		clients.Wait()
	})
}

// When the drain is over, those that still wait are told.
func TestQueueIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(b *Broker) {
			limited(1)(b)
			b.QueueTimeout, b.AnswerTimeout = time.Hour, time.Hour
		})
		l.worker("Worker-1", hangs)
		l.asks(long)
		c := l.asks(long)
		l.stop()
		if got, took := l.reads(c); got != "Error: the broker stopped before the answer came" || took != time.Minute {
			t.Errorf("%q after %v", got, took)
		}
		if err := <-l.done; err == nil {
			t.Error("the broker ended as if all were finished")
		}
		if s := l.Pool.Snapshot(); s.Queue.Waiting != 0 || s.Workers[0].InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A request that waits was not sent: if the worker whose place it gets is dead,
// it goes to another one.
func TestPlaceAtADeadWorker(t *testing.T) {
	inLab(t, limited(2), func(l *lab) {
		dies := l.worker("Worker-1", answers("one", 5*time.Second))
		l.worker("Worker-2", answers("two", 7*time.Second))
		l.asks(long)
		l.asks(long)
		c := l.asks(long)
		dies.Close()
		if got, took := l.reads(c); got != "two" || took != 14*time.Second {
			t.Errorf("%q after %v", got, took)
		}
		if x := l.book.done[2]; x.Attempts != 2 || x.Queued != 7*time.Second {
			t.Errorf("%d attempts, queued for %v", x.Attempts, x.Queued)
		}
	})
}

// When all workers drain, a pool without limits refuses, and one with a limit
// waits for one that comes.
func TestAllDrain(t *testing.T) {
	inLab(t, oneWorker, func(l *lab) {
		l.Pool.Drain("Worker-1")
		l.expect(long, "Error: no worker available: all drain or were removed (see broker workers)", 0)
	})
	inLab(t, limited(1), func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, time.Second))
		l.Pool.Drain("Worker-1")
		c := l.asks(long)
		time.Sleep(5 * time.Second)
		l.Pool.Up("Worker-1")
		if got, took := l.reads(c); got != protocol.Response || took != time.Second {
			t.Errorf("%q after %v", got, took)
		}
	})
}

// A request that panics in the queue leaves it, or gives back the place that it
// has got.
func TestPanicInTheQueue(t *testing.T) {
	for _, at := range []string{"queued", "assigned"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, limited(1))
			l.panicked = func(any, []byte) {}
			l.worker("Worker-1", answers(protocol.Response, time.Second))
			held, _ := l.Pool.Assign(int(protocol.RoundRobin), new(balance.Request))
			l.Observer = bomb{new(record), at}
			c := l.asks(long)
			time.Sleep(time.Second)
			held.Release(balance.Answered)
			if got, _ := l.reads(c); got != "" {
				t.Errorf("%s: the client read %q", at, got)
			}
			if s := l.Pool.Snapshot(); s.Queue.Waiting != 0 || s.Workers[0].InFlight != 0 {
				t.Errorf("%s: %+v", at, s)
			}
			l.end()
		})
	}
}
