package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pair returns both ends of a connection: who dialed, and who accepted.
func pair(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	l := listen(t)
	dialed, err := Dial(t.Context(), l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed, accepted
}

func TestBothWays(t *testing.T) {
	dialed, accepted := pair(t)
	for range 3 {
		for _, ends := range [][2]net.Conn{{dialed, accepted}, {accepted, dialed}} {
			if _, err := io.WriteString(ends[0], "hello"); err != nil {
				t.Fatal(err)
			}
			var b [5]byte
			if _, err := io.ReadFull(ends[1], b[:]); err != nil || string(b[:]) != "hello" {
				t.Fatalf("%q, %v", b, err)
			}
		}
	}
}

var _ = []any{context.Background, errors.Is, os.ErrClosed, strings.Contains, syscall.EAGAIN}
