//go:build !386 && !s390x

package socket

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A listener accepts without registering what it accepts.
type listener struct {
	file   *os.File
	raw    syscall.RawConn
	addr   net.Addr
	try    func(fd uintptr) bool // accepts into next, and reports whether it need not wait
	closed atomic.Bool

	mu      sync.Mutex // is held while Accept runs; guards all below
	next    *conn
	failure error
}

// accepting replaces l by a listener that makes its own system calls.
func accepting(l *net.TCPListener) (Listener, error) {
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	raw, err := pollable(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	own := &listener{file: file, raw: raw, addr: l.Addr()}
	own.try = func(fd uintptr) bool {
		own.failure = own.next.accept(int(fd))
		return own.failure != syscall.EAGAIN
	}
	return own, nil
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := new(conn)
	l.next, l.failure = c, nil
	defer func() { l.next = nil }()
	err := l.raw.Read(l.try)
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if late { // a client that waits already is accepted all the same
		err = l.raw.Control(func(fd uintptr) { l.try(fd) })
	}
	switch {
	case late && l.failure == syscall.EAGAIN:
		return nil, os.ErrDeadlineExceeded
	case err != nil && l.closed.Load():
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	case l.failure != nil:
		return nil, os.NewSyscallError("accept4", l.failure)
	}
	return c, nil
}

// SetDeadline implements [Listener].
func (l *listener) SetDeadline(t time.Time) error { return l.file.SetReadDeadline(t) }

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.closed.Store(true)
	return l.file.Close()
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return l.addr }

// A conn is a connection that is registered when it first has to wait.
type conn struct {
	fd     int // negative once closed
	peer   address
	broken syscall.Errno // the connection's error, if Peek was told it; else 0

	mu sync.Mutex // guards all below
	// file is nil until the connection has to wait. Only the goroutine that reads
	// or writes sets it, and so it may look at file without mu.
	file    *file
	readBy  deadline
	writeBy deadline
}

// accept makes c what fd accepts.
func (c *conn) accept(fd int) error { return c.acceptBy(accept4, fd) }

// acceptBy makes c what accept4 accepts from fd.
func (c *conn) acceptBy(accept4 func(fd int) (int, netip.AddrPort, error), fd int) error {
	for {
		fd, from, err := accept4(fd)
		switch err {
		case nil:
			c.fd, c.peer = fd, address(from)
			return nil
		case syscall.EINTR, syscall.ECONNABORTED: // that client left while it waited
		default:
			return err
		}
	}
}

func dial(ctx context.Context, addr string, within time.Duration) (Conn, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	to, err := netip.ParseAddrPort(addr)
	if err != nil || to.Addr().Zone() != "" {
		return dialNet(ctx, addr, within)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	family := syscall.AF_INET
	if to.Addr().Is6() {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &conn{fd: fd, peer: address(to)}
	err = c.connect(ctx, within)
	if err == nil {
		_, err = c.waiting() // a program that connects asks something, and waits for the answer
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect asks twice: the second call tells what became of the first. Over the
// loopback that is known by then; to another host there is a wait.
func (c *conn) connect(ctx context.Context, within time.Duration) error {
	to := netip.AddrPort(c.peer)
	err := connect(c.fd, to)
	if inProgress(err) {
		err = connect(c.fd, to)
	}
	if inProgress(err) {
		err = c.awaitConnect(ctx, to, within)
	}
	if err == nil && c.isItsPeer() {
		err = syscall.ECONNREFUSED
	}
	if _, ok := err.(syscall.Errno); ok {
		return os.NewSyscallError("connect", err)
	}
	return err
}

func inProgress(err error) bool {
	return err == syscall.EINPROGRESS || err == syscall.EALREADY
}

// isItsPeer reports whether c is connected with itself: that happens where
// no program listens, to a socket that was given the same port as its own. Other
// ports than those that the kernel gives need no look.
func (c *conn) isItsPeer() bool {
	peer := netip.AddrPort(c.peer)
	if first, last := givenPorts(); peer.Port() < first || peer.Port() > last {
		return false
	}
	own := netip.AddrPort(c.local())
	return own == peer || own.Port() == peer.Port() && peer.Addr().IsUnspecified()
}

// givenPorts returns the range of the ports that the kernel gives to sockets which
// connect, as it was when first asked: all ports if that can't be known.
var givenPorts = sync.OnceValues(func() (first, last uint16) {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range") // for IPv6 too, see ip(7)
	if n, _ := fmt.Sscan(string(text), &first, &last); n < 2 {
		return 0, math.MaxUint16
	}
	return first, last
})

func (c *conn) awaitConnect(ctx context.Context, to netip.AddrPort, within time.Duration) error {
	if within > 0 {
		c.SetWriteDeadline(time.Now().Add(within))
	}
	cancelWatch := context.AfterFunc(ctx, func() { c.SetWriteDeadline(Interrupt) })
	failure, err := c.awaitWritable(func() error { return connect(c.fd, to) })
	if !cancelWatch() {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // look once more
		if failure = connect(c.fd, to); !inProgress(failure) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Time{})
	return failure
}

// awaitWritable calls try, and again whenever c has become writable, as long as
// something is in progress. It returns what try returned, or why waiting ended.
func (c *conn) awaitWritable(try func() error) (result, err error) {
	file, err := c.waiting()
	if err != nil {
		return nil, err
	}
	err = file.raw.Write(func(uintptr) bool {
		result = try()
		return !inProgress(result)
	})
	return result, err
}

// A file is a connection that is registered: its reading and writing wait.
type file struct {
	*os.File
	raw syscall.RawConn
	try func(fd uintptr) bool // receives into p, and reports whether it need not wait
	p   []byte
	got int // how many bytes came; negative: the error
}

// waiting returns c as a file.
func (c *conn) waiting() (*file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		c.file = newFile(c.fd)
		if err := registered(c.file.File, c.readBy.time()); err != nil {
			return nil, err // file stays, to be closed: what waits for it fails
		}
		if c.writeBy != 0 {
			c.file.SetWriteDeadline(c.writeBy.time())
		}
	}
	return c.file, nil
}

func newFile(fd int) *file {
	f := &file{File: os.NewFile(uintptr(fd), "tcp")}
	f.raw, _ = f.SyscallConn() // fails only for a nil File
	f.try = func(fd uintptr) bool {
		n, err := receive(int(fd), f.p, 0)
		if errno, failed := err.(syscall.Errno); failed {
			n = -int(errno)
		}
		f.got = n
		return n != -int(syscall.EAGAIN)
	}
	return f
}

// Read implements [io.Reader]. It does what that of the os.File would do, without
// telling the scheduler of its system calls, see accept4.
func (f *file) Read(p []byte) (int, error) {
	f.p = p
	err := f.raw.Read(f.try)
	f.p = nil
	if err != nil {
		return 0, err
	}
	return received(max(f.got, 0), syscall.Errno(max(-f.got, 0)), p)
}

// pollable returns what calls a function each time file has become readable, or
// an error if file is not registered with the poller.
func pollable(file *os.File) (syscall.RawConn, error) {
	raw, err := file.SyscallConn()
	if err == nil {
		err = registered(file, time.Time{})
	}
	return raw, err
}

// registered sets a deadline for reading, and returns an error if file is not
// registered with the poller, which os.NewFile does not tell: reading it would
// not wait.
func registered(file *os.File, readBy time.Time) error {
	if file.SetReadDeadline(readBy) != nil {
		return fmt.Errorf("no room to wait for one more connection, see epoll(7), max_user_watches: %w", syscall.ENOMEM)
	}
	return nil
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	if c.file == nil {
		if n, err := c.TryRead(p); err != os.ErrDeadlineExceeded {
			return n, err
		}
	}
	file, err := c.waiting()
	if err != nil {
		return 0, err
	}
	n, err := file.Read(p)
	if err == nil {
		return n, nil
	}
	return c.afterWaiting(p, err)
}

// afterWaiting is the end of a Read that has waited and failed. It is a function
// of its own to keep the stack small of a goroutine that waits.
//
//go:noinline
func (c *conn) afterWaiting(p []byte, err error) (int, error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.TryRead(p)
	}
	return 0, endOr(err, c.broken)
}

// TryRead implements [Conn].
func (c *conn) TryRead(p []byte) (int, error) {
	if c.interrupted(&c.readBy) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := read(c.fd, p)
	return n, endOr(err, c.broken)
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	if c.interrupted(&c.writeBy) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := send(c.fd, p)
	if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
		return 0, os.NewSyscallError("send", err)
	}
	if n = max(n, 0); n == len(p) {
		return n, nil
	}
	file, err := c.waiting()
	if err != nil {
		return n, err
	}
	m, err := file.Write(p[n:])
	return n + m, err
}

// WriteString implements [io.StringWriter]: it makes no copy.
func (c *conn) WriteString(s string) (int, error) {
	return c.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// interrupted reports whether a deadline of c is [Interrupt].
func (c *conn) interrupted(by *deadline) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *by == interrupted
}

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadline(t, (*os.File).SetDeadline, &c.readBy, &c.writeBy)
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, (*os.File).SetReadDeadline, &c.readBy)
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(t, (*os.File).SetWriteDeadline, &c.writeBy)
}

// setDeadline sets a deadline, and that of the file if there is one. A later
// file begins with it.
func (c *conn) setDeadline(t time.Time, ofFile func(*os.File, time.Time) error, ofConn ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, by := range ofConn {
		*by = deadlineOf(t)
	}
	if c.file != nil {
		return ofFile(c.file.File, t)
	}
	return nil
}

// A deadline is a time in a third of the bytes, of which a connection has two: how
// many nanoseconds it is after the program's start. 0 is none.
type deadline int64

// interrupted is [Interrupt] and all before it.
const interrupted deadline = math.MinInt64

var started = time.Now()

func deadlineOf(t time.Time) deadline {
	switch {
	case t.IsZero():
		return 0
	case interrupts(t):
		return interrupted
	}
	return deadline(t.Sub(started))
}

func (d deadline) time() time.Time {
	switch d {
	case 0:
		return time.Time{}
	case interrupted:
		return Interrupt
	}
	return started.Add(time.Duration(d))
}

// Peek implements [Conn].
func (c *conn) Peek() (state PeerState) {
	if c.broken != 0 {
		return Reset
	}
	state, c.broken = peek(c.fd)
	return state
}

// Quiet implements [Conn].
func (c *conn) Quiet() bool { return c.Peek() == Quiet }

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not have: for
// how many milliseconds what was sent may stay without an answer. Keep-alive
// does not ask while something is on its way.
const tcpUserTimeout = 18

// SetKeepAlive implements [Conn].
func (c *conn) SetKeepAlive(on bool) error {
	if !on {
		return errors.Join(c.set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 0), c.set(syscall.SOL_TCP, tcpUserTimeout, 0))
	}
	return errors.Join(
		c.set(syscall.SOL_TCP, syscall.TCP_KEEPIDLE, int(keepAliveIdle/time.Second)),
		c.set(syscall.SOL_TCP, syscall.TCP_KEEPINTVL, int(keepAliveInterval/time.Second)),
		c.set(syscall.SOL_TCP, syscall.TCP_KEEPCNT, keepAliveCount),
		c.set(syscall.SOL_TCP, tcpUserTimeout, int(keepAliveTotal/time.Millisecond)),
		c.set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
	)
}

func (c *conn) set(level, option, value int) error {
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(c.fd, level, option, value))
}

// CloseWrite implements [Conn].
func (c *conn) CloseWrite() error {
	return os.NewSyscallError("shutdown", syscall.Shutdown(c.fd, syscall.SHUT_WR))
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd := c.fd
	if fd < 0 {
		return net.ErrClosed
	}
	c.fd = -1 // it may be another connection's from now on
	if c.file != nil {
		return c.file.Close()
	}
	return os.NewSyscallError("close", closeSocket(fd))
}

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return c.local() }

func (c *conn) local() address {
	own, err := getsockname(c.fd)
	if err != nil {
		return address{}
	}
	return address(own)
}

// RemoteAddr implements [net.Conn].
func (c *conn) RemoteAddr() net.Addr { return &c.peer }

// An address is a [net.Addr].
type address netip.AddrPort

// Network implements [net.Addr].
func (address) Network() string { return "tcp" }

// String returns the address as host:port.
func (a address) String() string { return netip.AddrPort(a).String() }
