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

// However many acceptors come back at once, there are never more than enough, and
// none is counted that then leaves.
func TestEnoughAccept(t *testing.T) {
	v := &serving{enough: 3}
	var again sync.WaitGroup
	var stay atomic.Int32
	for range 100 {
		again.Go(func() {
			if v.acceptsAgain() {
				stay.Add(1)
			}
		})
	}
	again.Wait()
	if stay.Load() != 3 || v.acceptors.Load() != 3 {
		t.Errorf("%d stay, and %d are counted; want 3", stay.Load(), v.acceptors.Load())
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
