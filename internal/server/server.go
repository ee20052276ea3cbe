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
}

// Listen returns a listener for [Server.Serve] at a TCP address. Multipath TCP
// is off: Go's default for listeners has broken peers that know only TCP.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
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
	closeListener := context.AfterFunc(stopping, func() { l.Close() })
	defer closeListener()
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

func (h *handlers) start(handle func()) {
	h.running.Add(1)
	h.all.Go(func() {
		defer h.running.Add(-1)
		handle()
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
		h.start(func() {
			s.Handle(ctx, &Conn{conn, stopping})
			if limit != nil {
				<-limit
			}
		})
	}
}

// passing reports whether a later Accept may succeed: something ran out, or
// one client left while it waited.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, e) {
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
	writeTimeout  = 5 * time.Second
	lingerTimeout = 1 * time.Second
	lingerBytes   = 1 << 20
)

// Finish sends the last text on the connection and closes it, so that the peer
// can read all of it: closing while input is unread resets the connection, and
// the reset may overtake the text. So it tells the peer that nothing follows,
// and drops what comes until the peer closes too, for a bounded time and
// number of bytes. A peer that does not read is given up after 5 seconds.
func (c *Conn) Finish(text string) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(writeTimeout))
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return nil
	}
	c.SetReadDeadline(time.Now().Add(lingerTimeout))
	var dropped [512]byte
	for n := 0; n < lingerBytes; {
		m, err := c.Read(dropped[:])
		if err != nil {
			break
		}
		n += m
	}
	return nil
}
