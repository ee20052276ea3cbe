package status

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
)

// A crowd is a server in memory, and those that have connected to it.
type crowd struct {
	t       *testing.T
	net     memnet.Net
	counter *counter
	ctx     context.Context
	stop    context.CancelFunc
	ended   chan error
	members []*member
}

// A member is one connection of a crowd, at the client's end.
type member struct {
	*memnet.Conn
	r *bufio.Reader
}

// newCrowd has s serve until the test ends. It is called in a bubble.
func newCrowd(t *testing.T, s *Server) *crowd {
	return newCrowdBehind(t, s, func(l net.Listener) net.Listener { return l })
}

// newCrowdBehind is newCrowd with a listener between the two.
func newCrowdBehind(t *testing.T, s *Server, between func(net.Listener) net.Listener) *crowd {
	c := &crowd{t: t, ended: make(chan error, 1)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.counter = &counter{Listener: between(c.net.Listen("page"))}
	go func() { c.ended <- s.Serve(c.ctx, c.counter) }()
	return c
}

// over stops the server and sees that nothing is left.
func (c *crowd) over() {
	c.t.Helper()
	start := time.Now()
	c.stop()
	if err := <-c.ended; err != nil || time.Since(start) != 0 {
		c.t.Errorf("Serve returned %v after %v", err, time.Since(start))
	}
	if c.counter.open != 0 {
		c.t.Errorf("%d connections are still open", c.counter.open)
	}
}

// join adds a member that sends text. It has an age that differs from all
// others'.
func (c *crowd) join(text string) *member {
	c.t.Helper()
	conn, err := c.net.Dial(c.t.Context(), "page")
	if err != nil {
		c.t.Fatal(err)
	}
	io.WriteString(conn, text)
	m := &member{conn.(*memnet.Conn), bufio.NewReader(conn)}
	c.members = append(c.members, m)
	time.Sleep(time.Nanosecond)
	return m
}

// answer reads an answer, and returns its text or why there is none.
func (m *member) answer() string {
	reply, err := http.ReadResponse(m.r, nil)
	if err != nil {
		return err.Error()
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// probe asks for /healthz on a new connection, and returns how long that took.
func (c *crowd) probe() time.Duration {
	c.t.Helper()
	start := time.Now()
	conn, err := c.net.Dial(c.t.Context(), "page")
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request("/healthz"))
	if got := (&member{conn.(*memnet.Conn), bufio.NewReader(conn)}).answer(); got != "ok\n" {
		c.t.Errorf("a probe got %q", got)
	}
	return time.Since(start)
}

// closed returns the places of the members whose connections were closed.
func (c *crowd) closed() (all []int) {
	synctest.Wait()
	for i, m := range c.members {
		if !m.Quiet() {
			all = append(all, i)
		}
	}
	return all
}

func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n" }

// A counter is a listener that counts its open connections.
type counter struct {
	net.Listener
	mu         sync.Mutex // guards what follows
	open, peak int
}

func (l *counter) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	l.peak = max(l.peak, l.open)
	return &counted{Conn: conn, closing: sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
	})}, nil
}

type counted struct {
	net.Conn
	closing func()
}

// Read has a passed deadline as a [net.Error], which net/http asks for: it takes
// any other error for a viewer that is gone.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *counted) Close() error {
	defer c.closing()
	return c.Conn.Close()
}

// slow is the page with addresses that take their time.
func slow() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", Handler(Site{Snapshot: sample}))
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/takes200ms", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-r.Context().Done():
		}
	})
	return mux
}

// Whatever those do that have all places, a probe gets one within a moment, and
// only the oldest of them loses its own.
func TestProbeAmongViewers(t *testing.T) {
	for _, test := range []struct {
		name, sends string
		answered    bool   // an answer follows
		more        string // what is sent after it
		wait        time.Duration
	}{
		{"nothing", "", false, "", firstPatience},
		{"half a header", "GET / HTTP/1.1\r\nHost: localh", false, "", firstPatience},
		{"whole requests", request("/status.json"), true, "", 0},
		{"half a second header", request("/status.json"), true, "GET / HTT", 0},
		{"a request that hangs", request("/hangs"), false, "", activePatience},
		{"a body that never comes", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", false, "", activePatience},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, &Server{Handler: slow()})
			for range DefaultMaxConns {
				m := c.join(test.sends)
				if test.answered {
					m.answer()
				}
				io.WriteString(m, test.more)
				synctest.Wait()
			}
			took := c.probe()
			if early := test.wait - took; early < 0 || early > time.Microsecond {
				t.Errorf("%s: a probe took %v, want %v", test.name, took, test.wait)
			}
			if got := c.closed(); len(got) != 1 || got[0] != 0 {
				t.Errorf("%s: connections %v were closed, want the first", test.name, got)
			}
			if c.counter.peak > DefaultMaxConns+1 {
				t.Errorf("%s: %d connections were open at once", test.name, c.counter.peak)
			}
			c.over()
		})
	}
}

// An idle connection gives way before a busy one that is older, and one that
// waits for its first request before a busy one too.
func TestIdleBeforeBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow(), MaxConns: 3})
		c.join(request("/hangs"))
		c.join("")
		time.Sleep(2 * activePatience)
		c.join(request("/healthz")).answer()
		for i, want := range []string{"[1]", "[1 2]", "[0 1 2]"} {
			if c.join(request("/hangs")); fmt.Sprint(c.closed()) != want {
				t.Errorf("after %d more: %v were closed, want %s", i+1, c.closed(), want)
			}
		}
		c.over()
	})
}

// Two thousand silent connections at once keep a probe waiting for less than a
// second.
func TestProbeInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow()})
		for range 2000 {
			conn, err := c.net.Dial(t.Context(), "page")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		if took := c.probe(); took > time.Second/2 {
			t.Errorf("a probe took %v", took)
		}
		if c.counter.peak > DefaultMaxConns+1 {
			t.Errorf("%d connections were open at once", c.counter.peak)
		}
		c.over()
	})
}

// Of two thousand that ask at once and stay, each gets its answer: a connection
// that has just come is not closed before its request was looked at.
func TestEverybodyIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow(), MaxConns: 8})
		for range 2000 {
			c.join(request("/healthz"))
		}
		for i, m := range c.members {
			if got := m.answer(); got != "ok\n" {
				t.Fatalf("number %d got %q", i, got)
			}
		}
		c.over()
	})
}

// Viewers that are always busy, but never for long at a time, make room as soon
// as one of them has its answer; and only one of them does.
func TestBusyViewersMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow(), MaxConns: 4})
		var asking sync.WaitGroup
		for range 4 {
			c.join("")
		}
		for _, m := range c.members { // all at the same moment
			io.WriteString(m, request("/takes200ms"))
			asking.Go(func() {
				for n := 0; n < 20 && m.answer() == ""; n++ {
					io.WriteString(m, request("/takes200ms"))
				}
			})
		}
		if took := c.probe(); took != 200*time.Millisecond {
			t.Errorf("a probe took %v", took)
		}
		if got := c.closed(); len(got) != 1 {
			t.Errorf("connections %v were closed, want one of them", got)
		}
		c.over()
		asking.Wait()
	})
}

// A place is given back once, whatever is told of its connection afterwards.
func TestPlaceIsGivenBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		l := newLimit(n.Listen("page"), 2, 0, t.Context().Done())
		accept := func() net.Conn {
			if _, err := n.Dial(t.Context(), "page"); err != nil {
				t.Error(err)
			}
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			l.setState(conn, http.StateNew)
			return conn
		}
		has := func(want ...net.Conn) {
			t.Helper()
			if len(l.places) != len(want) {
				t.Errorf("%d have a place, want %d", len(l.places), len(want))
			}
			for i, conn := range want {
				if _, has := l.places[conn]; !has {
					t.Errorf("number %d has no place", i)
				}
			}
		}
		a, b := accept(), accept()
		time.Sleep(firstPatience)
		l.setState(b, http.StateActive)
		c := accept() // gets a's place
		for _, state := range []http.ConnState{http.StateActive, http.StateIdle, http.StateClosed, http.StateClosed} {
			l.setState(a, state)
			has(b, c)
		}
		l.setState(b, http.StateHijacked)
		has(c)
		l.setState(b, http.StateClosed)
		has(c)
		l.setState(c, http.StateClosed)
		l.setState(c, http.StateClosed)
		has()
		a, b = accept(), accept()
		has(a, b)
		l.setState(a, http.StateActive)
		l.setState(b, http.StateActive)
		late := make(chan net.Conn)
		go func() { late <- accept() }()
		synctest.Wait()
		l.setState(a, http.StateIdle) // it loses its place, and the next one keeps it
		l.setState(b, http.StateIdle)
		has(b, <-late)
	})
}

// A connection that waits gets the place of one that ends, at once.
func TestFreePlaceIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow(), MaxConns: 1})
		for range 10 {
			hangs := c.join(request("/hangs"))
			synctest.Wait()
			time.AfterFunc(activePatience/2, func() { hangs.Close() })
			if took := c.probe(); took < activePatience/2-time.Microsecond || took > activePatience/2 {
				t.Errorf("a probe took %v", took)
			}
			synctest.Wait()
		}
		c.over()
	})
}

// When Serve returns, no handler is running.
func TestServeWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) })})
		c.join(request("/"))
		time.Sleep(time.Second)
		c.stop()
		start := time.Now()
		if err := <-c.ended; err != nil || time.Since(start) < 58*time.Second {
			t.Errorf("Serve returned %v after %v", err, time.Since(start))
		}
	})
}

// A stop does not wait for a place, and what waits for one is closed.
func TestStopWhileOneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, &Server{Handler: slow(), MaxConns: 1})
		c.join(request("/hangs"))
		c.join(request("/healthz"))
		synctest.Wait()
		c.over()
		if got := c.closed(); len(got) != 2 {
			t.Errorf("connections %v were closed", got)
		}
	})
}

// failing is a listener whose next n calls of Accept fail.
type failing struct {
	net.Listener
	n   int
	err error
}

func (l *failing) Accept() (net.Conn, error) {
	if l.n > 0 {
		l.n--
		return nil, l.err
	}
	return l.Listener.Accept()
}

// After errors that pass the server goes on, with all of its places.
func TestAcceptErrorsThatPass(t *testing.T) {
	for _, kind := range []neterr.Kind{neterr.ProcessFiles, neterr.NoBuffer, neterr.NoMemory, neterr.Aborted} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{t: t, ended: make(chan error, 1)}
			c.ctx, c.stop = context.WithCancel(context.Background())
			c.counter = &counter{Listener: c.net.Listen("page")}
			l := &failing{c.counter.Listener, 3, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", neterr.Errno(kind))}}
			s := &Server{Handler: slow(), MaxConns: 1}
			go func() { c.ended <- s.Serve(c.ctx, l) }()
			synctest.Wait()
			for i, want := range []time.Duration{5 + 10 + 20, 0, 0} {
				if took := c.probe(); took != want*time.Millisecond {
					t.Errorf("%v: probe %d took %v, want %v", kind, i, took, want*time.Millisecond)
				}
				synctest.Wait()
			}
			l.n = 1_000_000
			c.probe() // the call that waits succeeds, and the next ones fail
			time.Sleep(time.Hour)
			c.over()
		})
	}
}

func TestAcceptErrorThatStays(t *testing.T) {
	var n memnet.Net
	l := &failing{n.Listen("page"), 1, errors.New("out of order")}
	if err := (&Server{Handler: slow()}).Serve(t.Context(), l); err == nil || err.Error() != "status page: out of order" {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := l.Listener.Accept(); err != net.ErrClosed {
		t.Errorf("the listener is still open: %v", err)
	}
}

// Real connections that never read are closed in the middle of an answer.
func TestViewersThatNeverRead(t *testing.T) {
	failed := make(chan error, 3)
	mux := http.NewServeMux()
	mux.Handle("/", Handler(Site{Snapshot: sample}))
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				failed <- err
				return
			}
		}
	})
	addr, _ := served(t, &Server{Handler: mux, MaxConns: 3})
	for range 3 {
		send(t, addr, request("/endless"))
	}
	r := send(t, addr, request("/healthz"))
	answered(t, bufio.NewReader(r))
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the answer that was not read ended with %v", err)
	}
}

func send(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A panic costs one connection. It is told, and net/http prints nothing of it
// nor of anything else.
func TestPanic(t *testing.T) {
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)
	mux := http.NewServeMux()
	mux.Handle("/", Handler(Site{Snapshot: sample}))
	mux.HandleFunc("/panics", func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	mux.HandleFunc("/answers-twice", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
		w.WriteHeader(http.StatusTeapot)
	})
	mux.HandleFunc("/gives-up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	told := make(chan string, 10)
	for _, s := range []*Server{
		{Handler: mux},
		{Handler: mux, Panicked: func(value any, stack []byte) { told <- fmt.Sprintf("%v\n%s", value, stack) }},
	} {
		addr, stop := served(t, s)
		other := send(t, addr, request("/healthz"))
		others := bufio.NewReader(other)
		answered(t, others)
		for _, path := range []string{"/panics", "/gives-up"} {
			if text, err := io.ReadAll(send(t, addr, request(path))); err != nil || len(text) > 0 {
				t.Errorf("%s: the viewer got %q, %v", path, text, err)
			}
		}
		io.WriteString(other, request("/answers-twice"))
		answered(t, others)
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	close(told)
	var texts []string
	for text := range told {
		texts = append(texts, text)
	}
	if len(texts) != 1 || !strings.HasPrefix(texts[0], "on purpose\n") || !strings.Contains(texts[0], "limit_test.go") {
		t.Errorf("told %q", texts)
	}
	if printed.Len() > 0 {
		t.Errorf("net/http printed %q", printed.String())
	}
}
