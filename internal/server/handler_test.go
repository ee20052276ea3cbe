package server

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
)

// A handler that returns another one has it go on, and a drain waits for it.
func TestHandlersFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		last := func(_ context.Context, c *Conn) Handler {
			time.Sleep(time.Second)
			steps = append(steps, "last")
			c.Finish("x")
			return nil
		}
		first := func(context.Context, *Conn) Handler {
			time.Sleep(time.Second)
			steps = append(steps, "first")
			return last
		}
		v := serve(t, &Server{Handle: first, MaxConns: 1, DrainTimeout: time.Minute})
		c := v.dial()
		synctest.Wait()
		answer := make(chan string)
		go func() { answer <- readAll(t, c) }()
		if took, err := v.stopped(); took != 2*time.Second || err != nil {
			t.Errorf("stopped after %v, %v", took, err)
		}
		if got := <-answer + " after " + strings.Join(steps, ", "); got != "x after first, last" {
			t.Error(got)
		}
	})
}

// A panic costs its connection and no other, whichever handler it is in: its
// place is free again, a drain does not wait for it, and it is told.
func TestPanic(t *testing.T) {
	for _, test := range []struct {
		name   string
		handle Handler
	}{
		{"the first handler", func(context.Context, *Conn) Handler { panic("on purpose") }},
		{"the next handler", func(context.Context, *Conn) Handler {
			return func(context.Context, *Conn) Handler { panic("on purpose") }
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []string
			first := true
			handle := func(ctx context.Context, c *Conn) Handler {
				if first {
					first = false
					return test.handle(ctx, c)
				}
				return echoAfter(time.Second)(ctx, c)
			}
			v := serve(t, &Server{Handle: handle, MaxConns: 1, DrainTimeout: time.Minute, Panicked: func(value any, stack []byte) {
				told = append(told, value.(string))
				if !strings.Contains(string(stack), "handler_test.go") {
					t.Errorf("%s: the stack does not show where:\n%s", test.name, stack)
				}
			}})
			unlucky := v.dial()
			if got, err := io.ReadAll(unlucky); len(got) > 0 || err != nil {
				t.Errorf("%s: the client of the panic read %q, %v", test.name, got, err)
			}
			c := v.dial()
			c.Write([]byte("x"))
			if got := readAll(t, c); got != "x" {
				t.Errorf("%s: the next client read %q", test.name, got)
			}
			if took, err := v.stopped(); took > stopGrace || err != nil {
				t.Errorf("%s: stopped after %v, %v", test.name, took, err)
			}
			if len(told) != 1 || told[0] != "on purpose" {
				t.Errorf("%s: told %q", test.name, told)
			}
		})
	}
}

// Without Panicked a panic goes on, as if the server were not there.
func TestPanicThatNobodyIsTold(t *testing.T) {
	defer func() {
		if recover() != "on purpose" {
			t.Error("the panic has ended")
		}
	}()
	defer (&serving{Server: &Server{}}).recovered(&Conn{})
	panic("on purpose")
}

// endless is a listener that always has one more connection.
type endless struct {
	*memnet.Listener
	net  *memnet.Net
	t    *testing.T
	stop context.CancelFunc
	n    int
}

func (l *endless) Accept() (net.Conn, error) {
	switch l.n++; l.n {
	case 10:
		l.stop()
	case 5000:
		return nil, errors.New("it accepts without end")
	}
	time.Sleep(time.Millisecond)
	c, err := l.net.Dial(l.t.Context(), "server")
	if err != nil {
		return nil, err
	}
	c.Close()
	return l.Listener.Accept()
}

// However many clients come, a server that stops accepts them for a bounded
// time only.
func TestStopAcceptsForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		ctx, stop := context.WithCancel(t.Context())
		l := &endless{Listener: n.Listen("server"), net: &n, t: t, stop: stop}
		s := Server{Handle: echoAfter(0), DrainTimeout: time.Minute}
		start := time.Now()
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
		if took := time.Since(start) - 10*time.Millisecond; took < idleGrace+acceptingMax || took > idleGrace+acceptingMax+2*time.Millisecond {
			t.Errorf("it went on accepting for %v", took)
		}
	})
}

// A client that sends without end is dropped after a bounded number of bytes.
func TestLingeringIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(0), DrainTimeout: time.Minute})
		c := v.dial()
		c.Write([]byte("x"))
		sent, block := 0, make([]byte, 64<<10)
		for {
			n, err := c.Write(block)
			if sent += n; err != nil || sent > 4*lingerBytes {
				break
			}
			synctest.Wait() // the server has dropped it
		}
		if sent < lingerBytes || sent > lingerBytes+2*len(block) {
			t.Errorf("it read %d bytes, want about %d", sent, lingerBytes)
		}
		c.Close()
		if _, err := v.stopped(); err != nil {
			t.Error(err)
		}
	})
}

// deaf is a connection whose peer reads nothing: a write waits for its
// deadline.
type deaf struct {
	*able
	deadline time.Time
}

func (c *deaf) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *deaf) Write([]byte) (int, error) {
	if c.deadline.IsZero() {
		select {} // for ever: the bubble panics
	}
	time.Sleep(time.Until(c.deadline))
	return 0, context.DeadlineExceeded
}

// A client that does not read its answer is given up.
func TestClientThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, send := range []func(*Conn, string) error{(*Conn).Answer, (*Conn).Finish} {
			conn := &deaf{able: &able{}}
			c := &Conn{Conn: conn, serving: &serving{stopping: t.Context()}}
			start := time.Now()
			if err := send(c, "x"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			if got := strings.Join(conn.called, ", "); got != "close" {
				t.Errorf("it was asked for %s", got)
			}
		}
	})
}

// A peer that had gone before it was sent the last text is told of, whichever way
// that is sent; one that has only half-closed is not gone.
func TestPeerThatIsGone(t *testing.T) {
	for name, send := range map[string]func(*Conn, string) error{"Answer": (*Conn).Answer, "Finish": (*Conn).Finish} {
		for _, test := range []struct {
			leaves string
			how    func(*memnet.Conn)
			want   error
		}{
			{"closes", func(c *memnet.Conn) { c.Close() }, ErrPeerGone},
			{"half-closes", func(c *memnet.Conn) { c.CloseWrite() }, nil},
			{"stays", func(*memnet.Conn) {}, nil},
		} {
			synctest.Test(t, func(t *testing.T) {
				var got error
				v := serve(t, &Server{Handle: func(_ context.Context, c *Conn) Handler {
					c.BeginRead(time.Minute)
					c.Read(make([]byte, 1))
					c.EndRead()
					time.Sleep(time.Second)
					got = send(c, "text")
					return nil
				}, DrainTimeout: time.Minute})
				c := v.dial()
				c.Write([]byte("x"))
				synctest.Wait()
				test.how(c)
				time.Sleep(time.Minute)
				v.stopped()
				c.Close()
				if got != test.want {
					t.Errorf("%s to a peer that %s: %v, want %v", name, test.leaves, got, test.want)
				}
			})
		}
	}
}

// A client that left while it waited to be accepted ends nothing.
func TestAbortedClientIsPassedOver(t *testing.T) {
	if !neterr.Passing(neterr.Errno(neterr.Aborted)) {
		t.Error("a client that left would end the server")
	}
}
