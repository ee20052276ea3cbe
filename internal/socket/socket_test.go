package socket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/neterr"
)

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pair returns both ends of a connection: the dialed one, and the accepted one.
func pair(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	return pairAt(t, l, l.Addr().String())
}

func pairAt(t *testing.T, l net.Listener, addr string) (dialed, accepted net.Conn) {
	t.Helper()
	dialed, err := Dial(t.Context(), addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close() })
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return dialed, accepted
}

// tell writes text on from and reads it on to.
func tell(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(to, b); err != nil || string(b) != text {
		t.Fatalf("got %q, %v", b, err)
	}
}

func TestBothWays(t *testing.T) {
	dialed, accepted := pair(t)
	for range 3 {
		tell(t, dialed, accepted, "request")
		tell(t, accepted, dialed, "answer")
	}
}

// More than the buffers hold has to wait until the peer reads.
func TestLongWrite(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	dialed, accepted := pair(t)
	written := make(chan error, 1)
	go func() {
		_, err := accepted.Write(text)
		accepted.Close()
		written <- err
	}()
	got, err := io.ReadAll(dialed)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(text))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestEnds(t *testing.T) {
	dialed, accepted := pair(t)
	if err := dialed.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := accepted.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after a half-close: %d, %v", n, err)
	}
	tell(t, accepted, dialed, "still answered")
	accepted.Close()
	if n, err := dialed.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after a close: %d, %v", n, err)
	}
}

// A close with unread input resets the connection.
func TestReset(t *testing.T) {
	dialed, accepted := pair(t)
	io.WriteString(dialed, "unread")
	waitUntilThere(t, accepted)
	accepted.Close()
	_, err := dialed.Read(make([]byte, 1))
	if err == io.EOF && os.Getenv("WINEPREFIX") != "" {
		t.Skip("wine takes a reset that came before the read for an end; Windows does not")
	}
	if !isReset(err) {
		t.Errorf("got %v", err)
	}
}

func isReset(err error) bool {
	return neterr.KindOf(err) == neterr.Reset
}

// waitUntilThere returns when there is something to read on c.
func waitUntilThere(t *testing.T, c net.Conn) {
	t.Helper()
	soon(func() bool { return !c.(Conn).Quiet() })
}

// soon waits until ok returns true, or gives up: what is checked next then fails.
func soon(ok func() bool) {
	for giveUp := time.Now().Add(10 * time.Second); !ok() && time.Now().Before(giveUp); {
		runtime.Gosched()
	}
}

func TestQuiet(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			l := listen(t, "127.0.0.1:0")
			_, port, _ := net.SplitHostPort(l.Addr().String())
			looks(t, l, net.JoinHostPort(host, port))
		})
	}
}

func looks(t *testing.T, l net.Listener, addr string) {
	dialed, accepted := pairAt(t, l, addr)
	quiet := dialed.(interface{ Quiet() bool }).Quiet
	if !quiet() {
		t.Error("an idle connection is not taken for one")
	}
	tell(t, accepted, dialed, "x")
	if !quiet() {
		t.Error("a connection of which all is read is not taken for an idle one")
	}
	dialed.SetDeadline(time.Now().Add(-time.Second)) // of the answer before
	if !quiet() {
		t.Error("an idle connection is not taken for one once a deadline has passed")
	}
	dialed.SetDeadline(time.Time{})
	io.WriteString(accepted, "y")
	waitUntilThere(t, dialed)
	if dialed.Read(make([]byte, 1)); !quiet() {
		t.Error("the look took something out")
	}
	accepted.Close()
	dialed.Read(make([]byte, 1)) // the end has come
	if quiet() {
		t.Error("a closed connection is taken for an idle one")
	}
}

// A deadline that has passed, or passes, or is set by another goroutine: each ends
// a read, and nothing is lost for the next one.
func TestReadDeadlines(t *testing.T) {
	for name, expire := range map[string]func(net.Conn){
		"passed before":  func(c net.Conn) { c.SetReadDeadline(time.Now().Add(-time.Second)) },
		"both passed":    func(c net.Conn) { c.SetDeadline(time.Now().Add(-time.Second)) },
		"passes":         func(c net.Conn) { c.SetReadDeadline(time.Now().Add(time.Millisecond)) },
		"by another one": func(c net.Conn) { go c.SetReadDeadline(time.Now().Add(-time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			dialed, accepted := pair(t)
			for _, ends := range [][2]net.Conn{{dialed, accepted}, {accepted, dialed}} {
				from, to := ends[0], ends[1]
				for range 2 { // the second time it is registered
					expire(to)
					if _, err := to.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("got %v", err)
					}
					to.SetDeadline(time.Time{})
					if name == "by another one" {
						break // it may be late and set it once more
					}
					tell(t, from, to, "still open")
				}
			}
		})
	}
}

// What has come before a deadline passed is taken, and what can be sent without
// waiting is sent, however late; whether the connection has had to wait before
// makes no difference. After an interrupt nothing is.
func TestPassedDeadlineLooksOnceMore(t *testing.T) {
	for _, waited := range []bool{false, true} {
		dialed, accepted := pair(t)
		for _, ends := range [][2]net.Conn{{dialed, accepted}, {accepted, dialed}} {
			from, to := ends[0], ends[1]
			if waited {
				to.SetReadDeadline(time.Now().Add(-time.Second))
				to.Read(make([]byte, 1))
			}
			io.WriteString(from, "there")
			waitUntilThere(t, to)
			to.SetDeadline(time.Now().Add(-time.Second))
			b := make([]byte, 2)
			if n, err := to.Read(b); n != 2 || err != nil {
				t.Errorf("waited %v: read %d, %v", waited, n, err)
			}
			sent, err := to.Write([]byte("x"))
			if runtime.GOOS == "linux" && (sent != 1 || err != nil) {
				t.Errorf("waited %v: wrote %d, %v", waited, sent, err)
			}
			to.SetDeadline(Interrupt)
			if n, err := to.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("waited %v, interrupted: read %d, %v", waited, n, err)
			}
			if n, err := to.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("waited %v, interrupted: wrote %d, %v", waited, n, err)
			}
			to.SetDeadline(time.Time{})
			if n, err := to.Read(make([]byte, 8)); n != 3 || err != nil {
				t.Errorf("waited %v: the rest is %d bytes, %v", waited, n, err)
			}
			if sent > 0 {
				from.Read(make([]byte, sent))
			}
		}
	}
}

func TestWriteDeadline(t *testing.T) {
	dialed, accepted := pair(t)
	for _, c := range []net.Conn{dialed, accepted} { // the peer does not read
		c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

func TestClosed(t *testing.T) {
	dialed, accepted := pair(t)
	for _, c := range []net.Conn{dialed, accepted} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err == nil {
			t.Error("closed twice")
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("written")
		}
		if c.(Conn).Quiet() {
			t.Error("taken for open")
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := Listen(t.Context(), at)
		if err != nil && at == "[::1]:0" {
			t.Logf("no IPv6 here: %v", err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		host := "127.0.0.1"
		if strings.HasPrefix(at, "[::1]") {
			host = "::1"
		}
		want := net.JoinHostPort(host, port)
		dialed, accepted := pairAt(t, l, want)
		if got := dialed.RemoteAddr().String(); got != want {
			t.Errorf("at %s: connected with %s, want %s", at, got, want)
		}
		if got := accepted.LocalAddr().String(); got != want {
			t.Errorf("at %s: accepted at %s, want %s", at, got, want)
		}
		if a, b := accepted.RemoteAddr().String(), dialed.LocalAddr().String(); a != b {
			t.Errorf("at %s: accepted from %s, which is %s", at, a, b)
		}
	}
}

func TestHostName(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dialed, accepted := pairAt(t, l, "localhost:"+port)
	tell(t, dialed, accepted, "request")
	if _, ok := dialed.(Conn); !ok {
		t.Error("it can't tell whether it is quiet")
	}
}

func TestRefused(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	l.Close()
	_, err := Dial(t.Context(), l.Addr().String(), time.Minute)
	if neterr.KindOf(err) != neterr.Refused {
		t.Errorf("got %v", err)
	}
}

// A refusal on this machine comes at once, and is not taken for a machine that
// does not answer. By itself Windows would try again for 2 seconds. Wine would
// not, so that under Wine this test says nothing of it.
func TestRefusedAtOnce(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("not tested: %v", err)
			continue
		}
		l.Close()
		if _, err := dialNet(t.Context(), l.Addr().String(), time.Second); neterr.KindOf(err) != neterr.Refused {
			t.Errorf("%s: got %v", l.Addr(), err)
		}
	}
}

func TestDialGivenUpBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := listen(t, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if c, err := Dial(ctx, net.JoinHostPort(host, port), time.Minute); err == nil {
			c.Close()
			t.Errorf("connected with %s although its context was over", host)
		}
	}
}

// A listener that is closed while it waits says so.
func TestListenerCloses(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	accepting := make(chan error)
	go func() {
		_, err := l.Accept()
		accepting <- err
	}()
	l.Close()
	if err := <-accepting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A deadline ends the waiting; clients that wait already are still accepted.
func TestAcceptDeadline(t *testing.T) {
	onEachListener(t, acceptsAfterTheDeadline)
}

// onEachListener runs f with this system's listener and with that of package net.
func onEachListener(t *testing.T, f func(t *testing.T, l Listener)) {
	t.Run("this system's", func(t *testing.T) { f(t, listen(t, "127.0.0.1:0").(Listener)) })
	t.Run("net's", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f(t, netListener{l.(*net.TCPListener)})
	})
}

func acceptsAfterTheDeadline(t *testing.T, l Listener) {
	for range 3 {
		c, err := Dial(t.Context(), l.Addr().String(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	l.SetDeadline(time.Now().Add(-time.Second))
	for range 3 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with no connection: %v", err)
		}
	}
}

// Clients that have left before they were accepted are no error of the listener.
func TestAcceptAfterResets(t *testing.T) {
	onEachListener(t, func(t *testing.T, l Listener) {
		for range 100 {
			gone, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			gone.(*net.TCPConn).SetLinger(0)
			gone.Close()
			stays, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(stays, "x")
			for heard := false; !heard; {
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				n, _ := c.Read(make([]byte, 1))
				heard = n == 1
				c.Close()
			}
			stays.Close()
		}
	})
}

func TestListenSaysWhatToDo(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	if _, err := Listen(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "-listen") {
		t.Errorf("a taken port: %v", err)
	}
	err := listenError("127.0.0.1:80", "-listen", &net.OpError{Op: "listen", Err: neterr.Errno(neterr.NoPermission)})
	if want := "listen on 127.0.0.1:80: permission denied; choose another with -listen, such as a port " + neterr.Unreserved; err.Error() != want {
		t.Errorf("a reserved port: %v", err)
	}
}

// inUse is what Listen gets while another program has the address.
var inUse = &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", neterr.Errno(neterr.InUse))}

// The program that was told to stop still has the address for a while: here until
// Listen, after its first try, looks whether to go on.
func TestListenWaitsForTheAddress(t *testing.T) {
	old := listen(t, "127.0.0.1:0")
	addr := old.Addr().String()
	l, err := Listen(asked{t.Context(), func() { old.Close() }}, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, accepted := pairAt(t, l, addr)
	tell(t, dialed, accepted, "request")
}

// An asked context calls a function when it is asked whether it is done.
type asked struct {
	context.Context
	call func()
}

func (c asked) Done() <-chan struct{} {
	c.call()
	return c.Context.Done()
}

// It is tried every 50 ms for a second, and not when anything else is wrong.
func TestListenGivesUp(t *testing.T) {
	for _, test := range []struct {
		name  string
		err   error
		after time.Duration // of a second, in which ctx is done
		calls int
		took  time.Duration
	}{
		{"in use", inUse, time.Minute, 21, time.Second},
		{"in use, and told to stop", inUse, 120 * time.Millisecond, 3, 120 * time.Millisecond},
		{"anything else", neterr.Errno(neterr.NoPort), time.Minute, 1, 0},
		{"nothing wrong", nil, time.Minute, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				start, calls := time.Now(), 0
				_, err := whenFree(ctx, func() (net.Listener, error) {
					calls++
					return nil, test.err
				})
				if took := time.Since(start); err != test.err || calls != test.calls || took != test.took {
					t.Errorf("%v after %d calls in %v; want %d in %v", err, calls, took, test.calls, test.took)
				}
			})
		})
	}
}

// What comes after an address in use ends the trying: another error, or a
// listener.
func TestListenEndsWithWhatComes(t *testing.T) {
	for _, then := range []error{neterr.Errno(neterr.NoPort), nil} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := whenFree(t.Context(), func() (net.Listener, error) {
				if time.Since(start) < 500*time.Millisecond {
					return nil, inUse
				}
				return nil, then
			})
			if took := time.Since(start); err != then || took != 500*time.Millisecond {
				t.Errorf("%v after %v, want %v", err, took, then)
			}
		})
	}
}
