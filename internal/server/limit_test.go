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

// A connection of which a part has come does not give way.
func TestHalfARequestStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: func(ctx context.Context, c *Conn) Handler {
			c.BeginRead(time.Minute)
			_, err := io.ReadFull(c, make([]byte, 2))
			c.EndRead()
			if err != nil {
				c.Answer("late")
			} else {
				c.Answer("answer")
			}
			return nil
		}, MaxConns: 1, DrainTimeout: time.Hour})
		half := v.dial()
		synctest.Wait()
		time.Sleep(silenceMin / 2)
		half.Write([]byte("x"))
		synctest.Wait()
		next := v.dial()
		next.Write([]byte("xx"))
		time.Sleep(10 * silenceMin)
		half.Write([]byte("x"))
		for _, c := range []*memnet.Conn{half, next} {
			if got := readAll(t, c); got != "answer" {
				t.Errorf("got %q", got)
			}
		}
		v.stopped()
	})
}

// Connections give way one after the other, a moment apart, however long the
// handler of the first one takes to end.
func TestGiveWayOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &serving{Server: &Server{}, stopping: t.Context(), places: make(chan struct{}, 2)}
		var n memnet.Net
		n.Listen("server")
		silent := func() *Conn {
			there, _ := n.Dial(t.Context(), "server")
			c := &Conn{Conn: there, serving: v, placed: true}
			c.BeginRead(time.Minute)
			go c.Read(make([]byte, 1))
			synctest.Wait()
			return c
		}
		expect := func(want time.Duration) {
			t.Helper()
			if got := v.silent.giveWay(); got != want {
				t.Errorf("the next one in %v, want %v", got, want)
			}
		}
		expect(silenceMin)
		first := silent()
		time.Sleep(silenceMin / 4)
		second, third := silent(), silent()
		expect(silenceMin * 3 / 4)
		time.Sleep(silenceMin)
		expect(silenceMin / 100)
		expect(silenceMin / 100)
		for c, want := range map[*Conn]ReadEnd{first: GaveWay, second: GaveWay, third: ByItself} {
			if got := c.EndRead(); got != want {
				t.Errorf("the reading was ended by %d, want %d", got, want)
			}
		}
		expect(silenceMin)
		third.Close()
	})
}

// A connection whose reading is over is silent no more: neither after a request
// that did not come, nor when its handler ends without a word.
func TestNoConnectionIsSilentForEver(t *testing.T) {
	for name, handle := range map[string]Handler{
		"a request that is late":     func(_ context.Context, c *Conn) Handler { readLate(c); c.EndRead(); c.Close(); return nil },
		"a handler without EndRead":  func(_ context.Context, c *Conn) Handler { readLate(c); c.Close(); return nil },
		"a request that was refused": func(_ context.Context, c *Conn) Handler { readLate(c); c.EndRead(); c.Answer("x"); return nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			var v *serving
			l := serve(t, &Server{MaxConns: 1, Handle: func(ctx context.Context, c *Conn) Handler {
				v = c.serving
				return handle(ctx, c)
			}})
			c := l.dial()
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := v.silent.list.Len(); n != 0 || len(v.places) != 0 || v.inFlight.Load() != 0 {
				t.Errorf("%s: %d silent connections, %d places, %d in flight", name, n, len(v.places), v.inFlight.Load())
			}
			c.Close()
			l.stopped()
		})
	}
}

// Without a limit no connection needs a place, and silent ones are not listed.
func TestWithoutALimitNoneIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v *serving
		l := serve(t, &Server{Handle: func(ctx context.Context, c *Conn) Handler {
			v = c.serving
			return telling(ctx, c)
		}})
		c := l.dial()
		synctest.Wait()
		if n := v.silent.list.Len(); n != 0 {
			t.Errorf("%d are listed", n)
		}
		c.Close()
		l.stopped()
	})
}

// readLate reads a request that does not come.
func readLate(c *Conn) {
	c.BeginRead(time.Minute)
	c.Read(make([]byte, 1))
}

// What had to give way just when the server stopped is told that it stops.
func TestStopComesBeforeGivingWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: func(_ context.Context, c *Conn) Handler {
			readLate(c)
			time.Sleep(time.Second) // the server stops
			end := c.EndRead()
			c.Answer(map[ReadEnd]string{Stopped: "stopping", GaveWay: "gave way"}[end])
			return nil
		}, MaxConns: 1, DrainTimeout: time.Minute})
		silent := v.dial()
		synctest.Wait()
		next := v.dial()
		time.Sleep(silenceMin + silenceMin/2)
		v.stop()
		if got := readAll(t, silent); got != "stopping" {
			t.Errorf("it read %q", got)
		}
		next.Close()
		<-v.done
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
		v := serve(t, &Server{Handle: telling, Stopping: func(n int) time.Duration {
			told = append(told, n)
			return time.Minute
		}})
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
		v := serve(t, &Server{Handle: again, Stopping: func(n int) time.Duration {
			told = n
			return time.Minute
		}})
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
