//go:build unix

package broker

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/worker"
)

// Whether a connection is still open is a fact of TCP: these tests use real
// sockets.

// listen returns a loopback listener whose connections are counted.
func listen(t *testing.T) *counting {
	return counted(t, func() (socket.Listener, error) { return socket.Listen(t.Context(), "127.0.0.1:0") })
}

// listenNet is like listen, for a worker that resets its connections: package
// net can.
func listenNet(t *testing.T) *counting {
	return counted(t, func() (socket.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		return l.(*net.TCPListener), err
	})
}

func counted(t *testing.T, listen func() (socket.Listener, error)) *counting {
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &counting{Listener: l}
}

type counting struct {
	socket.Listener
	mu sync.Mutex // guards n
	n  int
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.n++
	}
	return conn, err
}

func (c *counting) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// keeping returns a broker with one worker at l that keeps connections.
func keeping(t *testing.T, l net.Listener) *Broker {
	b := &Broker{
		Pool: balance.NewPool([]balance.Worker{{Name: "Worker-1", Addr: l.Addr().String()}}, selectors()...),
		Dial: socket.Dial, DialTimeout: 10 * time.Second, AnswerTimeout: 10 * time.Second,
		Idle: NewIdlePool(10), Observer: new(record),
	}
	t.Cleanup(b.Idle.Close)
	return b
}

// serve runs one of our workers on l. The returned func stops it and waits.
func serveWorker(t *testing.T, l socket.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	w := worker.Worker{Observer: silent{}}
	s := server.Server{Handle: w.Handle, DrainTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, l)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

type silent struct{}

func (silent) Processing(protocol.Job, net.Addr) {}
func (silent) Refused(net.Addr, string)          {}
func (silent) Dropped(net.Addr)                  {}

func (b *Broker) mustAnswer(t *testing.T, n int) {
	t.Helper()
	for range n {
		x := newExchange()
		if b.run(t.Context(), x); x.Answer != protocol.Response || x.Failure != nil {
			t.Fatalf("%q, %x", x.Answer, x.Failure)
		}
	}
}

func TestKeepsConnections(t *testing.T) {
	l := listen(t)
	serveWorker(t, l)
	b := keeping(t, l)
	b.mustAnswer(t, 20)
	if n := l.count(); n != 1 {
		t.Errorf("20 requests took %d connections", n)
	}
}

func TestWithoutIdlePoolEachRequestConnects(t *testing.T) {
	l := listen(t)
	serveWorker(t, l)
	b := keeping(t, l)
	b.Idle = nil
	b.mustAnswer(t, 3)
	if n := l.count(); n != 3 {
		t.Errorf("3 requests took %d connections", n)
	}
}

// The worker's stop closes idle connections at once, and the next worker at
// the address is reached by a new one.
func TestWorkerRestarts(t *testing.T) {
	l := listen(t)
	addr := l.Addr().String()
	stop := serveWorker(t, l)
	b := keeping(t, l)
	for range 2 {
		b.mustAnswer(t, 2)
		stop()
		again, err := socket.Listen(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		stop = serveWorker(t, again)
	}
	b.mustAnswer(t, 1)
}

// fakeWorker answers each connection by serve, one at a time.
func fakeWorker(l net.Listener, serve func(i int, c net.Conn)) {
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(i, c)
		}
	}()
}

// An original worker reads once, answers without a newline and closes.
func TestOriginalWorkerIsNotKept(t *testing.T) {
	l := listen(t)
	fakeWorker(l, func(_ int, c net.Conn) {
		defer c.Close()
		b := make([]byte, protocol.MaxLen)
		n, _ := c.Read(b)
		if f := strings.Split(string(b[:n]), ":"); len(f) == 2 && strings.TrimSpace(f[1]) == "Short" {
			io.WriteString(c, protocol.Response)
		}
	})
	b := keeping(t, l)
	b.mustAnswer(t, 3)
	if n := l.count(); n != 3 {
		t.Errorf("3 requests took %d connections", n)
	}
}

// readJob reads one job that keeps its connection, and returns its answer.
func readJob(c net.Conn) (answer string) {
	job, _ := protocol.ReadJob(c)
	return job.Name.Line(protocol.Response)
}

// A job that met a stopping worker on the way goes out again, because it was
// not taken.
func TestNotTakenIsSentAgain(t *testing.T) {
	l := listen(t)
	fakeWorker(l, func(i int, c net.Conn) {
		defer c.Close()
		io.WriteString(c, readJob(c))
		if i == 0 {
			readJob(c)
			io.WriteString(c, "\n")
		}
	})
	b := keeping(t, l)
	b.mustAnswer(t, 2)
	if n := l.count(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A worker that does not take the job on a new connection either has failed: it
// is not asked again, whatever it goes on to say.
func TestNotTakenTwiceIsAFailure(t *testing.T) {
	l := listen(t)
	fakeWorker(l, func(i int, c net.Conn) {
		defer c.Close()
		answer := readJob(c)
		if i == 0 {
			io.WriteString(c, answer)
			readJob(c)
		}
		io.WriteString(c, "\n")
	})
	b := keeping(t, l)
	b.mustAnswer(t, 1)
	x := newExchange()
	b.run(t.Context(), x)
	const want = "no worker available: Worker-1: the worker is stopping"
	if x.Failure == nil || x.Failure.Error() != want {
		t.Errorf("%q, %x, want %s", x.Answer, x.Failure, want)
	}
	if n := l.count(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A closed connection is noticed before a job is lost on it.
func TestClosedIsNotUsed(t *testing.T) {
	l := listen(t)
	closed := make(chan struct{})
	fakeWorker(l, func(_ int, c net.Conn) {
		io.WriteString(c, readJob(c))
		c.Close()
		closed <- struct{}{}
	})
	b := keeping(t, l)
	for range 3 {
		b.mustAnswer(t, 1)
		<-closed
	}
	if n := l.count(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// A worker that read the job and then died may have done it.
func TestTakenIsNotSentAgain(t *testing.T) {
	for name, last := range map[string]string{"without a byte": "", "in mid-answer": "Resp", "by a reset": ""} {
		t.Run(name, func(t *testing.T) {
			l := listenNet(t)
			fakeWorker(l, func(_ int, c net.Conn) {
				io.WriteString(c, readJob(c))
				readJob(c)
				io.WriteString(c, last)
				if name != "without a byte" {
					c.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
			})
			b := keeping(t, l)
			b.mustAnswer(t, 1)
			x := newExchange()
			b.run(t.Context(), x)
			if x.Failure == nil || !strings.Contains(x.Failure.Error(), "may have run") {
				t.Errorf("%q, %x", x.Answer, x.Failure)
			}
			if n := l.count(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

func TestIdlePoolIsBounded(t *testing.T) {
	p := NewIdlePool(2)
	var there []net.Conn
	for range 3 {
		a, b := net.Pipe()
		p.put(0, socket.Of(a))
		there = append(there, b)
	}
	if n := len(p.idle[0]); n != 2 {
		t.Errorf("%d are kept, want 2", n)
	}
	go p.Close()
	for _, c := range there {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("not closed: %x", err)
		}
	}
}

// However many workers there are, no more than Most are kept in all; and Drop
// closes those to one worker.
func TestIdlePoolIsBoundedInAll(t *testing.T) {
	p := NewIdlePool(2)
	p.Most = 3
	var there []net.Conn
	for i := range 8 {
		a, b := net.Pipe()
		p.put(i/2, socket.Of(a))
		there = append(there, b)
	}
	if p.count != 3 || len(p.idle[0]) != 2 || len(p.idle[1]) != 1 {
		t.Errorf("%d are kept: %v", p.count, p.idle)
	}
	p.Drop(0)
	for _, i := range []int{0, 1, 3, 4, 5, 6, 7} {
		if _, err := there[i].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("connection %d is not closed: %x", i, err)
		}
	}
	if p.count != 1 {
		t.Errorf("%d are kept after Drop, want 1", p.count)
	}
	(*IdlePool)(nil).Drop(0)
	p.Close()
}
