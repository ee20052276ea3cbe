package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// A lab is a server that runs in a bubble.
type lab struct {
	t    *testing.T
	net  memnet.Net
	stop context.CancelFunc
	done chan error
}

// serve starts s. At the end of the test it must have returned.
func serve(t *testing.T, s *Server) *lab {
	v := &lab{t: t}
	v.serve(s, v.net.Listen("server"))
	return v
}

// serve starts s on l.
func (v *lab) serve(s *Server, l socket.Listener) {
	var ctx context.Context
	ctx, v.stop = context.WithCancel(v.t.Context())
	v.done = make(chan error, 1)
	go func() { v.done <- s.Serve(ctx, l) }()
}

func (v *lab) dial() *memnet.Conn {
	v.t.Helper()
	c, err := v.net.Dial(v.t.Context(), "server")
	if err != nil {
		v.t.Fatal(err)
	}
	return c.(*memnet.Conn)
}

// stopped stops the server and returns how long that took, and the server's error.
func (v *lab) stopped() (time.Duration, error) {
	start := time.Now()
	v.stop()
	err := <-v.done
	return time.Since(start), err
}

// echoAfter returns a handler that reads a byte and answers it after work.
func echoAfter(work time.Duration) Handler {
	return func(ctx context.Context, c *Conn) Handler {
		defer c.Close()
		c.BeginRead(time.Minute)
		var b [1]byte
		_, err := c.Read(b[:])
		if c.EndRead(); err != nil {
			return nil
		}
		if work > 0 { // with the race detector, fake timers of 0 crash: go.dev/issue/78156
			select {
			case <-time.After(work):
			case <-ctx.Done():
				c.Finish("cut off")
				return nil
			}
		}
		c.Finish(string(b[:]))
		return nil
	}
}

func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("reading the answer: %v", err)
	}
	return string(b)
}

func TestDrainWaitsForWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(4 * time.Second), DrainTimeout: 10 * time.Second})
		busy, silent := v.dial(), v.dial()
		busy.Write([]byte("x"))
		synctest.Wait()
		answer := make(chan string)
		go func() { answer <- readAll(t, busy) }()
		v.stop()
		synctest.Wait()
		start := time.Now()
		if _, err := silent.Read(make([]byte, 1)); err == nil || time.Since(start) != 250*time.Millisecond {
			t.Errorf("a silent client is let go after %v with %v", time.Since(start), err)
		}
		synctest.Wait()
		if _, err := v.net.Dial(t.Context(), "server"); neterr.KindOf(err) != neterr.Refused {
			t.Errorf("a new client during the drain: %v", err)
		}
		if got := <-answer; got != "x" {
			t.Errorf("in flight at the stop: %q", got)
		}
		if err := <-v.done; err != nil || time.Since(start) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(time.Hour), DrainTimeout: 10 * time.Second})
		busy := v.dial()
		busy.Write([]byte("x"))
		synctest.Wait()
		answer := make(chan string, 1)
		go func() { answer <- readAll(t, busy) }()
		if took, err := v.stopped(); !errors.Is(err, ErrDrainTimeout) || took != 10*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if got := <-answer; got != "cut off" {
			t.Errorf("got %q", got)
		}
	})
}

// A request that comes when the time to drain is over, but before silent clients are
// let go, is told so: it does not wait for its answer.
func TestRequestAfterTheDrain(t *testing.T) {
	for _, drain := range []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			v := serve(t, &Server{Handle: echoAfter(time.Hour), DrainTimeout: drain})
			late := v.dial()
			synctest.Wait()
			answer := make(chan string, 1)
			go func() {
				time.Sleep(100 * time.Millisecond)
				late.Write([]byte("x"))
				answer <- readAll(t, late)
			}()
			var want error // nothing was in flight
			if drain > 100*time.Millisecond {
				want = ErrDrainTimeout
			}
			took, err := v.stopped()
			if !errors.Is(err, want) || took != max(drain, 100*time.Millisecond) {
				t.Errorf("drain %v: %v after %v", drain, err, took)
			}
			if got := <-answer; got != "cut off" {
				t.Errorf("drain %v: got %q", drain, got)
			}
		})
	}
}

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(time.Second), MaxConns: 2, DrainTimeout: time.Minute})
		start := time.Now()
		answers := make(chan time.Duration)
		for range 5 {
			c := v.dial()
			c.Write([]byte("x"))
			go func() {
				readAll(t, c)
				answers <- time.Since(start)
			}()
		}
		for _, want := range []time.Duration{1, 1, 2, 2, 3} {
			if got := <-answers; got != want*time.Second {
				t.Errorf("answered after %v, want %v s", got, int(want))
			}
		}
		if _, err := v.stopped(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(time.Second), MaxConns: 1, DrainTimeout: time.Minute})
		c := v.dial()
		synctest.Wait()
		if took, err := v.stopped(); err != nil || took != stopGrace {
			t.Errorf("%v after %v", err, took)
		}
		c.Close()
	})
}

// A client that had connected and asked before the stop is answered, although
// its connection had not been accepted yet.
func TestStopServesClientsInTheQueue(t *testing.T) {
	stopServesClientsInTheQueue(t, 0)
	stopServesClientsInTheQueue(t, 1000)
}

func stopServesClientsInTheQueue(t *testing.T, maxConns int) {
	l, err := socket.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var clients []net.Conn
	for range 20 {
		c, err := socket.Dial(t.Context(), l.Addr().String(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		clients = append(clients, c)
	}
	stopping, stop := context.WithCancel(t.Context())
	stop()
	served := make(chan error, 1)
	s := Server{Handle: echoAfter(0), DrainTimeout: time.Minute, MaxConns: maxConns}
	go func() { served <- s.Serve(stopping, l) }()
	for _, c := range clients {
		if got := readAll(t, c); got != "x" {
			t.Errorf("got %q", got)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if c, err := socket.Dial(t.Context(), l.Addr().String(), time.Minute); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// A request that was on its way at the stop is served.
func TestStopWaitsAMomentForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(time.Second), DrainTimeout: time.Minute})
		c := v.dial()
		synctest.Wait()
		v.stop()
		time.Sleep(stopGrace / 2)
		c.Write([]byte("x"))
		if got := readAll(t, c); got != "x" {
			t.Errorf("got %q", got)
		}
		if err := <-v.done; err != nil {
			t.Error(err)
		}
	})
}

// A client that asks again and again does not keep a server from stopping.
func TestStopIsNotPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			for b := make([]byte, 1); ; {
				c.BeginRead(0)
				_, err := c.Read(b)
				if c.EndRead(); err != nil {
					return nil
				}
				c.Write(b)
			}
		}
		v := serve(t, &Server{Handle: again, DrainTimeout: time.Minute})
		c := v.dial()
		go func() {
			for b := make([]byte, 1); ; {
				c.Write([]byte("x"))
				if _, err := c.Read(b); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		time.Sleep(time.Second)
		if took, err := v.stopped(); err != nil || took > idleGrace {
			t.Errorf("%v after %v", err, took)
		}
		time.Sleep(time.Second) // for the client to end
	})
}

// A connection that begins to wait for a next request after the stop has begun, since
// its request before was in flight, is let go at once.
func TestStopTellsThoseThatReadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{DrainTimeout: time.Minute, Handle: func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			for {
				c.BeginRead(time.Hour)
				_, err := c.Read(make([]byte, 1))
				if end := c.EndRead(); err != nil {
					if end != Stopped {
						t.Errorf("the reading ended by %v, want %v", end, Stopped)
					}
					return nil
				}
				time.Sleep(time.Second)
			}
		}})
		c := v.dial()
		c.Write([]byte("x"))
		synctest.Wait()
		if took, err := v.stopped(); took != time.Second || err != nil {
			t.Errorf("stopped after %v, %v, want 1s", took, err)
		}
		c.Close()
	})
}

// The rest of a request that has begun to come is in no more hurry than the
// stop, and no less: whether its first byte was there at once or not.
func TestReadRest(t *testing.T) {
	for _, test := range []struct {
		name        string
		first       time.Duration // when the first byte comes
		stopAfter   time.Duration // after that byte
		stillServed time.Duration // after the stop
	}{
		{"stopping for long", 0, time.Second, time.Second},
		{"stopping for long, and it had to wait", time.Minute, time.Second, time.Second},
		{"stopping just now", 0, 2*time.Second - stopGrace/2, stopGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			half := func(_ context.Context, c *Conn) Handler {
				defer c.Close()
				c.BeginRead(0)
				c.Read(make([]byte, 1))
				time.Sleep(2 * time.Second) // meanwhile the server stops
				c.ReadRest(time.Minute)
				c.Read(make([]byte, 1))
				c.EndRead()
				return nil
			}
			v := serve(t, &Server{Handle: half, DrainTimeout: time.Hour})
			c := v.dial()
			time.Sleep(test.first)
			c.Write([]byte("x"))
			time.Sleep(test.stopAfter)
			if took, err := v.stopped(); err != nil || took != test.stillServed {
				t.Errorf("%s: %v after %v", test.name, err, took)
			}
			c.Close()
		})
	}
}

// brokenListener fails with err a number of times before it accepts, and again
// as often after that, if it is to.
type brokenListener struct {
	socket.Listener
	err   error
	times int
	again int
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if l.times > 0 {
		l.times--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", l.err)}
	}
	l.times, l.again = l.again, 0
	return l.Listener.Accept()
}

func TestAcceptBacksOff(t *testing.T) {
	for _, kind := range []neterr.Kind{neterr.ProcessFiles, neterr.NoBuffer, neterr.NoMemory, neterr.Aborted, neterr.Accepting} {
		e := neterr.Errno(kind)
		synctest.Test(t, func(t *testing.T) {
			var n memnet.Net
			l := &brokenListener{Listener: n.Listen("server"), err: e, times: 10}
			var pauses []time.Duration
			s := Server{
				Handle: echoAfter(0), DrainTimeout: time.Minute, MaxConns: 1,
				Paused: func(err error, pause time.Duration) {
					if !errors.Is(err, e) {
						t.Errorf("paused for %v", err)
					}
					pauses = append(pauses, pause)
				},
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			start := time.Now()
			go func() { done <- s.Serve(ctx, l) }()
			c, _ := n.Dial(t.Context(), "server")
			c.Write([]byte("x"))
			if got := readAll(t, c); got != "x" {
				t.Errorf("got %q", got)
			}
			if len(pauses) != 10 || pauses[0] != 5*time.Millisecond || pauses[1] != 10*time.Millisecond || pauses[9] != time.Second {
				t.Errorf("paused for %v", pauses)
			}
			if took := time.Since(start); took != 3275*time.Millisecond {
				t.Errorf("served after %v", took)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// After a client was accepted the pauses begin anew.
func TestPausesBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &lab{t: t}
		l := &brokenListener{Listener: v.net.Listen("server"), err: neterr.Errno(neterr.ProcessFiles), times: 3, again: 2}
		var pauses []time.Duration
		v.serve(&Server{
			Handle: echoAfter(0), DrainTimeout: time.Minute,
			Paused: func(_ error, pause time.Duration) { pauses = append(pauses, pause) },
		}, l)
		for range 2 {
			c := v.dial()
			c.Write([]byte("x"))
			readAll(t, c)
		}
		const ms = time.Millisecond
		if want := []time.Duration{5 * ms, 10 * ms, 20 * ms, 5 * ms, 10 * ms}; !slices.Equal(pauses, want) {
			t.Errorf("paused for %v, want %v", pauses, want)
		}
		v.stopped()
	})
}

// A stop ends a pause.
func TestStopWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &lab{t: t}
		v.serve(&Server{Handle: echoAfter(0)}, &brokenListener{Listener: v.net.Listen("server"), err: neterr.Errno(neterr.ProcessFiles), times: 1000})
		time.Sleep(time.Minute + time.Millisecond)
		if took, err := v.stopped(); took != 0 || err != nil {
			t.Errorf("stopped after %v, %v", took, err)
		}
	})
}

// impatient is a listener without deadlines.
type impatient struct{ socket.Listener }

func (impatient) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// A listener that can't be told when to end is closed.
func TestListenerWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &lab{t: t}
		v.serve(&Server{Handle: echoAfter(0)}, impatient{v.net.Listen("server")})
		synctest.Wait()
		if took, err := v.stopped(); took != 0 || err != nil {
			t.Errorf("stopped after %v, %v", took, err)
		}
	})
}

// A client that connects a moment after the stop is served.
func TestStopAcceptsForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(0), DrainTimeout: time.Minute})
		synctest.Wait()
		v.stop()
		time.Sleep(idleGrace / 2)
		c := v.dial()
		c.Write([]byte("x"))
		if got := readAll(t, c); got != "x" {
			t.Errorf("got %q", got)
		}
		if err := <-v.done; err != nil {
			t.Error(err)
		}
	})
}

// When the server has stopped, it has also said that it does.
func TestStoppingIsToldBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := false
		v := serve(t, &Server{Handle: echoAfter(0), Stopping: func(int) time.Duration {
			time.Sleep(time.Minute)
			told = true
			return 0
		}})
		synctest.Wait()
		if _, err := v.stopped(); err != nil || !told {
			t.Errorf("%v; told: %v", err, told)
		}
	})
}

func TestAcceptGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memnet.Net
		s, broken := Server{Handle: echoAfter(0)}, errors.New("out of order")
		err := s.Serve(t.Context(), &brokenListener{Listener: n.Listen("server"), err: broken, times: 1})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

// What is unread when the text has been sent must not destroy it.
func TestFinishDropsUnreadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(0), DrainTimeout: time.Minute})
		c := v.dial()
		c.Write(append([]byte("x"), bytes.Repeat([]byte("y"), 64<<10)...))
		if got := readAll(t, c); got != "x" {
			t.Errorf("got %q", got)
		}
		if _, err := v.stopped(); err != nil {
			t.Error(err)
		}
	})
}

func TestFinishDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(0), DrainTimeout: time.Minute})
		c := v.dial()
		c.Write([]byte("x"))
		synctest.Wait()
		if took, err := v.stopped(); err != nil || took != lingerTimeout {
			t.Errorf("with a client that does not close: %v after %v", err, took)
		}
		c.Close()
	})
}

// With no time to drain, a server with nothing in flight has not cut anything
// off.
func TestNothingToDrain(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			v := serve(t, &Server{Handle: echoAfter(0)})
			synctest.Wait()
			if _, err := v.stopped(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A client that has its answer and does not close is not in flight.
func TestLingeringIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(0)})
		v.dial().Close() // nor is one that came and went
		c := v.dial()
		c.Write([]byte("x"))
		synctest.Wait()
		if _, err := v.stopped(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

// An able connection remembers what it is asked for.
type able struct {
	socket.Conn
	there  string // what TryRead reads, once
	noisy  bool   // there is unread input
	called []string
}

func (c *able) TryRead(p []byte) (int, error) {
	if c.there == "" {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, c.there)
	c.there = ""
	return n, nil
}

func (c *able) Peek() socket.PeerState {
	if c.noisy {
		return socket.Input
	}
	return socket.Quiet
}

func (c *able) call(what string) error {
	c.called = append(c.called, what)
	return nil
}

func (c *able) SetReadDeadline(time.Time) error  { return c.call("read deadline") }
func (c *able) SetWriteDeadline(time.Time) error { return nil }
func (c *able) Write(p []byte) (int, error)      { return len(p), c.call("write") }
func (c *able) Read([]byte) (int, error)         { return 0, errors.Join(io.EOF, c.call("read")) }
func (c *able) CloseWrite() error                { return c.call("half-close") }
func (c *able) Close() error                     { return c.call("close") }

// What is there at once is read without a deadline, and what is all read is
// answered without waiting for more.
func TestAtOnce(t *testing.T) {
	for _, test := range []struct {
		conn *able
		want string
	}{
		{&able{there: "x"}, "write, close"},
		{&able{}, "read deadline, read, write, close"},
		{&able{there: "x", noisy: true}, "write, half-close, read deadline, read, close"},
	} {
		c := Conn{Conn: test.conn, serving: &serving{stopping: t.Context()}, placed: true, first: true}
		c.BeginRead(time.Minute)
		c.Read(make([]byte, 8))
		c.EndRead()
		c.Answer("x")
		if got := strings.Join(test.conn.called, ", "); got != test.want {
			t.Errorf("%+v: %s, want %s", test.conn, got, test.want)
		}
	}
}

// A deadline that is set while a request without one is read, because its first
// bytes have come, holds when the rest has to be waited for. The next one has none.
func TestDeadlineForTheRestHolds(t *testing.T) {
	conn := &able{there: "x"}
	c := Conn{Conn: conn, serving: &serving{stopping: t.Context()}, placed: true}
	c.BeginRead(0)
	c.Read(make([]byte, 8))
	c.ReadRest(time.Minute)
	c.Read(make([]byte, 8))
	c.EndRead()
	c.BeginRead(0)
	c.Read(make([]byte, 8))
	c.EndRead()
	if got, want := strings.Join(conn.called, ", "), "read, read deadline, read, read deadline, read"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// slowConn takes a while to set a deadline.
type slowConn struct {
	net.Conn
	begins   chan struct{}
	deadline *time.Time
}

func (c slowConn) Read([]byte) (int, error) { return 0, nil }

func (c slowConn) SetReadDeadline(t time.Time) error {
	c.begins <- struct{}{}
	for range 1000 {
		runtime.Gosched()
	}
	*c.deadline = t
	return nil
}

// When the reading is over only the handler sets a deadline, even if the
// stop comes at that moment.
func TestDeadlineIsLeftAloneAfterReading(t *testing.T) {
	var deadline time.Time
	begins := make(chan struct{}, 1)
	v := &serving{stopping: t.Context(), readers: set{tell: (*Conn).hurry}}
	c := Conn{Conn: socket.Of(slowConn{nil, begins, &deadline}), serving: v, placed: true, first: true}
	c.BeginRead(0)
	c.Read(nil)
	var telling sync.WaitGroup
	telling.Go(v.readers.tellAll)
	<-begins
	if c.EndRead() != Stopped {
		t.Error("the stop did not come first")
	}
	if deadline.IsZero() || time.Until(deadline) > stopGrace {
		t.Errorf("the stop's deadline is still to be set: it is %v", deadline)
	}
	telling.Wait()
}
