package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// keepsIdle has a broker keep connections.
func keepsIdle(b *Broker) { b.Idle = NewIdlePool(10) }

// keeps is a worker that does one job after another on a connection: it
// answers as answers says, one text a job, and hangs after the last. A # stands
// for the job's name.
func keeps(answers ...string) func(*memnet.Conn) {
	return func(c *memnet.Conn) {
		defer c.Close()
		for _, text := range answers {
			job, err := protocol.ReadJob(c)
			if err != nil {
				return
			}
			io.WriteString(c, strings.Replace(text, "#", job.Name.String(), 1))
		}
		io.Copy(io.Discard, c)
	}
}

// A worker that hangs on a connection that was kept is given up as one on a new
// connection is.
func TestAnswerDeadlineOnIdleConnection(t *testing.T) {
	inLab(t, keepsIdle, func(l *lab) {
		l.worker("Worker-1", keeps("# first\n"))
		l.expect(long, "first", 0)
		time.Sleep(10 * time.Second) // the first answer's deadline is not the second one's
		l.worker("Worker-2", keeps("# second\n"))
		l.expect(long, "second", 0)
		if n := l.idle(); n != 1 {
			t.Fatalf("%d idle connections to Worker-1, want 1", n)
		}
		time.Sleep(29 * time.Second) // what is left of the first deadline is not what holds
		l.expect("AppID:Long:least_connections", "Error: Worker-1: no whole answer within 30s; the job may have run, so it was not sent again (see broker -redispatch)", 30*time.Second)
		l.Idle.Close()
	})
}

// Bytes that came with an answer were not asked for: their connection is not
// used again.
func TestAnswerWithMoreBytesIsNotKept(t *testing.T) {
	inLab(t, keepsIdle, func(l *lab) {
		conns := 0
		serve := keeps("# own answer\nanother answer\n")
		l.worker("Worker-1", func(c *memnet.Conn) { conns++; serve(c) })
		for range 3 {
			l.expect("AppID:Long:least_connections", "own answer", 0)
		}
		if conns != 3 {
			t.Errorf("%d connections, want 3", conns)
		}
	})
}

// What is put into a pool that was closed is closed.
func TestPutAfterClose(t *testing.T) {
	p := NewIdlePool(2)
	p.Close()
	late := &idling{}
	p.put(0, late)
	if late.closed != 1 || p.count != 0 || p.sweep != nil || p.take(0) != nil {
		t.Errorf("closed %d times, or kept", late.closed)
	}
}

// bomb panics at one of the events of an exchange.
type bomb struct {
	*record
	at string
}

func (b bomb) explode(at string) {
	if b.at == at {
		panic("on purpose, " + at)
	}
}

func (b bomb) Connected(c net.Addr)             { b.explode("connected") }
func (b bomb) Unreachable(w string, err error)  { b.explode("unreachable") }
func (b bomb) Redispatched(w string, err error) { b.explode("redispatched") }
func (b bomb) Done(x *Exchange)                 { b.explode("done") }
func (b bomb) Step(_ *Exchange, s Step) {
	b.explode([...]string{Queued: "queued", Assigned: "assigned", Sent: "sent", Released: "released"}[s])
}

// However an exchange panics, it costs its own connection and nothing else: its
// lease is released, and the worker's connection is closed.
func TestPanicReleasesTheLease(t *testing.T) {
	for _, at := range []string{"connected", "dial", "write", "read", "unreachable", "redispatched", "done", "assigned", "sent", "released"} {
		synctest.Test(t, func(t *testing.T) {
			told := 0
			l := newLab(t, func(b *Broker) {
				dial := b.Dial
				b.Redispatch = true
				b.Observer = bomb{new(record), at}
				b.Dial = func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
					if at == "dial" {
						panic("on purpose, dial")
					}
					conn, err := dial(ctx, addr, within)
					if err != nil {
						return nil, err
					}
					return explosive{conn, at}, nil
				}
			})
			l.panicked = func(value any, _ []byte) {
				told++
				if value != "on purpose, "+at {
					t.Errorf("%s: %v", at, value)
				}
			}
			closed := make(chan struct{}, 3)
			if at == "redispatched" {
				l.worker("Worker-1", closes)
			} else if at != "unreachable" {
				l.worker("Worker-1", func(c *memnet.Conn) {
					io.Copy(io.Discard, io.LimitReader(c, 10))
					if at == "done" || at == "released" {
						io.WriteString(c, "x")
						c.CloseWrite()
					}
					io.Copy(io.Discard, c)
					c.Close()
					closed <- struct{}{}
				})
			}
			c, _ := l.net.Dial(t.Context(), "broker")
			io.WriteString(c, long)
			if got, _ := io.ReadAll(c); len(got) > 0 {
				t.Errorf("%s: the client read %q", at, got)
			}
			if at != "connected" && at != "dial" && at != "unreachable" && at != "redispatched" && at != "assigned" {
				<-closed // or the bubble reports a deadlock
			}
			synctest.Wait()
			if told != 1 {
				t.Errorf("%s: told %d times", at, told)
			}
			w := l.Pool.Snapshot().Workers[0]
			if w.InFlight != 0 || w.State != balance.Up {
				t.Errorf("%s: %+v", at, w)
			}
			l.end()
		})
	}
}

// explosive panics when it is written to or read from.
type explosive struct {
	socket.Conn
	at string
}

func (c explosive) Write(p []byte) (int, error) {
	if c.at == "write" {
		panic("on purpose, write")
	}
	return c.Conn.Write(p)
}

func (c explosive) Read(p []byte) (int, error) {
	if c.at == "read" {
		panic("on purpose, read")
	}
	return c.Conn.Read(p)
}

// refusedBy is the attempt at a worker that can't be reached.
func refusedBy(worker int) *AttemptError {
	return &AttemptError{Worker: fmt.Sprintf("Worker-%d", worker), Err: neterr.Errno(neterr.Refused)}
}

// Each reason has its own words for the client.
func TestFailureWords(t *testing.T) {
	gone := &AttemptError{Worker: "Worker-2", Job: MayHaveRun, Err: io.ErrUnexpectedEOF}
	reset := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", neterr.Errno(neterr.Reset))}
	_, cut := protocol.ReadRequest(io.MultiReader(strings.NewReader("App"), iotest.ErrReader(reset)))
	for _, test := range []struct {
		failure Failure
		want    string
	}{
		{Failure{Reason: Malformed, Err: errors.New("no request")}, "no request"},
		{Failure{Reason: Incomplete, Err: errors.New("half"), Within: time.Second}, "half within 1s"},
		{Failure{Reason: Incomplete, Err: cut}, `incomplete request: got "App", want AppID:<type>:<approach>: connection reset by peer`},
		{Failure{Reason: GaveWay}, "no request had come when another client needed the place; send it at once"},
		{Failure{Reason: Stopping}, "the broker is stopping"},
		{Failure{Reason: NoWorker}, "no worker available: "},
		{Failure{Reason: NoWorker, Attempts: []*AttemptError{gone, gone}}, "no worker available: Worker-2: unexpected EOF; Worker-2: unexpected EOF"},
		{Failure{Reason: NoWorker, Attempts: []*AttemptError{gone}, NotAsked: 1}, "no worker available: Worker-2: unexpected EOF (1 more had failed before and was not asked)"},
		{Failure{Reason: NoWorker, Attempts: []*AttemptError{gone}, NotAsked: 9997}, "no worker available: Worker-2: unexpected EOF (9997 more had failed before and were not asked)"},
		{Failure{Reason: WorkerFailed, Attempts: []*AttemptError{gone}}, "Worker-2: unexpected EOF; the job may have run, so it was not sent again (see broker -redispatch)"},
		{Failure{Reason: CutOff}, "the broker stopped before the answer came"},
	} {
		if got := test.failure.Error(); got != test.want {
			t.Errorf("reason %d: %q, want %q", test.failure.Reason, got, test.want)
		}
	}
}

// A client whose stream fails before its request is whole is told why, without
// the addresses around the reason.
func TestIncompleteNamesTheReason(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c, _ := l.net.Dial(t.Context(), "broker")
		io.WriteString(c, "AppID:Lo")
		synctest.Wait()
		c.(*memnet.Conn).Reset()
		synctest.Wait()
		if len(l.book.done) != 1 || l.book.done[0].Failure.Reason != Incomplete {
			t.Fatalf("%+v", l.book.done)
		}
		text := l.book.done[0].Failure.Error()
		if !strings.HasSuffix(text, ": connection reset by peer") || !strings.HasPrefix(text, `incomplete request: got "AppID:Lo"`) {
			t.Errorf("%q", text)
		}
	})
}

var _ server.Handler = (*Broker)(nil).Handle

// The steps of exchanges: one that is answered, one whose first worker is dead,
// and one that waits.
func TestSteps(t *testing.T) {
	inLab(t, limited(2), func(l *lab) {
		l.worker("Worker-2", answers(protocol.Response, time.Second))
		l.ask(long)
		expectSteps(t, &l.book, "assigned Worker-1; released Worker-1; assigned Worker-2; sent Worker-2; released Worker-2")
		l.Pool.Drain("Worker-1")
		first := l.asks(long)
		second := l.asks(long)
		l.reads(first)
		l.reads(second)
		expectSteps(t, &l.book, "assigned Worker-2; sent Worker-2; queued ; released Worker-2; assigned Worker-2; sent Worker-2; released Worker-2")
	})
}

func expectSteps(t *testing.T, book *record, want string) {
	t.Helper()
	book.mu.Lock()
	defer book.mu.Unlock()
	if got := strings.Join(book.steps, "; "); got != want {
		t.Errorf("steps\n%s\nwant\n%s", got, want)
	}
	book.steps = nil
}
