// Package socket is TCP connections for a program that opens and closes one, or
// two, for every request.
//
// What a connection costs such a program is system calls and memory. Package
// net registers each connection with the runtime's poller as it is opened, asks
// the kernel for both its addresses, and sets options that matter for long
// streams. On Linux a connection of this package does none of that. One that
// was accepted tries to read or write at once, and is registered only when it
// has to wait: a request has mostly come when its connection is accepted, and
// then the client's connection is never registered at all. One that was dialed
// is registered at once, since a program that asks has to wait for the answer.
//
//	           net                                   here
//	accept     accept4, epoll_ctl, getsockname,      accept4
//	           setsockopt
//	connect    socket, connect, epoll_ctl,           socket, connect, connect,
//	           getsockopt, getpeername,              getsockname, fcntl,
//	           getsockname, setsockopt               epoll_ctl
//	to wait    –                                     fcntl, epoll_ctl (accepted)
//
// A registered connection is an [os.File], and waits as one: deadlines and
// waking are the runtime's. Elsewhere than on Linux, and for workers given by a
// host name, connections are package net's.
//
// What is left out does no harm here. Nagle's algorithm holds back a small
// write while an earlier one is not acknowledged; every message of this project
// is one write, and answers the peer's. TCP's keep-alive probes find out that a
// silent peer is gone; here deadlines do, and a program that waits without a
// deadline asks for the probes.
package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"balancelab/internal/neterr"
)

// Interrupt is the deadline that ends reading and writing now, for a caller that
// gives up. Every other deadline gives the peer a time, and what has come by
// then counts: after it has passed, one look without waiting takes what is
// there. Otherwise a process that was suspended (by the lid of a laptop, or by
// SIGSTOP) would refuse answers that had come in time.
var Interrupt = time.Unix(1, 0)

// interrupts reports whether a deadline is [Interrupt], or from before it.
func interrupts(deadline time.Time) bool {
	return !deadline.IsZero() && !deadline.After(Interrupt)
}

// A Conn is a TCP connection, with what this project asks of one besides the
// methods of [net.Conn]. It is for one goroutine at a time; only its deadlines
// may be set by others. See [Interrupt] for what a passed deadline means.
type Conn interface {
	net.Conn
	// CloseWrite tells the peer that nothing follows, as net.TCPConn's does.
	CloseWrite() error
	// SetKeepAlive has the system find out that a silent peer is gone, as
	// net.TCPConn's does. It is off at first.
	SetKeepAlive(on bool) error
	// Quiet reports whether the connection is open and has nothing to read. It
	// looks without waiting; where it can't tell (on Windows) it reports false.
	Quiet() bool
	// TryRead reads what is there, without waiting, unless the connection was
	// interrupted. If nothing is there, or where it can't tell (on Windows), the
	// error is [os.ErrDeadlineExceeded].
	TryRead(p []byte) (int, error)
}

// A Listener is a TCP listener that can be told to stop waiting.
type Listener interface {
	net.Listener
	// SetDeadline ends the waiting of Accept, with [os.ErrDeadlineExceeded].
	// On Linux the clients that wait by then can still be accepted.
	SetDeadline(t time.Time) error
}

// Listen returns a listener at a TCP address, whose connections are each a
// [Conn].
//
// Multipath TCP is off: Go's default for listeners has broken peers that know
// only TCP.
func Listen(ctx context.Context, addr string) (Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, "tcp", addr)
	if neterr.KindOf(err) == neterr.InUse {
		return nil, fmt.Errorf("listen on %s: the address is in use; stop the program that has it, or choose another with -listen", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return accepting(l.(*net.TCPListener))
}

// Dial connects to a TCP address. It gives up when ctx is done, or after within
// (0: not before), with an error that is a timeout as [net.Error] has it.
func Dial(ctx context.Context, addr string, within time.Duration) (Conn, error) {
	return dial(ctx, addr, within)
}

// dialNet is Dial by package net: it knows host names.
func dialNet(ctx context.Context, addr string, within time.Duration) (Conn, error) {
	d := net.Dialer{KeepAlive: -1, Timeout: within}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &netConn{TCPConn: conn.(*net.TCPConn)}, nil
}

// Of returns conn as a [Conn]. One of another package has the abilities of
// package net's connections if it is one of them, and else none.
func Of(conn net.Conn) Conn {
	switch c := conn.(type) {
	case Conn:
		return c
	case *net.TCPConn:
		return &netConn{TCPConn: c}
	}
	return plain{conn}
}

// netConn is a connection of package net.
type netConn struct {
	*net.TCPConn
	interrupted atomic.Bool // the latest deadline for reading was Interrupt
}

// Read implements [net.Conn].
func (c *netConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.TryRead(p)
	}
	return n, err
}

// SetDeadline implements [net.Conn].
func (c *netConn) SetDeadline(t time.Time) error {
	c.interrupted.Store(interrupts(t))
	return c.TCPConn.SetDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *netConn) SetReadDeadline(t time.Time) error {
	c.interrupted.Store(interrupts(t))
	return c.TCPConn.SetReadDeadline(t)
}

// Quiet implements [Conn].
func (c *netConn) Quiet() bool { return quiet(c.TCPConn) }

// TryRead implements [Conn].
func (c *netConn) TryRead(p []byte) (int, error) {
	if c.interrupted.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	return tryRead(c.TCPConn, p)
}

// plain is a connection that can do no more than any.
type plain struct{ net.Conn }

func (plain) CloseWrite() error           { return errors.ErrUnsupported }
func (plain) SetKeepAlive(bool) error     { return errors.ErrUnsupported }
func (plain) Quiet() bool                 { return false }
func (plain) TryRead([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
