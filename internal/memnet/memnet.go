// Package memnet is a network in memory, for tests with a fake clock: a
// goroutine that waits on a real socket keeps the clock of a testing/synctest
// bubble from advancing, and one that waits here does not.
//
//	var network memnet.Net
//	l := network.Listen("worker-1")
//	conn, err := network.Dial(ctx, "worker-1")
//
// Unlike net.Pipe a connection buffers what is written, can be half-closed and
// reset, and has addresses like TCP's. A listener accepts on its own behalf
// before anybody calls Accept, as a kernel does. What it does not do: lose,
// delay or cut anything, and run out of buffer.
package memnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Net is a network of its own. The zero value has no listeners.
type Net struct {
	mu         sync.Mutex // guards all below
	listeners  map[string]*Listener
	blackHoles map[string]bool
	lastPort   int
}

// Listen returns a listener at addr, which may be any text.
func (n *Net) Listen(addr string) *Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*Listener{}
	}
	if n.listeners[addr] != nil {
		panic("memnet: there is a listener already at " + addr)
	}
	n.lastPort++
	l := &Listener{net: n, name: addr, addr: address(n.lastPort), closed: make(chan struct{}), queue: make(chan net.Conn, 10_000)}
	n.listeners[addr] = l
	return l
}

// BlackHole makes connects to addr wait until their context ends.
func (n *Net) BlackHole(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.blackHoles == nil {
		n.blackHoles = map[string]bool{}
	}
	n.blackHoles[addr] = true
}

// Dial connects to the listener at addr. Without one the error is
// ECONNREFUSED.
func (n *Net) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.lastPort++
	from, l, hole := address(n.lastPort), n.listeners[addr], n.blackHoles[addr]
	n.mu.Unlock()
	if hole {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	there, back := newStream(), newStream()
	l.queue <- &Conn{local: l.addr, remote: from, in: there, out: back}
	return &Conn{local: from, remote: l.addr, in: back, out: there}, nil
}

// DialWithin is Dial for at most so long.
func (n *Net) DialWithin(ctx context.Context, addr string, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return n.Dial(ctx, addr)
}

func address(port int) *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50_000 + port}
}

// A Listener is what [Net.Listen] returns.
type Listener struct {
	net    *Net
	name   string
	addr   net.Addr
	queue  chan net.Conn
	closed chan struct{} // closed by Close
	once   sync.Once
}

// Accept waits for a connection. After Close the error is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener. Connections that wait to be accepted are reset.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.name)
		l.net.mu.Unlock()
		close(l.closed)
		for len(l.queue) > 0 {
			(<-l.queue).(*Conn).Reset()
		}
	})
	return nil
}

// Addr returns an address like TCP's.
func (l *Listener) Addr() net.Addr { return l.addr }

// A Conn is one end of a connection.
type Conn struct {
	local, remote net.Addr
	in, out       *stream
}

// Read is for [net.Conn].
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write is for [net.Conn]. It never waits.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close ends both directions. As with TCP, the peer is reset if there is
// unread input, or once it writes again.
func (c *Conn) Close() error {
	if c.in.abandon() {
		c.out.fail(syscall.ECONNRESET)
		return nil
	}
	return c.CloseWrite()
}

// CloseWrite tells the peer that nothing follows.
func (c *Conn) CloseWrite() error {
	c.out.end()
	return nil
}

// Reset ends the connection as a crashed peer's kernel does.
func (c *Conn) Reset() {
	c.in.abandon()
	c.out.fail(syscall.ECONNRESET)
}

// LocalAddr is for [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is for [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is for [net.Conn]. Writing never waits, so only a deadline that
// has passed matters to it, and that is not looked at.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline is for [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline is for [net.Conn]; see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// A stream is one direction of a connection.
type stream struct {
	mu       sync.Mutex // guards all below
	data     []byte
	err      error // why nothing more comes, once data is read; nil while open
	gone     bool  // nobody reads any more
	deadline time.Time
	changed  chan struct{} // closed and replaced at each change
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// change runs f and wakes who waits.
func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) read(p []byte) (int, error) {
	for {
		n, changed, deadline, err := s.tryRead(p)
		if changed == nil {
			return n, err
		}
		var expired <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-changed:
		case <-expired:
		}
	}
}

// tryRead reads what there is. If there is nothing yet it returns a channel to
// wait for.
func (s *stream) tryRead(p []byte) (n int, changed <-chan struct{}, deadline time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return 0, nil, time.Time{}, net.ErrClosed
	case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
		return 0, nil, time.Time{}, fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
	case len(s.data) > 0:
		n = copy(p, s.data)
		s.data = s.data[n:]
		return n, nil, time.Time{}, nil
	case s.err != nil:
		return 0, nil, time.Time{}, s.err
	}
	return 0, s.changed, s.deadline, nil
}

func (s *stream) write(p []byte) (n int, err error) {
	s.change(func() {
		switch {
		case s.gone:
			err = syscall.EPIPE
		case s.err != nil:
			err = net.ErrClosed
		default:
			s.data = append(s.data, p...)
			n = len(p)
		}
	})
	return n, err
}

func (s *stream) end() { s.fail(io.EOF) }

// fail ends the stream with err, unless it has ended. A reset also destroys
// what was not read yet.
func (s *stream) fail(err error) {
	s.change(func() {
		if err != io.EOF {
			s.data = nil
		}
		if s.err == nil || err != io.EOF {
			s.err = err
		}
	})
}

// abandon says that nobody reads any more, and reports whether something was
// left unread.
func (s *stream) abandon() (unread bool) {
	s.change(func() {
		unread = !s.gone && len(s.data) > 0
		s.gone, s.data = true, nil
	})
	return unread
}

func (s *stream) setDeadline(t time.Time) { s.change(func() { s.deadline = t }) }
