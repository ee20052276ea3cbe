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

// A worker whose connects go unanswered costs the dial deadline, and no
// request: nothing was sent, so the next worker is asked.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	hole, a, b := blackHole(t), goodWorker(t), goodWorker(t)
	l := newBroker(t, []string{hole, a.addr, b.addr}, "-dial-timeout", "200ms")
	start := time.Now()
	allAnswered(t, volley(l.broker.addr, shortRoundRobin, 30))
	l.works(9)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("39 requests took %v", took)
	}
	if n := a.connections() + b.connections(); n != 39 {
		t.Errorf("the others got %d jobs for 39 requests", n)
	}
	l.broker.sync()
	failed := len(l.broker.matches("Failed to connect to Worker-1$"))
	if failed == 0 || failed > 14 {
		t.Errorf("Worker-1 was tried %d times", failed)
	}
	l.stopWith(39, failed)
	alone := newBroker(t, []string{hole}, "-dial-timeout", "200ms")
	isRefusal(t, alone.say(shortRoundRobin), "no worker available: Worker-1: ")
	alone.stopWith(0, 1)
}

// The refusal names the deadline that was missed, and no address: a client has
// no business with those.
func TestBlackHoleReason(t *testing.T) {
	t.Parallel()
	hole := blackHole(t)
	l := newBroker(t, []string{hole}, "-dial-timeout", "200ms")
	for range 20 {
		if got, want := l.say(shortRoundRobin), "Error: no worker available: Worker-1: no connection within 200ms"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	l.stopWith(0, 20)
}
