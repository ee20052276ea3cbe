package e2e

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// blackHole returns an address that answers no connect: a listener whose queue
// is full and that never accepts.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 16 {
		conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
			return addr
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this system accepts any number of connections for a listener that asked for none")
	return ""
}

// A worker whose connects go unanswered costs no request: nothing was sent, so
// the next worker is asked. The refusal names the deadline that was missed, and
// no address: a client has no business with those.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	hole, good := blackHole(t), goodWorker(t)
	l := newBroker(t, []string{hole, good.addr}, "-dial-timeout", "1s")
	l.works(1)
	l.broker.line(`^\[Broker\] Failed to connect to Worker-1$`)
	l.stopWith(1, 1)
	alone := newBroker(t, []string{hole}, "-dial-timeout", "20ms")
	for range 20 {
		if got, want := alone.say(shortRoundRobin), "Error: no worker available: Worker-1: no connection within 20ms"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	alone.stopWith(0, 20)
}
