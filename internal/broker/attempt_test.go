package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// hooked is a connection to a worker on which something else happens first.
type hooked struct {
	socket.Conn
	write    func(p []byte) (int, error) // instead of writing; nil: nothing else
	read     func()                      // before reading; nil: nothing else
	deadline func(time.Time)             // before a deadline is set; nil: nothing else
}

func (c *hooked) SetDeadline(t time.Time) error {
	if c.deadline != nil {
		c.deadline(t)
	}
	return c.Conn.SetDeadline(t)
}

func (c *hooked) Write(p []byte) (int, error) {
	if c.write != nil {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *hooked) Read(p []byte) (int, error) {
	if c.read != nil {
		c.read()
	}
	return c.Conn.Read(p)
}

// hooks has a broker dial connections that hook may change.
func hooks(b *Broker, hook func(addr string, c *hooked)) {
	dial := b.Dial
	b.Dial = func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
		conn, err := dial(ctx, addr, within)
		if err != nil {
			return nil, err
		}
		c := &hooked{Conn: conn}
		hook(addr, c)
		return c, nil
	}
}

// A job of which a part was written may have run, whatever the worker has read
// of it.
func TestHalfWrittenMayHaveRun(t *testing.T) {
	const notAgain = "; the job may have run, so it was not sent again (see broker -redispatch)"
	for want, err := range map[string]error{
		"connection reset by peer":    &net.OpError{Op: "write", Err: os.NewSyscallError("write", neterr.Errno(neterr.Reset))},
		"no whole answer within 30s":  os.ErrDeadlineExceeded,
		"after 5 bytes of the job: x": errors.New("x"),
	} {
		inLab(t, func(b *Broker) {
			hooks(b, func(addr string, c *hooked) {
				if addr == "Worker-1" {
					c.write = func([]byte) (int, error) { return 5, err }
				}
			})
		}, func(l *lab) {
			l.worker("Worker-1", hangs)
			l.worker("Worker-2", answers(protocol.Response, 0))
			l.expect(long, "Error: Worker-1: "+want+notAgain, 0)
			if s := l.Pool.Snapshot().Workers; s[0].Failed != 1 || s[1].Assigned != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A connection that was idle and can't be written to says that the older ones
// are no better: the job goes out on a new one at once, and not on each of them.
func TestIdleConnectionsThatCannotBeWritten(t *testing.T) {
	var dialed, failed atomic.Int32
	inLab(t, func(b *Broker) {
		oneWorker(b)
		hooks(b, func(_ string, c *hooked) {
			if dialed.Add(1) > 3 {
				return
			}
			first := true
			c.write = func(p []byte) (int, error) {
				if first {
					first = false
					return c.Conn.Write(p)
				}
				failed.Add(1)
				return 0, neterr.Errno(neterr.BrokenPipe)
			}
		})
	}, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", w.serve)
		l.fillIdle(3)
		l.expect(least, "answer", time.Second)
		if n := l.idle(); n != 1 || failed.Load() != 1 {
			t.Errorf("%d idle connections, want the new one; %d were written to in vain, want 1", n, failed.Load())
		}
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Up || s.Failed != 0 || l.book.text() != "" {
			t.Errorf("%+v; told %s", s, l.book.text())
		}
	})
}

// A connection that was idle and fails says nothing of its worker, however many
// do, and nothing of other workers' connections.
func TestIdleConnectionsThatFailTogether(t *testing.T) {
	inLab(t, keepsIdle, func(l *lab) {
		var w [3]vanishing
		for i, s := range l.Pool.Snapshot().Workers {
			l.worker(s.Name, w[i].serve)
		}
		var asks sync.WaitGroup
		for range 15 {
			asks.Go(func() { l.ask(long) })
		}
		asks.Wait()
		idle := func(worker int) int {
			l.Idle.mu.Lock()
			defer l.Idle.mu.Unlock()
			return len(l.Idle.idle[worker])
		}
		if a, b := idle(0), idle(1); a != 5 || b != 5 {
			t.Errorf("%d and %d idle connections, want 5 each", a, b)
		}
		w[1].vanish()
		for range 12 {
			asks.Go(func() { l.ask(long) })
		}
		asks.Wait()
		if s := l.Pool.Snapshot().Workers[1]; s.State != balance.Up || s.Failed != 4 {
			t.Errorf("%+v", s)
		}
		if a, b := idle(0), idle(1); a != 5 || b != 0 {
			t.Errorf("%d and %d idle connections, want 5 and 0", a, b)
		}
	})
}

// An answer that is not to the job is a failure of a new connection too, which
// is not kept then, however late it comes.
func TestWrongNameOnANewConnection(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second} {
		inLab(t, oneWorker, func(l *lab) {
			l.worker("Worker-1", func(c *memnet.Conn) {
				defer c.Close()
				protocol.ReadJob(c)
				time.Sleep(after)
				io.WriteString(c, "#1 somebody else's\n")
				io.Copy(io.Discard, c)
			})
			got, _ := l.ask(least)
			if !strings.HasPrefix(got, "Error: Worker-1: an answer that is not to this job; the job may have run") {
				t.Errorf("%q", got)
			}
			if s := l.Pool.Snapshot().Workers[0]; s.Failed != 1 || l.idle() != 0 {
				t.Errorf("%+v, %d idle", s, l.idle())
			}
		})
	}
}

// An answer that is read while the broker gives up is relayed, a refusal too;
// its connection, which was interrupted, is not kept.
func TestAnswerAtTheEnd(t *testing.T) {
	for answer, want := range map[string]*Failure{
		"yes":       nil,
		"Error: no": {Reason: Refused},
	} {
		inLab(t, func(b *Broker) { oneWorker(b); b.Redispatch = true }, func(l *lab) {
			ctx, giveUp := context.WithCancel(l.t.Context())
			hooks(l.Broker, func(_ string, c *hooked) {
				c.read = func() {
					time.Sleep(time.Second) // the answer is there
					giveUp()
					synctest.Wait()
				}
				c.Conn = insistent{c.Conn}
			})
			l.worker("Worker-1", keeps("# "+answer+"\n"))
			x := newExchange()
			l.run(ctx, x)
			if x.Answer != answer || (x.Failure == nil) != (want == nil) || want != nil && x.Failure.Reason != want.Reason {
				t.Errorf("%q, %+v", x.Answer, x.Failure)
			}
			if l.idle() != 0 {
				t.Error("an interrupted connection is kept")
			}
			if s := l.Pool.Snapshot().Workers[0]; s.InFlight != 0 || s.State != balance.Up {
				t.Errorf("%+v", s)
			}
		})
	}
}

// insistent is a connection that reads what is there although it was
// interrupted, as one does that was read at the same moment.
type insistent struct{ socket.Conn }

func (c insistent) SetDeadline(t time.Time) error {
	if t.Equal(socket.Interrupt) {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

// What the broker cuts off is not held against the worker, however many requests
// it is. Each connection is interrupted: a deadline would be looked past.
func TestManyCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var interrupted atomic.Int32
		l := newLab(t, func(b *Broker) {
			oneWorker(b)
			hooks(b, func(_ string, c *hooked) {
				c.deadline = func(t time.Time) {
					if t.Equal(socket.Interrupt) {
						interrupted.Add(1)
					}
				}
			})
		})
		l.AnswerTimeout = time.Hour
		l.worker("Worker-1", hangs)
		var asks sync.WaitGroup
		for range 5 {
			asks.Go(func() { l.expect(least, "Error: the broker stopped before the answer came", time.Minute) })
		}
		synctest.Wait()
		l.stop()
		asks.Wait()
		<-l.done
		l.Idle.Close()
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Up || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		if n := interrupted.Load(); n != 5 {
			t.Errorf("%d connections were interrupted, want 5", n)
		}
	})
}

// A connect is given up when the broker gives up, and not held against the
// worker.
func TestConnectIsCutOff(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		for _, w := range l.Pool.Snapshot().Workers {
			l.net.BlackHole(w.Name)
		}
		ctx, giveUp := context.WithCancel(l.t.Context())
		time.AfterFunc(time.Second, giveUp)
		start := time.Now()
		x := newExchange()
		if l.run(ctx, x); x.Failure == nil || x.Failure.Reason != CutOff || len(x.Failure.Attempts) != 1 || time.Since(start) != time.Second {
			t.Errorf("%+v after %v", x.Failure, time.Since(start))
		}
		if got := l.book.text(); got != "" {
			t.Errorf("told %s", got)
		}
	})
}

// The client is told of the attempt that ended the exchange, and not of those
// before it.
func TestLastAttemptIsTheReason(t *testing.T) {
	for want, serve := range map[string]func(*memnet.Conn){
		"Error: disk full": answers("Error: disk full", 0),
		"Error: Worker-2: closed without an answer; the job may have run, so it was not sent again (see broker -redispatch)": closes,
	} {
		inLab(t, nil, func(l *lab) {
			l.worker("Worker-2", serve)
			l.expect(long, want, 0)
			x := l.book.done[0]
			if "Error: "+x.Failure.Error() != want || len(x.Failure.Attempts) != 1 || x.Attempts != 2 || x.Worker != "Worker-2" {
				t.Errorf("%+v; %v", x, x.Failure)
			}
		})
	}
}

// A handler that panics is the broker's fault, and not the worker's.
func TestPanicsAreNotHeldAgainstTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(b *Broker) {
			oneWorker(b)
			b.Dial = func(context.Context, string, time.Duration) (socket.Conn, error) { panic("on purpose") }
		})
		l.panicked = func(any, []byte) {}
		for range 5 {
			l.expect(least, "", 0)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.State != balance.Up || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		l.end()
	})
}

// The times of all attempts add up.
func TestTimesAddUp(t *testing.T) {
	late := func(c *memnet.Conn) {
		time.Sleep(3 * time.Second)
		closes(c)
	}
	for _, test := range []struct {
		name                string
		first, second       func(*memnet.Conn) // nil: nobody can be reached
		connecting, serving time.Duration
	}{
		{"one can't be reached", nil, late, 2 * time.Second, 4 * time.Second},
		{"two can't be reached", nil, nil, 4 * time.Second, time.Second},
		{"two fail", late, late, 0, 7 * time.Second},
	} {
		inLab(t, func(b *Broker) { b.Redispatch = true }, func(l *lab) {
			for i, serve := range []func(*memnet.Conn){test.first, test.second, answers(protocol.Response, time.Second)} {
				name := l.Pool.Snapshot().Workers[i].Name
				if serve == nil {
					l.net.BlackHole(name)
				} else {
					l.worker(name, serve)
				}
			}
			l.expect(long, protocol.Response, test.connecting+test.serving)
			if x := l.book.done[0]; x.Connecting != test.connecting || x.Serving != test.serving || x.Reading != 0 {
				t.Errorf("%s: connecting %v, serving %v, reading %v", test.name, x.Connecting, x.Serving, x.Reading)
			}
			if last := l.book.done[0].LastServing(); last != time.Second {
				t.Errorf("%s: the last worker had the job for %v, want 1s", test.name, last)
			}
		})
	}
}

// However much the workers' reasons say, the text has a bound.
func TestReasonsAreBounded(t *testing.T) {
	f := &Failure{Reason: NoWorker}
	for i := range 9 {
		f.Attempts = append(f.Attempts, &AttemptError{
			Worker: "W", Job: JobRefused, Err: &protocol.RefusalError{Reason: strings.Repeat("é", 500+i)},
		})
	}
	for _, attempts := range [][]*AttemptError{f.Attempts[:2], f.Attempts} {
		f.Attempts = attempts
		text := f.Error()
		f.NotAsked = 9_999
		if more := f.Error(); more != text+" (9999 more had failed before and were not asked)" {
			t.Errorf("%d workers, and more: %q", len(attempts), more)
		}
		f.NotAsked = 0
		if n := len(text); n < 1000 || n > 1100 || !strings.HasSuffix(text, "é…") {
			t.Errorf("%d workers: %d bytes that end with %q", len(attempts), n, text[n-10:])
		}
	}
}
