package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
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
		if _, err := n.Dial(t.Context(), "unused"); !errors.Is(err, syscall.ECONNREFUSED) {
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
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
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
		if failed := test.before == socket.Reset; failed != errors.Is(err, syscall.EPIPE) {
			t.Errorf("the peer %s: written: %v", test.name, err)
		}
		if _, err := server.Write([]byte("x")); errors.Is(err, syscall.EPIPE) != (test.after == socket.Reset) {
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
