// Package server accepts connections and drains them, for the broker and for
// the worker alike.
//
// [Server.Serve] is one blocking function: when it returns, nothing that it
// started is running. A connection is served by a [Handler], which may return
// another one that goes on with it on a goroutine of its own, whose stack begins
// small. A handler that is about to wait for long returns what follows the
// waiting, so that thousands of connections can wait at once.
//
// The first handler needs no goroutine of its own. A few goroutines take turns in
// accepting, and each runs the first handler of what it has accepted before it
// accepts again: their stacks have grown once and for all, and what can be done
// without waiting is done at once. If none of them is left to accept, since a
// handler waits after all, one more is started.
//
// A stop has two steps:
//
//	stopping   No new connections, but those that the kernel has accepted
//	           already. A connection without a request is let go after a
//	           moment, in which a request that is on its way may come
//	           ([Conn.BeginRead]). What is in flight may finish.
//	ctx        The time to drain is up: handlers must give up now.
//
// An Accept that fails because something ran out (file descriptors, memory) is
// tried again after a pause; it neither ends the server nor makes it spin.
//
// A server at its limit of connections accepts one more, which has to wait, and
// leaves the others in the kernel's queue; none is refused. Connections that have
// sent nothing for a second give way to it, the longest silent one first. What is
// in flight never does. A connection that still waits when the server stops is
// told so.
//
// A handler that panics costs its connection and nothing else: the connection
// is closed, its place is given back, and [Server.Panicked] is told. What the
// handler itself holds it gives back by its own deferred calls.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// ErrDrainTimeout is returned by [Server.Serve] when connections had to be cut
// off.
var ErrDrainTimeout = errors.New("not everything in flight was finished in time")

// A Handler serves a connection. It returns the handler that goes on serving it,
// on a goroutine of its own, or nil when it has closed the connection. It returns
// soon after ctx is done.
type Handler func(ctx context.Context, conn *Conn) (next Handler)

// A Server accepts connections and hands each one to Handle.
type Server struct {
	// Handle is a connection's first handler. Required.
	Handle Handler
	// DrainTimeout is how long handlers may go on after the stop, unless Stopping
	// says it; 0 means not at all.
	DrainTimeout time.Duration
	// MaxConns is how many connections are served at once; 0 means no limit.
	MaxConns int
	// Stopping, if not nil, is told once that the server begins to stop, and how
	// many requests are in flight. It returns what DrainTimeout would say: how long
	// there is may depend on why the program stops.
	Stopping func(inFlight int) (drainTimeout time.Duration)
	// Paused, if not nil, is told when accepting fails for now, why, and how
	// long the pause is.
	Paused func(err error, pause time.Duration)
	// Panicked is told when a handler has panicked, with the value and the
	// stack. If nil, a panic ends the program, as elsewhere.
	Panicked func(value any, stack []byte)
}

// How long a server that stops waits for requests that are on their way: closing
// at once would lose them. A connection that has had an answer gets less time:
// its peer is told that the next request was not taken.
const (
	stopGrace = 250 * time.Millisecond // for the first request of a connection
	idleGrace = 10 * time.Millisecond  // for a next request, and for connections
	// acceptingMax is how long it goes on, after idleGrace, accepting the
	// connections that the kernel has accepted: long enough for a machine that is
	// busy, since it ends as soon as none is left.
	acceptingMax = time.Second
)

// A serving is one call of Serve.
type serving struct {
	*Server
	stopping context.Context // the first step of a stop
	ctx      context.Context // the second one
	running  sync.WaitGroup  // the acceptors and the handlers
	inFlight atomic.Int64    // requests: read, and not answered yet
	places   chan struct{}   // holds a token for each connection that is served; nil: no limit
	silent   silentConns
	readers  set // connections that wait for a request
	awaiting set // connections whose handler waits for something else

	stop   sync.Once
	stopAt time.Time // set by stop

	turn      chan struct{} // holds a token while no acceptor accepts
	acceptors atomic.Int32  // those that accept, or wait for their turn
	enough    int32         // how many of those there are at most
	accepted  chan error    // gets one value: why no more is accepted
}

// Serve accepts from l until stopping is done, then closes l and waits for the
// handlers: for the drain timeout, and after that for as long as they take to obey
// their context. It returns nil after a stop, [ErrDrainTimeout] after one that
// cut something off, and otherwise why accepting is impossible.
func (s *Server) Serve(stopping context.Context, l socket.Listener) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(stopping))
	defer cancel(nil)
	v := &serving{
		Server: s, stopping: stopping, ctx: ctx,
		turn: make(chan struct{}, 1), accepted: make(chan error, 1), enough: int32(runtime.GOMAXPROCS(0)),
	}
	if s.MaxConns > 0 {
		v.places = make(chan struct{}, s.MaxConns)
	}
	v.readers.tell, v.awaiting.tell = (*Conn).hurry, (*Conn).giveUp
	told, drainTimeout := make(chan struct{}), s.DrainTimeout
	cancelStop := context.AfterFunc(stopping, func() {
		defer close(told)
		if l.SetDeadline(v.stopped().Add(idleGrace)) != nil {
			l.Close()
		}
		v.readers.tellAll()
		if s.Stopping != nil {
			drainTimeout = s.Stopping(int(v.inFlight.Load()))
		}
	})

	v.turn <- struct{}{}
	v.startAccepting(l)
	err := <-v.accepted
	l.Close()
	if cancelStop() {
		v.readers.tellAll() // no stop would tell them any more
	} else {
		<-told
	}
	cut := time.AfterFunc(time.Until(v.stopped().Add(drainTimeout)), func() {
		var cutOff error // nil: a request that comes from now on is told so
		if v.inFlight.Load() > 0 {
			cutOff = ErrDrainTimeout
		}
		cancel(cutOff)
		v.awaiting.tellAll()
	})
	defer cut.Stop()
	v.running.Wait()
	if context.Cause(ctx) == ErrDrainTimeout {
		return errors.Join(err, ErrDrainTimeout)
	}
	return err
}

// stopped returns when the server began to stop. The first caller sets it.
func (v *serving) stopped() time.Time {
	v.stop.Do(func() { v.stopAt = time.Now() })
	return v.stopAt
}

// startAccepting starts one more acceptor.
func (v *serving) startAccepting(l net.Listener) {
	v.acceptors.Add(1)
	v.running.Go(func() { v.accept(l) })
}

// accept serves what it accepts: the first handler here, the others elsewhere. It
// returns when no more is accepted, or enough others accept.
func (v *serving) accept(l net.Listener) {
	for range v.turn {
		c, err := v.next(l)
		if c == nil {
			close(v.turn)
			v.accepted <- err
			return
		}
		left := v.acceptors.Add(-1)
		v.turn <- struct{}{}
		if left == 0 {
			v.startAccepting(l)
		}
		v.serve(v.Handle, c)
		if !v.acceptsAgain() {
			return
		}
	}
}

// acceptsAgain counts the caller among the acceptors, if there are not enough. It is
// one step: one that is counted and then leaves might be the last.
func (v *serving) acceptsAgain() bool {
	for n := v.acceptors.Load(); n < v.enough; n = v.acceptors.Load() {
		if v.acceptors.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// next accepts a connection, and waits for a place for it. It returns nil when no
// more is to be accepted, and why, if the server does not stop.
func (v *serving) next(l net.Listener) (*Conn, error) {
	var pause time.Duration
	for !v.closing() {
		conn, err := l.Accept()
		switch {
		case err == nil:
			c := &Conn{Conn: socket.Of(conn), serving: v, first: true}
			c.placed = v.acquire()
			return c, nil
		case v.stopping.Err() != nil:
			return nil, nil
		case neterr.Passing(err):
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			v.pause(err, pause)
		default:
			return nil, fmt.Errorf("accept: %w", err)
		}
	}
	return nil, nil
}

// closing reports whether a server that stops has gone on accepting for long
// enough.
func (v *serving) closing() bool {
	return v.stopping.Err() != nil && time.Since(v.stopped()) > idleGrace+acceptingMax
}

// acquire waits for a place for one more connection, which release gives back.
// It reports false if there is none and the server stops: then the connection
// can only be told so.
func (v *serving) acquire() bool {
	if v.places == nil {
		return true
	}
	for {
		select {
		case v.places <- struct{}{}:
			return true
		default:
		}
		next := time.NewTimer(v.silent.giveWay())
		select {
		case v.places <- struct{}{}:
			next.Stop()
			return true
		case <-v.stopping.Done():
			next.Stop()
			return false
		case <-next.C:
		}
	}
}

func (v *serving) release(c *Conn) {
	if c.placed && v.places != nil {
		<-v.places
	}
}

// pause tells why accepting failed, and waits for d or for the stop.
func (v *serving) pause(err error, d time.Duration) {
	if v.Paused != nil {
		v.Paused(err, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-v.stopping.Done():
	}
}

// serve runs h here, and the handlers that go on after it each on a goroutine of its
// own.
func (v *serving) serve(h Handler, c *Conn) {
	defer v.recovered(c)
	if next := h(v.ctx, c); next != nil {
		v.running.Add(1)
		go v.goOn(next, c) // needs less stack and memory than running.Go with a function
		return
	}
	v.end(c)
}

func (v *serving) goOn(h Handler, c *Conn) {
	defer v.running.Done()
	v.serve(h, c)
}

// recovered is deferred: a handler that panics is the last of its connection.
func (v *serving) recovered(c *Conn) {
	if v.Panicked == nil {
		return
	}
	if value := recover(); value != nil {
		c.Close()
		v.Panicked(value, debug.Stack())
		v.end(c)
	}
}

// end gives back what a served connection held.
func (v *serving) end(c *Conn) {
	c.EndRead()
	c.done()
	v.release(c)
}
