// Package server accepts connections and drains them, for the broker and for
// the worker alike.
//
// [Server.Serve] is one blocking function: when it returns, nothing that it
// started is running. A stop has two steps, and a handler gets a context for
// each:
//
//	stopping   no new connections but those that the kernel had accepted
//	           before. Who has not sent a request yet is let go after a moment,
//	           in which one that is on its way may come ([Conn.AwaitRequest]);
//	           what is in flight may finish
//	ctx        the time to drain is up: handlers must give up now
//
// An Accept that fails because something ran out (file descriptors, memory) is
// tried again after a pause; it neither ends the server nor makes it spin. A
// server at its limit of connections stops accepting, so that new clients wait
// in the kernel's queue and are not refused.
//
// An accepted connection may have two methods besides [net.Conn]'s, as those of
// package socket have. With TryRead, which reads as with a deadline of now, a
// request that is there at once costs neither a deadline nor a watch for the
// stop. With Quiet, which tells whether all input is read, a connection closes
// at once after its answer, and need not wait for what might still come.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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
	// Handle serves one connection, in its own goroutine, and closes it, or says
	// by [Conn.Then] who does. It returns soon after ctx is done. Required.
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

// A Conn is an accepted connection. It is for one goroutine at a time.
type Conn struct {
	net.Conn
	stopping context.Context
	handlers *handlers
	counted  bool // in handlers.inFlight
	next     func(context.Context, *Conn)

	awaiting bool          // a request is being read
	within   time.Duration // how long that may take; 0 means for ever
	stop     func() bool   // ends the watch for the stop; nil while there is none
	expired  chan struct{} // closed by the watch when it has seen the stop
}

// Serve accepts from l until stopping is done, then closes l and waits for the
// handlers: for DrainTimeout, and after that for as long as they take to obey
// their context. It returns nil after a stop, [ErrDrainTimeout] after one that
// cut something off, and otherwise why accepting is impossible.
func (s *Server) Serve(stopping context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(stopping))
	defer cancel(nil)
	var h handlers
	stopAccepting := context.AfterFunc(stopping, func() { h.stopAccepting(l) })
	defer stopAccepting()

	err := s.accept(stopping, ctx, l, &h)
	l.Close()
	cut := time.AfterFunc(s.DrainTimeout, func() {
		if h.inFlight.Load() > 0 {
			cancel(ErrDrainTimeout)
		}
	})
	defer cut.Stop()
	h.all.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// How long a server that stops waits for new connections and for requests, and
// how long it goes on accepting those who wait then. Closing at once would lose
// the requests that are on their way.
const (
	lastCallTime  = 10 * time.Millisecond
	mostAccepting = 100 * time.Millisecond
)

// handlers are those that Serve waits for.
type handlers struct {
	all      sync.WaitGroup
	inFlight atomic.Int64  // who only waits for a peer to close is not in flight
	limit    chan struct{} // holds a token for each open connection; nil: no limit

	stopped  sync.Once
	lastCall time.Time // set by stopped
}

// until returns when a server that stops has waited long enough, once and for
// all: a peer that has a next request each time must not keep it from stopping.
func (h *handlers) until() time.Time {
	h.stopped.Do(func() { h.lastCall = time.Now().Add(lastCallTime) })
	return h.lastCall
}

// stopAccepting has Accept fail soon; at once, where l has no deadline.
func (h *handlers) stopAccepting(l net.Listener) {
	d, ok := l.(interface{ SetDeadline(time.Time) error })
	if !ok || d.SetDeadline(h.until()) != nil {
		l.Close()
	}
}

func (s *Server) accept(stopping, ctx context.Context, l net.Listener, h *handlers) error {
	if s.MaxConns > 0 {
		h.limit = make(chan struct{}, s.MaxConns)
	}
	var pause time.Duration
	for {
		if !h.room(stopping) || stopping.Err() != nil && time.Since(h.until()) > mostAccepting {
			return nil
		}
		conn, err := l.Accept()
		switch {
		case err != nil && stopping.Err() != nil:
			return nil
		case err != nil && passing(err):
			h.giveBack()
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
		h.inFlight.Add(1)
		h.start(ctx, s.Handle, &Conn{Conn: conn, stopping: stopping, handlers: h, counted: true})
	}
}

// room waits until there is room for one more connection, which giveBack ends.
// It reports false if there is none and the server stops.
func (h *handlers) room(stopping context.Context) bool {
	if h.limit == nil {
		return true
	}
	select {
	case h.limit <- struct{}{}:
		return true
	default:
	}
	select {
	case h.limit <- struct{}{}:
		return true
	case <-stopping.Done():
		return false
	}
}

func (h *handlers) giveBack() {
	if h.limit != nil {
		<-h.limit
	}
}

// start runs handle, and what is to follow it, each in a goroutine of its own.
func (h *handlers) start(ctx context.Context, handle func(context.Context, *Conn), c *Conn) {
	h.all.Go(func() {
		handle(ctx, c)
		if next := c.next; next != nil {
			c.next = nil
			h.start(ctx, next, c)
			return
		}
		c.settle()
		h.giveBack()
	})
}

// Then says what goes on serving the connection when the running handler has
// returned: next, in a goroutine that begins with a small stack.
func (c *Conn) Then(next func(ctx context.Context, conn *Conn)) { c.next = next }

// settle says that nothing is in flight any more on c.
func (c *Conn) settle() {
	if c.counted {
		c.handlers.inFlight.Add(-1)
		c.counted = false
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

// AwaitRequest says that a request is read next, for which there is so much
// time (0 means for ever). Until the caller calls Got a stop ends the reading
// in a moment.
func (c *Conn) AwaitRequest(within time.Duration) {
	c.awaiting, c.within = true, within
	if within == 0 {
		c.SetReadDeadline(time.Time{}) // instead of that for the request before
	}
}

// Hurry says that the rest of a request, which began to come, has so much time;
// less if the server stops. It is for who awaits a request for ever.
func (c *Conn) Hurry(within time.Duration) {
	c.SetReadDeadline(time.Now().Add(within))
	if c.stopping.Err() != nil {
		c.SetReadDeadline(c.handlers.until())
	}
}

// Got says that the reading is over: from now on a stop waits for the handler,
// and leaves the deadline alone. It reports false if the stop came first.
func (c *Conn) Got() bool {
	c.awaiting = false
	if c.stop == nil {
		return true
	}
	stopped := !c.stop()
	c.stop = nil
	if stopped {
		<-c.expired
	}
	return !stopped
}

// Read is for [net.Conn]. A request that is there at once, as most are, needs
// neither a deadline nor a watch for the stop.
func (c *Conn) Read(p []byte) (int, error) {
	if c.awaiting && c.stop == nil {
		if n, err := c.tryRead(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.watch()
	}
	return c.Conn.Read(p)
}

// tryRead reads as with a deadline of now, if the connection can.
func (c *Conn) tryRead(p []byte) (int, error) {
	t, ok := c.Conn.(interface{ TryRead([]byte) (int, error) })
	if !ok {
		return 0, os.ErrDeadlineExceeded
	}
	return t.TryRead(p)
}

// watch sets the deadline for the request, and another one when the server stops.
func (c *Conn) watch() {
	if c.within > 0 {
		c.SetReadDeadline(time.Now().Add(c.within))
	}
	expired := make(chan struct{})
	c.expired = expired
	c.stop = context.AfterFunc(c.stopping, func() {
		defer close(expired)
		c.SetReadDeadline(c.handlers.until())
	})
}

// Quiet reports whether conn is open and has nothing to read, as far as it can
// tell: false, if it has no method for that.
func Quiet(conn net.Conn) bool {
	q, ok := conn.(interface{ Quiet() bool })
	return ok && q.Quiet()
}

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
