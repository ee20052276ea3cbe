package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// connect returns both ends of a connection.
func connect(t *testing.T) (client, server *Conn) {
	var n Net
	l := n.Listen("a")
	c, err := n.Dial(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Conn), s.(*Conn)
}

func TestHalfClose(t *testing.T) {
	client, server := connect(t)
	client.Write([]byte("question"))
	client.CloseWrite()
	if got, err := io.ReadAll(server); string(got) != "question" || err != nil {
		t.Errorf("server read %q, %v", got, err)
	}
	server.Write([]byte("answer"))
	server.Close()
	if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
		t.Errorf("client read %q, %v", got, err)
	}
}

// Closing over unread input destroys what was sent, as with TCP: that is what
// a server has to take care of.
func TestCloseOverUnreadInputResets(t *testing.T) {
	client, server := connect(t)
	client.Write([]byte("never read"))
	server.Write([]byte("answer"))
	server.Close()
	if _, err := io.ReadAll(client); neterr.KindOf(err) != neterr.Reset {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t)
		start := time.Now()
		client.SetReadDeadline(start.Add(3 * time.Second))
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		client.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			client.SetReadDeadline(time.Unix(1, 0))
		}()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline set while reading: %v", err)
		}
	})
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Net
		if _, err := n.Dial(t.Context(), "unused"); neterr.KindOf(err) != neterr.Refused {
			t.Errorf("no listener: %v", err)
		}
		n.BlackHole("hole")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dial(ctx, "hole"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("black hole: %v", err)
		}
		l := n.Listen("a")
		waiting, _ := n.Dial(t.Context(), "a")
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed listener: %v", err)
		}
		if _, err := waiting.Read(make([]byte, 1)); neterr.KindOf(err) != neterr.Reset {
			t.Errorf("not accepted: %v", err)
		}
	})
}

// A look sees what it would see over the loopback.
func TestPeek(t *testing.T) {
	for _, test := range []struct {
		name          string
		leave         func(peer *Conn)
		before, after socket.PeerState // the other side has written
	}{
		{"stays", func(*Conn) {}, socket.Quiet, socket.Quiet},
		{"says more", func(c *Conn) { c.Write([]byte("x")) }, socket.Input, socket.Input},
		{"half-closes", func(c *Conn) { c.CloseWrite() }, socket.Ended, socket.Ended},
		{"closes", func(c *Conn) { c.Close() }, socket.Ended, socket.Reset},
		{"says more and closes", func(c *Conn) { c.Write([]byte("x")); c.Close() }, socket.Input, socket.Reset},
		{"resets", func(c *Conn) { c.Reset() }, socket.Reset, socket.Reset},
		{"says more and resets", func(c *Conn) { c.Write([]byte("x")); c.Reset() }, socket.Reset, socket.Reset},
	} {
		client, server := connect(t)
		test.leave(client)
		if got := server.Peek(); got != test.before || server.Quiet() != (got == socket.Quiet) {
			t.Errorf("the peer %s: %v, quiet %v; want %v", test.name, got, server.Quiet(), test.before)
		}
		_, err := server.Write([]byte("answer"))
		if got := server.Peek(); got != test.after {
			t.Errorf("the peer %s, then an answer: %v, want %v", test.name, got, test.after)
		}
		if failed := test.before == socket.Reset; failed != (neterr.KindOf(err) == neterr.BrokenPipe) {
			t.Errorf("the peer %s: written: %v", test.name, err)
		}
		if _, err := server.Write([]byte("x")); (neterr.KindOf(err) == neterr.BrokenPipe) != (test.after == socket.Reset) {
			t.Errorf("the peer %s: written again: %v", test.name, err)
		}
		server.Close()
		if got := server.Peek(); got != socket.Unknown {
			t.Errorf("closed on this side: %v", got)
		}
	}
}

func TestPeekOverUnreadInputOfThePeer(t *testing.T) {
	client, server := connect(t)
	server.Write([]byte("never read"))
	client.Close()
	if got := server.Peek(); got != socket.Reset {
		t.Errorf("got %v", got)
	}
}

// To read from a connection that is closed here, or to write to one that is
// closed at either end, is an error that says so.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t)
		server.Close()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading what was closed here: %v", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to what was closed here: %v", err)
		}
		if n, err := client.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("the first write to what was closed there: %d, %v", n, err)
		}
		if n, err := client.Write([]byte("x")); n != 0 || neterr.KindOf(err) != neterr.BrokenPipe {
			t.Errorf("writing to what was closed there: %d, %v", n, err)
		}
		if server.Quiet() || client.Quiet() {
			t.Error("a closed connection is quiet")
		}
	})
}

// A second close does no more than the first, whatever was written meanwhile.
func TestCloseTwice(t *testing.T) {
	client, server := connect(t)
	server.Write([]byte("answer"))
	server.Close()
	client.Write([]byte("x"))
	server.Close()
	if got, err := io.ReadAll(client); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A reset destroys what was not read yet, and comes after an end of the stream
// too.
func TestReset(t *testing.T) {
	client, server := connect(t)
	client.Write([]byte("question"))
	client.CloseWrite()
	client.Reset()
	if got, err := io.ReadAll(server); len(got) > 0 || neterr.KindOf(err) != neterr.Reset {
		t.Errorf("%q, %v", got, err)
	}
	if server.Quiet() {
		t.Error("a connection that was reset is quiet")
	}
}

// What is there is read without waiting, until the connection is interrupted. An
// ordinary deadline that has passed does not matter to what is there.
func TestTryRead(t *testing.T) {
	client, server := connect(t)
	b := make([]byte, 8)
	if !server.Quiet() {
		t.Error("a new connection is not quiet")
	}
	if n, err := server.TryRead(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing there: %d, %v", n, err)
	}
	client.Write([]byte("abc"))
	if server.Quiet() {
		t.Error("a connection is quiet although something has come")
	}
	server.SetDeadline(time.Now().Add(-time.Hour))
	if n, err := server.TryRead(b[:1]); n != 1 || err != nil {
		t.Errorf("something there: %d, %v", n, err)
	}
	if n, err := server.Read(b[:1]); n != 1 || err != nil {
		t.Errorf("something there: %d, %v", n, err)
	}
	server.SetReadDeadline(socket.Interrupt)
	for name, read := range map[string]func([]byte) (int, error){"TryRead": server.TryRead, "Read": server.Read} {
		if n, err := read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s of an interrupted connection: %d, %v", name, n, err)
		}
	}
	server.SetReadDeadline(time.Time{})
	client.CloseWrite()
	if got, err := io.ReadAll(server); string(got) != "c" || err != nil {
		t.Errorf("the rest: %q, %v", got, err)
	}
	if n, err := server.TryRead(b); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// A listener has a deadline, connections that came before it are still accepted,
// and each connection has addresses of its own.
func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Net
		l := n.Listen("a")
		start := time.Now()
		l.SetDeadline(start.Add(time.Minute))
		time.AfterFunc(time.Second, func() { n.Dial(t.Context(), "a") })
		c, err := l.Accept()
		if err != nil || time.Since(start) != time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		there, err := n.DialWithin(t.Context(), "a", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if last, err := l.Accept(); err != nil || last.RemoteAddr().String() != there.LocalAddr().String() || last.LocalAddr().String() != l.Addr().String() {
			t.Errorf("it came before the end: %v, %v", last, err)
		}
		if c.RemoteAddr().String() == there.LocalAddr().String() {
			t.Errorf("two connections come from %v", c.RemoteAddr())
		}
	})
}

// A connect gives up in time, and one address has one listener.
func TestDialWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Net
		n.BlackHole("hole")
		start := time.Now()
		if _, err := n.DialWithin(t.Context(), "hole", time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		n.Listen("a")
		defer func() {
			if recover() == nil {
				t.Error("there are two listeners at one address")
			}
		}()
		n.Listen("a")
	})
}
