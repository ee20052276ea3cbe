package server

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
