// Package server accepts connections and drains them, for the broker and for
// the worker alike.
//
// [Server.Serve] is one blocking function: when it returns, nothing that it
// started is running. A stop has two steps, and a handler gets a context for
// each:
//
//	stopping   no new connections. Who has not sent a request yet is let go at
//	           once ([Conn.AwaitRequest]); what is in flight may finish
//	ctx        the time to drain is up: handlers must give up now
//
// An Accept that fails because something ran out (file descriptors, memory) is
// tried again after a pause; it neither ends the server nor makes it spin. A
// server at its limit of connections stops accepting, so that new clients wait
// in the kernel's queue and are not refused.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrDrainTimeout is returned by [Server.Serve] when connections had to be cut
// off.
var ErrDrainTimeout = errors.New("not everything in flight was finished in time")

// A Server accepts connections and hands each one to Handle.
type Server struct {
	// Handle serves one connection, in its own goroutine, and closes it. It
	// returns soon after ctx is done. Required.
	Handle func(ctx context.Context, conn *Conn)
	// DrainTimeout is how long handlers may go on after the stop; 0 means not
	// at all.
	DrainTimeout time.Duration
	// MaxConns is how many connections are open at once; 0 means no limit.
	MaxConns int
	// Paused, if not nil, is told when accepting fails for now, why, and how
	// long the pause is.
	Paused func(err error, pause time.Duration)
}

// A Conn is an accepted connection.
type Conn struct {
	net.Conn
	stopping context.Context
	settle   func() // says, any number of times, that nothing is in flight any more
}

// Listen returns a listener for [Server.Serve] at a TCP address. Multipath TCP
// is off: Go's default for listeners has broken peers that know only TCP.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if errors.Is(err, errAddrInUse) {
		return nil, fmt.Errorf("listen on %s: the address is in use; stop the program that has it, or choose another with -listen", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// Serve accepts from l until stopping is done, then closes l and waits for the
// handlers: for DrainTimeout, and after that for as long as they take to obey
// their context. It returns nil after a stop, [ErrDrainTimeout] after one that
// cut something off, and otherwise why accepting is impossible.
func (s *Server) Serve(stopping context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(stopping))
	defer cancel(nil)
	stopClosing := context.AfterFunc(stopping, func() { l.Close() })
	defer stopClosing()
	defer l.Close()

	var h handlers
	err := s.accept(stopping, ctx, l, &h)
	cut := time.AfterFunc(s.DrainTimeout, func() {
		if h.running.Load() > 0 {
			cancel(ErrDrainTimeout)
		}
	})
	defer cut.Stop()
	h.all.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// handlers are those that Serve waits for.
type handlers struct {
	all     sync.WaitGroup
	running atomic.Int64
}

// start runs handle. What it is given is called when nothing is in flight any
// more, at the latest at its end: who only waits for a peer to close is not cut
// off by the end of a drain.
func (h *handlers) start(handle func(settle func())) {
	h.running.Add(1)
	settle := sync.OnceFunc(func() { h.running.Add(-1) })
	h.all.Go(func() {
		defer settle()
		handle(settle)
	})
}

func (s *Server) accept(stopping, ctx context.Context, l net.Listener, h *handlers) error {
	var limit chan struct{} // holds a token for each open connection
	if s.MaxConns > 0 {
		limit = make(chan struct{}, s.MaxConns)
	}
	var pause time.Duration
	for {
		if limit != nil {
			select {
			case limit <- struct{}{}:
			case <-stopping.Done():
				return nil
			}
		}
		conn, err := l.Accept()
		switch {
		case stopping.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case err != nil && passing(err):
			if limit != nil {
				<-limit
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if s.Paused != nil {
				s.Paused(err, pause)
			}
			wait(stopping, pause)
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		pause = 0
		h.start(func(settle func()) {
			s.Handle(ctx, &Conn{conn, stopping, settle})
			if limit != nil {
				<-limit
			}
		})
	}
}

// passing reports whether a later Accept may succeed: something ran out, or
// one client left while it waited.
func passing(err error) bool {
	return Exhausted(err) || isOneOf(err, errGone)
}

// Exhausted reports whether err says that this side has run out of something:
// file descriptors, memory, or local ports.
func Exhausted(err error) bool { return isOneOf(err, errExhausted) }

func isOneOf(err error, targets []syscall.Errno) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// wait returns after d, or when ctx is done.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// AwaitRequest sets the deadline for reading a request: within from now (0
// means none), or at once when the server stops. The caller calls got, once,
// when the reading is over: from then on a stop waits for the handler, and
// leaves the deadline alone. got reports false if the stop came first.
func (c *Conn) AwaitRequest(within time.Duration) (got func() bool) {
	var deadline time.Time
	if within > 0 {
		deadline = time.Now().Add(within)
	}
	c.SetReadDeadline(deadline)
	expired := make(chan struct{})
	stop := context.AfterFunc(c.stopping, func() {
		defer close(expired)
		c.SetReadDeadline(longAgo)
	})
	return func() bool {
		if stop() {
			return true
		}
		<-expired
		return false
	}
}

var longAgo = time.Unix(1, 0)

// How long Finish waits for the peer, and how much it drops.
const (
	writeTimeout   = 5 * time.Second
	lingerTimeout  = 1 * time.Second
	lingerStopping = 100 * time.Millisecond // in a drain
	lingerBytes    = 1 << 20
)

// Answer sends the last text on the connection and closes it. What followed
// the request is dropped first, as [Conn.Finish] does, if there is any.
func (c *Conn) Answer(text string) error {
	defer c.Close()
	if err := c.write(text); err != nil {
		return err
	}
	if !Quiet(c.Conn) {
		c.linger()
	}
	return nil
}

// Finish sends the last text on a connection whose peer may still be sending,
// and closes it, so that the peer can read all of the text: closing while input
// is unread resets the connection, and the reset may overtake the text. So it
// tells the peer that nothing follows, and drops what comes until the peer
// closes too, for a bounded time and number of bytes. A peer that does not read
// is given up after 5 seconds.
func (c *Conn) Finish(text string) error {
	defer c.Close()
	if err := c.write(text); err != nil {
		return err
	}
	c.linger()
	return nil
}

func (c *Conn) write(text string) error {
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.Write([]byte(text))
	c.settle()
	return err
}

func (c *Conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	wait := lingerTimeout
	if c.stopping.Err() != nil {
		wait = lingerStopping
	}
	c.SetReadDeadline(time.Now().Add(wait))
	dropped := make([]byte, 512)
	for n := 0; n < lingerBytes; {
		m, err := c.Read(dropped)
		if err != nil {
			return
		}
		n += m
	}
}
