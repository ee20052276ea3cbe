package server

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"balancelab/internal/socket"
)

// A Conn is an accepted connection. It is for one goroutine at a time.
type Conn struct {
	socket.Conn
	serving  *serving
	placed   bool // it has a place among MaxConns
	first    bool // no request has been read
	inFlight bool // counted in serving.inFlight

	reading bool          // between BeginRead and EndRead
	within  time.Duration // how long that may take; 0 means for ever
	limited bool          // it has a deadline for reading
	watched bool          // it is in serving.readers
	waiter  Awaiter       // between BeginAwait and EndAwait
	place   int           // in the set of the serving that it is in
	silence *silence      // nil unless it has waited for a request, at a server with a limit
}

// A ReadEnd says what ended the reading of a request.
type ReadEnd int

const (
	ByItself ReadEnd = iota // the request is there, or reading has failed
	Stopped                 // the server stops
	GaveWay                 // the server is at its limit, and nothing had come
)

// Unserved returns a connection that no server has accepted, for a test of a handler
// alone in another package. Its waiter is told to give up when ctx is done, for which
// ctx holds it until then.
func Unserved(ctx context.Context, conn socket.Conn) *Conn {
	v := &serving{Server: new(Server), stopping: ctx, ctx: ctx}
	v.awaiting.tell = (*Conn).giveUp
	context.AfterFunc(ctx, v.awaiting.tellAll)
	return &Conn{Conn: conn, serving: v}
}

// done counts the request as no longer in flight.
func (c *Conn) done() {
	if c.inFlight {
		c.serving.inFlight.Add(-1)
		c.inFlight = false
	}
}

// BeginRead begins the reading of a request, which may take the time within
// (0 means for ever). Until the caller calls [Conn.EndRead], a stop of the
// server ends the reading in a moment, and so may a new connection as long as
// nothing has come.
func (c *Conn) BeginRead(within time.Duration) {
	c.done()
	c.reading, c.within = true, within
	if within == 0 && c.limited {
		c.limited = false
		c.SetReadDeadline(time.Time{}) // instead of that for the request before
	}
}

// ReadRest sets the deadline for the rest of a request, which began to come, to
// the time within from now; less if the server stops. It is for a caller that began to read
// without a limit.
func (c *Conn) ReadRest(within time.Duration) {
	c.limited = true
	c.SetReadDeadline(time.Now().Add(within))
	if c.serving.stopping.Err() != nil {
		c.SetReadDeadline(c.serving.stopped().Add(stopGrace))
	}
}

// EndRead ends the reading: from now on a request is in flight, and
// a stop waits for the handler and leaves the deadline alone. It returns what
// ended the reading.
func (c *Conn) EndRead() ReadEnd {
	if !c.reading {
		return ByItself
	}
	c.serving.inFlight.Add(1)
	end := c.unwatch()
	c.reading, c.first, c.inFlight = false, false, true
	if !c.placed {
		return Stopped
	}
	return end
}

// Read implements [net.Conn]. A first request that is there at once, as most are,
// needs neither a deadline nor a watch for the stop. A next one seldom is.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.reading {
		return c.Conn.Read(p)
	}
	if !c.placed { // there is time only to tell it
		return 0, os.ErrDeadlineExceeded
	}
	if !c.watched {
		if c.first {
			if n, err := c.TryRead(p); !errors.Is(err, os.ErrDeadlineExceeded) {
				return n, err
			}
		}
		c.watch()
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.serving.silent.spoke(c)
	}
	return n, err
}

// watch sets the deadline for the request, and another one when the server stops.
func (c *Conn) watch() {
	if c.within > 0 {
		c.limited = true
		c.SetReadDeadline(time.Now().Add(c.within))
	}
	c.watched = true
	c.serving.readers.add(c)
	if c.serving.places != nil {
		c.serving.silent.add(c)
	}
}

// unwatch undoes watch, and says what has ended the reading.
func (c *Conn) unwatch() ReadEnd {
	if !c.watched {
		return ByItself
	}
	c.watched = false
	stopped := c.serving.readers.remove(c)
	gaveWay := c.serving.silent.remove(c)
	switch {
	case stopped:
		return Stopped
	case gaveWay:
		c.limited = true // if a request has come in the same moment, another may follow
		return GaveWay
	}
	return ByItself
}

// hurry is told to those that read a request when the server stops.
func (c *Conn) hurry() {
	grace := idleGrace
	if c.first {
		grace = stopGrace
	}
	c.SetReadDeadline(c.serving.stopped().Add(grace))
}

// An Awaiter waits for something on behalf of a connection.
type Awaiter interface {
	// GiveUp ends the waiting. It may be called at any time from BeginAwait to
	// EndAwait, by another goroutine. It must not wait, and not use the connection.
	GiveUp()
}

// giveUp is told to those that wait for something when the handlers must give up.
func (c *Conn) giveUp() { c.waiter.GiveUp() }

// BeginAwait begins the waiting for something on behalf of c, which is not used
// meanwhile. Until the caller calls [Conn.EndAwait] w is told to give up when the
// context of the handler is done.
func (c *Conn) BeginAwait(w Awaiter) {
	c.waiter = w
	c.serving.awaiting.add(c)
}

// EndAwait ends the waiting, if there is one: a handler that panics calls it too. It
// reports whether the waiter was told to give up. From now on it is not.
func (c *Conn) EndAwait() (givenUp bool) {
	if c.waiter == nil {
		return false
	}
	givenUp = c.serving.awaiting.remove(c)
	c.waiter = nil
	return givenUp
}

// How long closing a connection may take, and how many bytes it drops.
const (
	writeTimeout   = 5 * time.Second
	lingerTimeout  = 1 * time.Second
	lingerStopping = 100 * time.Millisecond // while the server stops
	lingerBytes    = 1 << 20
)

// ErrPeerGone says that the peer had closed the connection before it was sent a
// text. One that has only half-closed it is not gone.
//
// The system of a peer that is gone answers the text by a reset. Over the
// loopback that is known at once. From another host it comes a round trip later:
// then a peer that has closed in good order is not known to be gone.
var ErrPeerGone = errors.New("the peer had closed the connection")

// Answer sends the last text on the connection and closes it. What followed
// the request is dropped first, as [Conn.Finish] does, if there is any.
func (c *Conn) Answer(text string) error {
	defer c.Close()
	if err := c.write(text); err != nil {
		return err
	}
	switch c.Peek() {
	case socket.Quiet, socket.Ended: // there is nothing unread
		return nil
	case socket.Reset:
		return ErrPeerGone
	}
	return c.linger()
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
	return c.linger()
}

func (c *Conn) write(text string) error {
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := io.WriteString(c.Conn, text)
	c.done()
	return err
}

// linger drops what comes until the peer closes.
func (c *Conn) linger() error {
	if c.Peek() == socket.Reset {
		return ErrPeerGone
	}
	if c.CloseWrite() != nil {
		return nil
	}
	wait := lingerTimeout
	if c.serving.stopping.Err() != nil {
		wait = lingerStopping
	}
	c.SetReadDeadline(time.Now().Add(wait))
	dropped := make([]byte, 512)
	for n := 0; n < lingerBytes; {
		m, err := c.Read(dropped)
		if err != nil {
			return nil
		}
		n += m
	}
	return nil
}
