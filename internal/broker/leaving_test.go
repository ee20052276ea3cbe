package broker

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// An answer that comes although its client has left counts as one: the worker
// has done the job. Its connection was interrupted, and is not kept.
func TestAnswerForAClientThatLeft(t *testing.T) {
	watched(t, false, func(b *Broker) {
		oneWorker(b)
		hooks(b, func(_ string, c *hooked) { c.Conn = insistent{c.Conn} })
	}, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", func(c *memnet.Conn) {
			time.Sleep(5 * time.Second)
			w.serve(c)
		})
		c := l.connects()
		io.WriteString(c, least)
		time.Sleep(time.Second)
		c.Reset()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := l.Pool.Snapshot().Workers[0]; answered(s) != 1 || s.Withdrawn != 0 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		if x := l.book.done[0]; x.Failure != nil || x.Answer != "answer" {
			t.Errorf("%q, %+v", x.Answer, x.Failure)
		}
		if got := l.book.text(); !strings.HasPrefix(got, "gone: ") {
			t.Errorf("told %q", got)
		}
		if l.idle() != 0 {
			t.Error("an interrupted connection is kept")
		}
	})
}

// A client that leaves says nothing of the connections to the worker: those that
// are idle stay.
func TestLeavingKeepsIdleConnections(t *testing.T) {
	watched(t, false, oneWorker, func(l *lab) {
		var w vanishing
		l.worker("Worker-1", w.serve)
		l.fillIdle(3)
		w.vanish()
		c := l.connects()
		io.WriteString(c, least)
		time.Sleep(time.Second)
		c.Reset()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := l.idle(); n != 2 {
			t.Errorf("%d idle connections, want 2", n)
		}
		if s := l.Pool.Snapshot().Workers[0]; s.Withdrawn != 1 || s.State != balance.Up {
			t.Errorf("%+v", s)
		}
	})
}

// The connection of a client that is taken for one that has left is closed.
func TestConnectionOfAClientThatLeftIsClosed(t *testing.T) {
	watched(t, true, nil, func(l *lab) {
		l.worker("Worker-1", hangs)
		c := l.connects()
		io.WriteString(c, long)
		time.Sleep(time.Second)
		c.CloseWrite()
		if got, took := l.reads(c); got != "" || took > 300*time.Millisecond {
			t.Errorf("%q after %v", got, took)
		}
	})
}

// A client that has its answer is let go at once, whether or not it closes.
func TestAnsweredClientIsLetGo(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		l.worker("Worker-1", answers(protocol.Response, 0))
		c := l.connects()
		io.WriteString(c, long)
		if got, took := l.reads(c); got != protocol.Response || took != 0 {
			t.Errorf("%q after %v", got, took)
		}
		synctest.Wait()
		c.Write([]byte("x")) // which a closed peer answers by a reset
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("the connection is still open")
		}
		c.Close()
	})
}

// peeked is a client's connection that counts how often it is looked at.
type peeked struct {
	absentClient
	looks *atomic.Int32
}

func (c peeked) Peek() socket.PeerState {
	c.looks.Add(1)
	return socket.Quiet
}

// A client is watched for as long as its answer is awaited, and not after a
// panic.
func TestWatchEndsWithAPanic(t *testing.T) {
	watched(t, false, func(b *Broker) {
		hooks(b, func(_ string, c *hooked) {
			c.read = func() {
				time.Sleep(time.Minute)
				panic("on purpose")
			}
		})
	}, func(l *lab) {
		l.worker("Worker-1", hangs)
		var looks atomic.Int32
		client := server.Unserved(l.t.Context(), peeked{looks: &looks})
		x := newExchange()
		next := l.choose(l.t.Context(), client, x)
		func() {
			defer func() {
				if recover() != "on purpose" {
					t.Error("it did not panic")
				}
			}()
			next(l.t.Context(), client)
		}()
		before := looks.Load()
		time.Sleep(time.Minute)
		if after := looks.Load(); before < 500 || after != before {
			t.Errorf("looked at %d times in the minute before the panic, and %d times after it", before, after-before)
		}
	})
}

// switched is a connection that notes what its keep-alive is set to.
type switched struct {
	socket.Conn
	on *atomic.Int32 // how often it was switched on
}

func (c switched) SetKeepAlive(on bool) error {
	if on {
		c.on.Add(1)
	}
	return c.Conn.SetKeepAlive(on)
}

// A connection that is kept is probed by TCP's keep-alive from the first time on.
// Switching it on costs system calls, so it is done once.
func TestIdleConnectionsAreProbed(t *testing.T) {
	var on atomic.Int32
	inLab(t, func(b *Broker) {
		oneWorker(b)
		dial := b.Dial
		b.Dial = func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
			c, err := dial(ctx, addr, within)
			return switched{c, &on}, err
		}
	}, func(l *lab) {
		l.worker("Worker-1", keeps("# 1\n", "# 2\n", "# 3\n"))
		for i := range 3 {
			l.ask(least)
			if n := on.Load(); n != 1 {
				t.Errorf("after %d answers it was switched on %d times", i+1, n)
			}
		}
	})
}
