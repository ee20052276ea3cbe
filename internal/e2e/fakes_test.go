package e2e

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fake is a server written for a test. It counts its connections.
type fake struct {
	addr     string
	listener net.Listener
	said     chan struct{} // receives a value for each entry of heard

	mu       sync.Mutex // guards what follows
	accepted int
	heard    []string
	dead     bool
	conns    []net.Conn
}

// newFake serves each connection by serve, in a goroutine of its own, which
// need not close it.
func newFake(t *testing.T, serve func(f *fake, conn *net.TCPConn)) *fake {
	t.Helper()
	f, handlers := listen(t), new(sync.WaitGroup)
	handlers.Go(func() {
		f.accept(func(conn *net.TCPConn) {
			handlers.Go(func() {
				defer conn.Close()
				serve(f, conn)
			})
		})
	})
	t.Cleanup(func() {
		f.close()
		handlers.Wait()
	})
	return f
}

func listen(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &fake{addr: l.Addr().String(), listener: l, said: make(chan struct{}, 10_000)}
}

// accept hands every connection to serve until the listener is closed.
func (f *fake) accept(serve func(*net.TCPConn)) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(patience))
		f.mu.Lock()
		f.accepted++
		f.conns = append(f.conns, conn)
		f.mu.Unlock()
		serve(conn.(*net.TCPConn))
	}
}

func (f *fake) close() {
	f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
}

// connections returns how many there have been.
func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

// hears records what a peer said.
func (f *fake) hears(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, text)
	f.said <- struct{}{}
}

func (f *fake) allHeard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.heard...)
}

func (f *fake) isDead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// job reads a job in one read, as the original does. A broker writes it in one
// piece and at once, so more reading is not needed here.
func (f *fake) job(conn net.Conn) bool {
	b := make([]byte, 1024)
	n, err := conn.Read(b)
	if n > 0 {
		f.hears(string(b[:n]))
	}
	return err == nil
}

// goodWorker answers every job at once.
func goodWorker(t *testing.T) *fake {
	t.Helper()
	return newFake(t, func(f *fake, conn *net.TCPConn) {
		if f.job(conn) {
			io.WriteString(conn, response)
		}
	})
}

// A heldWorker answers when it is told to.
type heldWorker struct {
	*fake
	got     chan struct{} // receives a value for each job
	release chan struct{} // the test closes it, or sends a value for each answer
}

func newHeldWorker(t *testing.T) *heldWorker {
	t.Helper()
	h := &heldWorker{got: make(chan struct{}, 1000), release: make(chan struct{})}
	gone := make(chan struct{})
	h.fake = newFake(t, func(f *fake, conn *net.TCPConn) {
		if !f.job(conn) {
			return
		}
		h.got <- struct{}{}
		select {
		case <-h.release:
			io.WriteString(conn, response)
		case <-gone:
		}
	})
	t.Cleanup(func() { close(gone) })
	return h
}

// newHeldLab starts a broker for three held workers.
func newHeldLab(t *testing.T, brokerFlags ...string) (*lab, []*heldWorker) {
	t.Helper()
	var workers []*heldWorker
	var addrs []string
	for range 3 {
		w := newHeldWorker(t)
		workers, addrs = append(workers, w), append(addrs, w.addr)
	}
	return newBroker(t, addrs, brokerFlags...), workers
}

// await waits for a value on a channel that says what has happened.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// originalWorker is the Python lab's worker. It reads its job in its accept
// loop, once, so a silent connection blocks it for all others, and one that
// closes without a byte kills it.
func originalWorker(t *testing.T) *fake {
	t.Helper()
	f, threads := listen(t), new(sync.WaitGroup)
	threads.Go(func() {
		f.accept(func(conn *net.TCPConn) {
			if !f.job(conn) {
				f.mu.Lock()
				f.dead = true
				f.mu.Unlock()
				f.listener.Close()
				return
			}
			threads.Go(func() {
				defer conn.Close()
				io.WriteString(conn, response)
			})
		})
	})
	t.Cleanup(func() {
		f.close()
		threads.Wait()
	})
	return f
}

// originalBroker is the Python lab's broker: one client at a time, one read on
// each side, its workers in turn.
func originalBroker(t *testing.T, workers ...string) *fake {
	t.Helper()
	f, loop := listen(t), new(sync.WaitGroup)
	turn := 0
	loop.Go(func() {
		f.accept(func(conn *net.TCPConn) {
			defer conn.Close()
			answer, err := f.relay(conn, workers[turn%len(workers)])
			turn++
			if err == nil {
				io.WriteString(conn, answer)
			}
		})
	})
	t.Cleanup(func() {
		f.close()
		loop.Wait()
	})
	return f
}

func (f *fake) relay(client net.Conn, worker string) (string, error) {
	b := make([]byte, 1024)
	n, err := client.Read(b)
	if err != nil {
		return "", err
	}
	f.hears(string(b[:n]))
	fields := strings.Split(string(b[:n]), ":")
	if len(fields) != 3 {
		return "", errors.New("the original broker dies of this")
	}
	conn, err := dial(worker)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "AppID:"+strings.TrimSpace(fields[1])); err != nil {
		return "", err
	}
	n, err = conn.Read(b)
	return string(b[:n]), err
}

// closedPort returns an address at which nothing listens as long as the test runs:
// it is that of a client, so that no other test's server gets it.
func closedPort(t *testing.T) string {
	t.Helper()
	f := newFake(t, func(*fake, *net.TCPConn) {})
	return connect(t, f.addr).LocalAddr().String()
}

// freePort returns an address at which nothing listens, and a program can.
func freePort(t *testing.T) string {
	t.Helper()
	f := listen(t)
	f.listener.Close()
	return f.addr
}
