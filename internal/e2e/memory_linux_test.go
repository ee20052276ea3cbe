package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// resident returns a program's resident memory in bytes.
func (p *program) resident() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kB int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	p.t.Fatalf("no VmRSS in %q", text)
	return 0
}

// A request that waits for its worker takes the broker about 5 KB, its
// goroutine's stack of 2 KB included: that must not have grown before. It would
// grow to 4 KB at least.
func TestMemoryOfWaiting(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	const n, most = 1000, 6500
	taken := make(chan net.Conn, n)
	l := newBroker(t, []string{silentWorker(t, taken)})
	l.say("\n") // what a first request needs is not what each one needs
	before := l.broker.resident()
	for range n {
		client := connect(t, l.broker.addr)
		if _, err := io.WriteString(client, longLeast); err != nil {
			t.Fatal(err)
		}
		defer (<-taken).Close()
	}
	each := (l.broker.resident() - before) / n
	t.Logf("%d bytes for each of %d requests in flight", each, n)
	if each > most {
		t.Errorf("%d bytes for each of %d requests in flight, want at most %d", each, n, most)
	}
}

// silentWorker starts a worker that takes jobs and answers none. It returns its
// address.
func silentWorker(t *testing.T, taken chan<- net.Conn) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 64))
			taken <- conn
		}
	}()
	return l.Addr().String()
}
