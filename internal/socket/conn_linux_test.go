//go:build !386 && !s390x

package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// A request that is there when its client is accepted, and its answer, need no
// poller.
func TestNotRegisteredWithoutNeed(t *testing.T) {
	dialed, accepted := pair(t)
	io.WriteString(dialed, "request")
	waitUntilThere(t, accepted)
	accepted.SetDeadline(time.Now().Add(time.Minute))
	if n, err := accepted.Read(make([]byte, 64)); n != len("request") || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	tell(t, accepted, dialed, "answer")
	if accepted.(*conn).file != nil {
		t.Error("it is registered")
	}
	if _, err := accepted.(*conn).TryRead(make([]byte, 1)); err != os.ErrDeadlineExceeded {
		t.Errorf("with nothing to read: %v", err)
	}
	if accepted.(*conn).file != nil {
		t.Error("trying registered it")
	}
}

func TestTryRead(t *testing.T) {
	dialed, accepted := pair(t)
	io.WriteString(dialed, "x")
	waitUntilThere(t, accepted)
	if n, err := accepted.(*conn).TryRead(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	dialed.Close()
	accepted.Read(make([]byte, 1)) // the end has come
	if _, err := accepted.(*conn).TryRead(make([]byte, 1)); err != io.EOF && err != os.ErrDeadlineExceeded {
		t.Errorf("at the end: %v", err)
	}
}

// A socket that was given as its own the port where no program listens would be
// connected with itself, and answer every job with the job.
func TestNotConnectedWithItself(t *testing.T) {
	notConnectedWithItself(t, "127.0.0.1")
	notConnectedWithItself(t, "0.0.0.0")
}

func notConnectedWithItself(t *testing.T, host string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{fd: fd}
	defer c.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	port := netip.AddrPort(c.local()).Port()
	c.peer = address(netip.AddrPortFrom(netip.MustParseAddr(host), port))
	if err := c.connect(t.Context(), time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at %s: %v", host, err)
	}
}

// Only the ports of that range are looked at, so it must hold those that sockets
// are given.
func TestGivenPorts(t *testing.T) {
	first, last := givenPorts()
	if first == 0 || first > last {
		t.Errorf("from %d to %d", first, last)
	}
	dialed, _ := pair(t)
	if port := netip.MustParseAddrPort(dialed.LocalAddr().String()).Port(); port < first || port > last {
		t.Errorf("a socket was given %d, which is not from %d to %d", port, first, last)
	}
}

func TestKeepAlive(t *testing.T) {
	_, accepted := pair(t)
	for _, on := range []bool{true, false} {
		if err := accepted.(*conn).SetKeepAlive(on); err != nil {
			t.Fatal(err)
		}
		got, err := syscall.GetsockoptInt(accepted.(*conn).fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		if err != nil || got != 0 != on {
			t.Errorf("got %d, %v, want %v", got, err, on)
		}
	}
}

// A silent peer is given up after 30 seconds, whichever package's connection it
// is. What was written to one is given up then, too.
func TestKeepAliveIsOfSeconds(t *testing.T) {
	type option struct{ level, name int }
	want := map[option]int{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}: 1,
		{syscall.SOL_TCP, syscall.TCP_KEEPIDLE}:    15,
		{syscall.SOL_TCP, syscall.TCP_KEEPINTVL}:   5,
		{syscall.SOL_TCP, syscall.TCP_KEEPCNT}:     3,
	}
	check := func(fd int, option option, want int) {
		t.Helper()
		if got, err := syscall.GetsockoptInt(fd, option.level, option.name); got != want || err != nil {
			t.Errorf("option %v is %d, %v; want %d", option, got, err, want)
		}
	}
	userTimeout := option{syscall.SOL_TCP, 18}
	onEach(t, func(t *testing.T, l link) {
		if err := l.conn.SetKeepAlive(true); err != nil {
			t.Fatal(err)
		}
		for option, want := range want {
			check(descriptor(t, l.conn), option, want)
		}
	})
	_, accepted := pair(t)
	c := accepted.(*conn)
	check(c.fd, userTimeout, 0)
	c.SetKeepAlive(true)
	check(c.fd, userTimeout, 30_000)
	c.SetKeepAlive(false)
	check(c.fd, userTimeout, 0)
}

// A deadline that is kept until the connection has to wait is the one that was set.
func TestDeadlineIsKept(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	for _, test := range []struct{ set, want time.Time }{
		{time.Time{}, time.Time{}},
		{soon, soon},
		{soon.Round(0), soon}, // by the wall clock
		{time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)},
		{Interrupt, Interrupt},
		{Interrupt.Add(-time.Second), Interrupt},
	} {
		if got := deadlineOf(test.set).time(); got.Sub(test.want).Abs() > time.Second || got.IsZero() != test.want.IsZero() {
			t.Errorf("of %v is kept %v", test.set, got)
		}
	}
}

// descriptor returns the file descriptor of a connection.
func descriptor(t *testing.T, c Conn) (fd int) {
	t.Helper()
	if c, ok := c.(*conn); ok {
		return c.fd
	}
	raw, err := c.(*netConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(f uintptr) { fd = int(f) })
	return fd
}

// What the poller does not take, a regular file for instance, is no connection.
func TestUnregisteredIsAnError(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := registered(file, time.Time{}); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("got %v", err)
	}
}

// blackHole returns a listener whose queue is full: further connects get no
// answer until it accepts.
func blackHole(t *testing.T) *conn {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	hole := &conn{fd: fd}
	t.Cleanup(func() { hole.Close() })
	err = errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0))
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		c, err := Dial(t.Context(), hole.local().String(), 200*time.Millisecond)
		if err != nil {
			return hole
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system accepts any number of connections for a listener that asked for none")
	return nil
}

func TestDialTimeout(t *testing.T) {
	_, err := Dial(t.Context(), blackHole(t).local().String(), time.Millisecond)
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
}

func TestDialGivenUp(t *testing.T) {
	hole := blackHole(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := Dial(ctx, hole.local().String(), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// waitingAccept4 is accept4 for a listener that blocks.
func waitingAccept4(fd int) (int, netip.AddrPort, error) {
	accepted, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	return accepted, netip.AddrPort{}, err
}

// A connect that is not over at once, as to another host, is waited for: here
// until the kernel tries again, a second later.
func TestSlowConnect(t *testing.T) {
	hole := blackHole(t)
	var accepted conn
	dialed := make(chan error, 1)
	go func() {
		c, err := Dial(t.Context(), hole.local().String(), time.Minute)
		if err == nil {
			_, err = io.WriteString(c, "request")
			c.Close()
		}
		dialed <- err
	}()
	text := make([]byte, 64)
	for n := 0; n == 0; accepted.Close() { // those that filled the queue say nothing
		accepted = conn{}
		if err := accepted.acceptBy(waitingAccept4, hole.fd); err != nil {
			t.Fatal(err)
		}
		accepted.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, _ = accepted.Read(text)
	}
	if err := <-dialed; err != nil {
		t.Error(err)
	}
}

// A connection that was reset while it waited in the queue is passed over.
func TestAcceptPassesOverWhatIsAborted(t *testing.T) {
	var c conn
	results := []error{syscall.ECONNABORTED, syscall.EINTR, syscall.ECONNABORTED, nil}
	accept4 := func(int) (int, netip.AddrPort, error) {
		err := results[0]
		results = results[1:]
		return 7, netip.AddrPort{}, err
	}
	if err := c.acceptBy(accept4, 3); err != nil || c.fd != 7 || len(results) != 0 {
		t.Errorf("descriptor %d, %v, with %d results left", c.fd, err, len(results))
	}
	results = []error{syscall.EMFILE}
	if err := c.acceptBy(accept4, 3); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v", err)
	}
}
