package server

import (
	"context"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
)

// telling is a handler that answers a request after a second, and tells every
// other client what ended the reading.
func telling(ctx context.Context, c *Conn) Handler {
	c.BeginRead(time.Hour)
	_, err := c.Read(make([]byte, 1))
	switch end := c.EndRead(); {
	case err == nil:
		time.Sleep(time.Second)
		c.Answer("answer")
	case end == Stopped:
		c.Finish("stopping")
	case end == GaveWay:
		c.Answer("gave way")
	default:
		c.Close()
	}
	return nil
}

// At the limit silent connections give way, the longest silent one first, once
// they have had a second. What has been sent is served.
func TestSilentConnectionsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: telling, MaxConns: 3, DrainTimeout: time.Minute})
		start := time.Now()
		var silent []*memnet.Conn
		for range 3 {
			silent = append(silent, v.dial())
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		silent[1].Write([]byte("x"))
		honest := v.dial()
		honest.Write([]byte("x"))
		if got := readAll(t, honest); got != "answer" || time.Since(start) != 2*time.Second {
			t.Errorf("the honest client read %q after %v", got, time.Since(start))
		}
		if got := readAll(t, silent[0]); got != "gave way" {
			t.Errorf("the longest silent client read %q", got)
		}
		if got := readAll(t, silent[1]); got != "answer" {
			t.Errorf("the one that spoke read %q", got)
		}
		time.Sleep(time.Minute)
		if !silent[2].Quiet() {
			t.Error("a silent client whose place is not needed is let go")
		}
		v.stop()
		if got := readAll(t, silent[2]); got != "stopping" {
			t.Errorf("at the stop it read %q", got)
		}
		if err := <-v.done; err != nil {
			t.Error(err)
		}
	})
}

// What is in flight never gives way.
func TestRequestsInFlightStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: echoAfter(time.Minute), MaxConns: 2, DrainTimeout: time.Hour})
		start := time.Now()
		answers := make(chan time.Duration)
		for range 4 {
			c := v.dial()
			c.Write([]byte("x"))
			go func() {
				if got := readAll(t, c); got != "x" {
					t.Errorf("got %q", got)
				}
				answers <- time.Since(start)
			}()
		}
		for _, want := range []time.Duration{1, 1, 2, 2} {
			if got := <-answers; got != want*time.Minute {
				t.Errorf("answered after %v, want %v min", got, int(want))
			}
		}
		v.stopped()
	})
}

// A hundred times as many silent clients as there are places keep an honest one
// out for a bounded time.
func TestManySilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: telling, MaxConns: 20, DrainTimeout: time.Minute})
		var silent []*memnet.Conn
		for range 400 {
			silent = append(silent, v.dial())
		}
		honest := v.dial()
		honest.Write([]byte("x"))
		start := time.Now()
		if got := readAll(t, honest); got != "answer" || time.Since(start) > 25*time.Second {
			t.Errorf("the honest client read %q after %v", got, time.Since(start))
		}
		for _, c := range silent {
			c.Close()
		}
		v.stopped()
	})
}

// Clients that wait for a place when the server stops are told, and not reset:
// the one that was accepted, and those in the kernel's queue.
func TestStopTellsThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: telling, MaxConns: 1, DrainTimeout: time.Minute})
		busy := v.dial()
		busy.Write([]byte("x"))
		synctest.Wait()
		var waiting []*memnet.Conn
		for range 10 {
			c := v.dial()
			c.Write([]byte("x"))
			waiting = append(waiting, c)
		}
		synctest.Wait()
		v.stop()
		for i, c := range waiting {
			if got := readAll(t, c); got != "stopping" {
				t.Errorf("client %d read %q", i, got)
			}
		}
		if got := readAll(t, busy); got != "answer" {
			t.Errorf("the one in flight read %q", got)
		}
		if err := <-v.done; err != nil {
			t.Error(err)
		}
	})
}

// The server says once that it stops, and what is in flight then: requests, and
// not connections.
func TestStoppingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int
		v := serve(t, &Server{Handle: telling, DrainTimeout: time.Minute, Stopping: func(n int) { told = append(told, n) }})
		v.dial() // silent
		for range 3 {
			v.dial().Write([]byte("x"))
		}
		synctest.Wait()
		v.stopped()
		if len(told) != 1 || told[0] != 3 {
			t.Errorf("told %v, want 3", told)
		}
	})
}

// The next request of a kept connection is not in flight before it comes.
func TestIdleIsNotInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := -1
		again := func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			for {
				c.BeginRead(0)
				_, err := c.Read(make([]byte, 1))
				if end := c.EndRead(); err != nil {
					if end == Stopped {
						c.Finish("not taken")
					}
					return nil
				}
				c.Write([]byte("y"))
			}
		}
		v := serve(t, &Server{Handle: again, DrainTimeout: time.Minute, Stopping: func(n int) { told = n }})
		c := v.dial()
		c.Write([]byte("x"))
		c.Read(make([]byte, 1))
		synctest.Wait()
		start := time.Now()
		v.stop()
		if got := readAll(t, c); got != "not taken" || time.Since(start) != idleGrace {
			t.Errorf("it read %q after %v", got, time.Since(start))
		}
		<-v.done
		if told != 0 {
			t.Errorf("%d in flight", told)
		}
	})
}

// A request that comes just when its connection has to give way is served, or
// its client is told; it is not lost silently.
func TestGiveWayMeetsARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: telling, MaxConns: 1, DrainTimeout: time.Minute})
		late := v.dial()
		synctest.Wait()
		v.dial().Write([]byte("x"))
		time.Sleep(silenceMin)
		late.Write([]byte("x"))
		got, err := io.ReadAll(late)
		if text := string(got); text != "answer" && text != "gave way" || err != nil && err != os.ErrDeadlineExceeded {
			t.Errorf("it read %q, %v", text, err)
		}
		v.stopped()
	})
}
