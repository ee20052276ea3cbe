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
// is registered at once, since a program that asks has to wait for the answer;
// and whoever waits has a small stack, which registering would double.
//
//	           net                                   here
//	accept     accept4, epoll_ctl, getsockname,      accept4
//	           setsockopt
//	connect    socket, connect, epoll_ctl,           socket, connect, connect,
//	           getsockopt, getpeername,              fcntl, epoll_ctl; for a port
//	           getsockname, setsockopt               that the kernel gives, getsockname
//	to wait    –                                     fcntl, epoll_ctl (accepted)
//	to look    –                                     recvfrom; if the peer is not
//	                                                 quiet, getsockopt
//	to watch   –                                     epoll_ctl, after 100 ms
//
// Package syscall announces each call to the scheduler, which prepares for one
// that blocks. Accepting, connecting, sending and receiving never block here, so on
// Linux they are not announced.
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
//
// A program that waits for one peer on behalf of another has to know when that
// other one leaves. [Conn.Peek] tells what a peer has done so far, and a [Watch]
// tells when it leaves.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
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
	// SetKeepAlive has the system find out that a silent peer is gone: after 15
	// seconds of silence it asks, with an empty segment every 5 seconds, and
	// after 30 seconds without any answer the connection is broken. On Linux it
	// is also broken when data that was written is not acknowledged for 30
	// seconds. It is off at first. Switching it on costs five system calls, so a
	// connection that is used again and again is best switched once.
	SetKeepAlive(on bool) error
	// Peek tells what the peer has done so far. It does not wait, and leaves what
	// there is to read. It costs one system call if the peer is quiet, and two
	// if not.
	//
	// After a Write it tells a peer that has left from one that half-closed and
	// still reads: the system of a peer that has closed answers what was written
	// by a reset. Over the loopback the reset is there when Write returns, and
	// Peek returns [Reset]. From another host it comes a round trip later; until
	// then Peek returns [Ended] for both.
	//
	// The kernel tells a connection's error once, here or in a Read or Write. One
	// that Peek was told is kept: Peek returns Reset from then on, and Read
	// returns the error after all input. One that Read or Write has returned is
	// not known to Peek.
	Peek() PeerState
	// Quiet reports whether Peek returns [Quiet].
	Quiet() bool
	// TryRead reads what is there, without waiting, unless the connection was
	// interrupted. If nothing is there the error is [os.ErrDeadlineExceeded].
	TryRead(p []byte) (int, error)
}

// What keep-alive does once it is on. The probes are so far apart that a network
// which loses some of them does not break a connection.
const (
	keepAliveIdle     = 15 * time.Second // the silence before the first probe
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3 // unanswered probes after which the connection is broken
	keepAliveTotal    = keepAliveIdle + keepAliveCount*keepAliveInterval
)

// A PeerState is what [Conn.Peek] sees of a peer.
type PeerState uint8

const (
	// Unknown: the connection is closed on this side, or is of a type that has no
	// look without reading (see [Of]).
	Unknown PeerState = iota
	// Quiet: the connection is open, and there is nothing to read.
	Quiet
	// Input: there is something to read. Whether the peer has ended its stream
	// after that is not seen, but that it has reset the connection is.
	Input
	// Ended: all is read, and the peer's stream has ended. The peer has closed
	// the connection, or has half-closed it and still reads.
	Ended
	// Reset: the connection is broken in both directions. The peer has reset it,
	// or has answered nothing for so long that the system gave it up.
	Reset
)

// String returns the state in lower case.
func (s PeerState) String() string {
	return [...]string{"unknown", "quiet", "input", "ended", "reset"}[s]
}

// A Listener is a TCP listener that can be told to stop waiting.
type Listener interface {
	net.Listener
	// SetDeadline ends the waiting of Accept, with [os.ErrDeadlineExceeded].
	// The clients that have connected by then can still be accepted. A deadline
	// that has passed is not taken back.
	SetDeadline(t time.Time) error
}

// How long and how often [Listen] tries while the address is in use.
const (
	listenFor   = time.Second
	listenAgain = 50 * time.Millisecond
)

// Listen returns a listener at a TCP address, whose connections are each a
// [Conn]. While the address is in use it goes on trying for a second, or until
// ctx is done: a program that was just told to stop may still have it.
//
// Multipath TCP is off: Go's default for listeners has broken peers that know
// only TCP.
func Listen(ctx context.Context, addr string) (Listener, error) {
	l, err := ListenTCP(ctx, net.ListenConfig{KeepAlive: -1}, addr, "-listen")
	if err != nil {
		return nil, err
	}
	return accepting(l)
}

// ListenTCP is Listen for one that serves with package net. The error names the
// flag by which a person chooses another address.
func ListenTCP(ctx context.Context, config net.ListenConfig, addr, flag string) (*net.TCPListener, error) {
	config.SetMultipathTCP(false)
	l, err := whenFree(ctx, func() (net.Listener, error) { return config.Listen(ctx, "tcp", addr) })
	if err != nil {
		return nil, listenError(addr, flag, err)
	}
	return l.(*net.TCPListener), nil
}

// whenFree calls listen, and again for listenFor while the address is in use. It
// returns what listen returned last.
func whenFree(ctx context.Context, listen func() (net.Listener, error)) (net.Listener, error) {
	again := time.NewTicker(listenAgain)
	defer again.Stop()
	for giveUp := time.Now().Add(listenFor); ; {
		l, err := listen()
		if neterr.KindOf(err) != neterr.InUse || !time.Now().Before(giveUp) {
			return l, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// listenError says what to do about an error that the user can mend.
func listenError(addr, flag string, err error) error {
	switch neterr.KindOf(err) {
	case neterr.InUse:
		return fmt.Errorf("listen on %s: the address is in use; stop the program that has it, or choose another with %s", addr, flag)
	case neterr.NoPermission:
		return fmt.Errorf("listen on %s: permission denied; choose another with %s, such as a port %s", addr, flag, neterr.Unreserved)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// Dial connects to a TCP address. It gives up when ctx is done, or after within
// (0: not before), with an error that is a timeout as [net.Error] has it.
func Dial(ctx context.Context, addr string, within time.Duration) (Conn, error) {
	return dial(ctx, addr, within)
}

// dialNet is Dial by package net: it knows host names.
//
// Windows repeats a connect that was refused, for 2 seconds, on the loopback too.
// Nothing is done about that here: package net switches it off for loopback
// addresses, and for no others (netFD.connect in net/fd_windows.go). It calls
// SIO_TCP_INITIAL_RTO with no repetitions (one, before build 16299 of Windows 10)
// and the administrator's estimate of a round trip. curl does the same with the
// system's estimate (its pull request 22494); libuv (2896) makes it 254 ms, the
// number that stands for no repetitions. Package net makes the call after
// [net.Dialer.Control], so a caller can't undo it: where a full backlog refuses
// too, a load run sees that.
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
	interrupted atomic.Bool   // the latest deadline for reading was Interrupt
	broken      syscall.Errno // the connection's error, if Peek was told it; else 0
}

// Read implements [net.Conn].
func (c *netConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.TryRead(p)
	}
	return n, endOr(err, c.broken)
}

// endOr returns err, but the error broken (0: none) in the place of [io.EOF]: to
// the kernel a connection's error that it has told once is an ordinary end.
func endOr(err error, broken syscall.Errno) error {
	if err == io.EOF && broken != 0 {
		return os.NewSyscallError("read", broken)
	}
	return err
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

// Peek implements [Conn].
func (c *netConn) Peek() (state PeerState) {
	if c.broken != 0 {
		return Reset
	}
	state, c.broken = peekNet(c.TCPConn)
	return state
}

// Quiet implements [Conn].
func (c *netConn) Quiet() bool { return c.Peek() == Quiet }

// SetKeepAlive implements [Conn].
func (c *netConn) SetKeepAlive(on bool) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: on, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	})
}

// TryRead implements [Conn].
func (c *netConn) TryRead(p []byte) (int, error) {
	if c.interrupted.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := tryRead(c.TCPConn, p)
	return n, endOr(err, c.broken)
}

// netListener is a listener of package net, elsewhere than on Linux.
type netListener struct{ *net.TCPListener }

// lookMax is how long a look for clients that have connected may take. What
// waits is there at once, if the machine is not busy; only that nothing waits
// takes so long to find out.
const lookMax = 50 * time.Millisecond

// Accept implements [net.Listener]. Package net does not ask the system once a
// deadline has passed, so Accept then sets another one for a look.
func (l netListener) Accept() (net.Conn, error) {
	conn, err := l.next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.SetDeadline(time.Now().Add(lookMax))
		conn, err = l.next()
	}
	if err != nil {
		return nil, err
	}
	return &netConn{TCPConn: conn}, nil
}

// next passes over clients that left while they waited, as the listener for Linux
// does.
func (l netListener) next() (*net.TCPConn, error) {
	for {
		conn, err := l.AcceptTCP()
		if neterr.KindOf(err) != neterr.Aborted {
			return conn, err
		}
	}
}

// plain is a connection that can do no more than any.
type plain struct{ net.Conn }

func (plain) CloseWrite() error           { return errors.ErrUnsupported }
func (plain) SetKeepAlive(bool) error     { return errors.ErrUnsupported }
func (plain) Peek() PeerState             { return Unknown }
func (plain) Quiet() bool                 { return false }
func (plain) TryRead([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
