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
// is registered at once, since who asks has to wait for the answer.
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
// silent peer is gone; here deadlines do, and who has none asks for the probes.
package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Listen returns a listener at a TCP address, which has SetDeadline, as
// [net.TCPListener] does. Its connections have, besides
// [net.Conn]'s, these methods:
//
//	CloseWrite() error             as net.TCPConn has it
//	SetKeepAlive(on bool) error    as net.TCPConn has it; off at first
//	Quiet() bool                   whether it is open and has nothing to read
//	TryRead(p []byte) (int, error) reads as with a deadline of now (Linux only)
//
// Quiet looks without waiting, and where it can't tell (on Windows) it reports
// false. A connection is for one goroutine at a time; only its deadlines may be
// set by others.
//
// Multipath TCP is off: Go's default for listeners has broken peers that know
// only TCP.
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
	return accepting(l.(*net.TCPListener))
}

// Dial connects to a TCP address. It gives up when ctx is done, or after within
// (0: not before), with an error that is a timeout as [net.Error] has it. The
// connection has the methods that [Listen] lists, but for TryRead, which who
// asks has no use for.
func Dial(ctx context.Context, addr string, within time.Duration) (net.Conn, error) {
	return dial(ctx, addr, within)
}

// dialNet is Dial by package net: it knows host names.
func dialNet(ctx context.Context, addr string, within time.Duration) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Timeout: within}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return netConn{conn.(*net.TCPConn)}, nil
}

// netConn is a connection of package net.
type netConn struct{ *net.TCPConn }

// Quiet reports whether c is open and has nothing to read.
func (c netConn) Quiet() bool { return quiet(c.TCPConn) }
