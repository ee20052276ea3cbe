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
// before Accept is called, as a kernel does. What it does not do: lose,
// delay or cut anything, and run out of buffer.
package memnet

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
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
	expired := make(chan struct{})
	l := &Listener{
		net: n, name: addr, addr: address(n.lastPort), queue: make(chan net.Conn, 10_000), closed: make(chan struct{}),
		expired: expired, expire: sync.OnceFunc(func() { close(expired) }),
	}
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
// the system's for a refused connection.
func (n *Net) Dial(ctx context.Context, addr string) (socket.Conn, error) {
	n.mu.Lock()
	n.lastPort++
	from, l, hole := address(n.lastPort), n.listeners[addr], n.blackHoles[addr]
	n.mu.Unlock()
	if hole {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", neterr.Errno(neterr.Refused))}
	}
	there, back := newStream(), newStream()
	l.queue <- &Conn{local: l.addr, remote: from, in: there, out: back}
	return &Conn{local: from, remote: l.addr, in: back, out: there}, nil
}

// DialWithin is Dial that gives up after the time within.
func (n *Net) DialWithin(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
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

	expired chan struct{} // closed by expire
	expire  func()
}

// Accept waits for a connection. After Close the error is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.expired:
		return nil, os.ErrDeadlineExceeded
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// SetDeadline implements [socket.Listener]. A deadline can't be taken back.
func (l *Listener) SetDeadline(t time.Time) error {
	time.AfterFunc(time.Until(t), l.expire)
	return nil
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

// A Conn is one end of a connection. It implements [socket.Conn].
type Conn struct {
	local, remote net.Addr
	in, out       *stream
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements [net.Conn]. It never waits.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close ends both directions. As with TCP, the peer is reset if there is
// unread input, or once it writes again: its first Write succeeds and is lost.
func (c *Conn) Close() error {
	if c.in.abandon() {
		c.Reset()
		return nil
	}
	return c.CloseWrite()
}

// CloseWrite tells the peer that nothing follows.
func (c *Conn) CloseWrite() error {
	c.out.end()
	return nil
}

// SetKeepAlive implements [socket.Conn]: a peer in memory does not vanish.
func (c *Conn) SetKeepAlive(bool) error { return nil }

// Peek implements [socket.Conn]. A reset is there at once, as over the loopback.
// It refuses what this side writes.
func (c *Conn) Peek() socket.PeerState {
	state := c.in.peek()
	if state != socket.Unknown && c.out.isRefused() {
		return socket.Reset
	}
	return state
}

// Quiet implements [socket.Conn].
func (c *Conn) Quiet() bool { return c.Peek() == socket.Quiet }

// TryRead implements [socket.Conn].
func (c *Conn) TryRead(p []byte) (int, error) {
	n, changed, _, err := c.in.tryRead(p)
	if changed != nil {
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// Reset ends the connection as a crashed peer's kernel does.
func (c *Conn) Reset() {
	c.in.abandon()
	c.in.refuse()
	c.out.fail(neterr.Errno(neterr.Reset))
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn]. Writing never waits, so only a deadline that
// has passed matters to it, and that is not looked at.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline implements [net.Conn]; see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// A stream is one direction of a connection.
type stream struct {
	mu       sync.Mutex // guards all below
	data     []byte
	err      error // why nothing more comes, once data is read; nil while open
	gone     bool  // the reader is gone
	refused  bool  // the writer was reset, since the reader is gone
	deadline time.Time
	changed  chan struct{} // closed and replaced at each change
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// change runs f and wakes the readers that wait.
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
	case !s.deadline.IsZero() && !s.deadline.After(socket.Interrupt):
		return 0, nil, time.Time{}, late()
	case len(s.data) > 0:
		n = copy(p, s.data)
		s.data = s.data[n:]
		return n, nil, time.Time{}, nil
	case s.err != nil:
		return 0, nil, time.Time{}, s.err
	case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
		return 0, nil, time.Time{}, late()
	}
	return 0, s.changed, s.deadline, nil
}

// peek tells what a reader would find; Ended stands for a reset, too.
func (s *stream) peek() socket.PeerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return socket.Unknown
	case len(s.data) > 0:
		return socket.Input
	case s.err != nil:
		return socket.Ended
	}
	return socket.Quiet
}

func late() error { return fmt.Errorf("read: %w", os.ErrDeadlineExceeded) }

func (s *stream) write(p []byte) (n int, err error) {
	s.change(func() {
		switch {
		case s.refused:
			err = neterr.Errno(neterr.BrokenPipe)
		case s.err != nil:
			err = net.ErrClosed
		case s.gone:
			s.refused = true
			n = len(p)
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

// abandon ends reading; it reports whether something was unread.
func (s *stream) abandon() (unread bool) {
	s.change(func() {
		unread = !s.gone && len(s.data) > 0
		s.gone, s.data = true, nil
	})
	return unread
}

// refuse resets the writer.
func (s *stream) refuse() { s.change(func() { s.refused = true }) }

func (s *stream) isRefused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *stream) setDeadline(t time.Time) { s.change(func() { s.deadline = t }) }
