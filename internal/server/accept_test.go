package server

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/socket"
)

// However many acceptors come back at once, no more are counted than stay, not even
// for a moment: another one that counts itself out might see that it is the last, or
// that it is not.
func TestEnoughAccept(t *testing.T) {
	const enough = 3
	v := &serving{enough: enough}
	v.acceptors.Store(enough)
	var again sync.WaitGroup
	var most atomic.Int32
	for range 8 {
		again.Go(func() {
			for range 10_000 {
				if v.acceptsAgain() {
					t.Error("one too many stays")
				}
				if n := v.acceptors.Load(); n > enough {
					most.Store(n)
				}
			}
		})
	}
	again.Wait()
	if most.Load() > 0 || v.acceptors.Load() != enough {
		t.Errorf("%d were counted, of %d at most; %d are at the end", most.Load(), enough, v.acceptors.Load())
	}
}

// First handlers that wait keep nobody from being accepted, however many they are:
// at first, and again when all of them have gone.
func TestHandlersThatWaitDoNotKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{Handle: func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			text := make([]byte, 1)
			if _, err := c.Read(text); err == nil {
				c.Write(text)
			}
			return nil
		}})
		for range 2 {
			silent := make([]io.Closer, 50)
			for i := range silent {
				silent[i] = v.dial()
			}
			start := time.Now()
			asks := v.dial()
			asks.Write([]byte("x"))
			if got := readAll(t, asks); got != "x" || time.Since(start) != 0 {
				t.Errorf("got %q after %v", got, time.Since(start))
			}
			for _, c := range silent {
				c.Close()
			}
			synctest.Wait()
		}
		v.stop()
		<-v.done
	})
}

// An awaiter notes that it was told to give up, and ends the handler's waiting.
type awaiter chan struct{}

func (a awaiter) GiveUp() { close(a) }

// Whoever waits for something else is told to give up when the drain's time is over,
// and not before; and not at all if it has panicked or has ended its waiting.
func TestAwaitersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, after awaiter = make(chan struct{}), make(chan struct{})
		panicked := false
		v := serve(t, &Server{DrainTimeout: time.Minute, Handle: func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			c.BeginRead(0)
			b := make([]byte, 1)
			c.Read(b)
			c.EndRead()
			switch string(b) {
			case "w": // waits
				c.BeginAwait(told)
				<-told
				if !c.EndAwait() || c.EndAwait() {
					t.Error("it was told, and that only once")
				}
			case "e": // has ended its waiting
				c.BeginAwait(after)
				if c.EndAwait() {
					t.Error("it was told before the end")
				}
				time.Sleep(2 * time.Minute)
			case "p":
				c.BeginAwait(after)
				defer c.EndAwait()
				panic("on purpose")
			}
			return nil
		}, Panicked: func(any, []byte) { panicked = true }})
		for _, kind := range []string{"w", "e", "p"} {
			v.dial().Write([]byte(kind))
		}
		synctest.Wait()
		start := time.Now()
		v.stop()
		<-told
		if took := time.Since(start); took != time.Minute {
			t.Errorf("told after %v", took)
		}
		if err := <-v.done; !errors.Is(err, ErrDrainTimeout) || !panicked {
			t.Errorf("%v, panicked: %v", err, panicked)
		}
		select {
		case <-after:
			t.Error("one was told that does not wait")
		default:
		}
	})
}

// A oneTimeListener accepts once, and then never again.
type oneTimeListener struct {
	socket.Listener
	accepted bool
}

var errOutOfOrder = errors.New("out of order")

func (l *oneTimeListener) Accept() (net.Conn, error) {
	if l.accepted {
		return nil, errOutOfOrder
	}
	l.accepted = true
	return l.Listener.Accept()
}

// When accepting has become impossible, a connection without a request is let go.
func TestReadersDoNotOutliveAccepting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := false
		v := &lab{t: t}
		l := v.net.Listen("server")
		silent := v.dial()
		defer silent.Close()
		v.serve(&Server{Handle: func(_ context.Context, c *Conn) Handler {
			defer c.Close()
			c.BeginRead(0)
			c.Read(make([]byte, 1))
			read = c.EndRead() == Stopped
			return nil
		}}, &oneTimeListener{Listener: l})
		if err := <-v.done; !errors.Is(err, errOutOfOrder) || !read {
			t.Errorf("%v; let go: %v", err, read)
		}
	})
}

// A connection that had to give way just when its request came has no deadline for
// the next one.
func TestNoDeadlineAfterGivingWay(t *testing.T) {
	conn := &able{}
	v := &serving{stopping: t.Context(), places: make(chan struct{}, 1)}
	c := &Conn{Conn: conn, serving: v, placed: true}
	c.BeginRead(0)
	c.Read(make([]byte, 1))
	c.silence.since = time.Now().Add(-silenceMin)
	v.silent.giveWay()
	if c.EndRead() != GaveWay {
		t.Error("it did not give way")
	}
	conn.called = nil
	c.BeginRead(0)
	if got := strings.Join(conn.called, ", "); got != "read deadline" {
		t.Errorf("called: %q", got)
	}
}
