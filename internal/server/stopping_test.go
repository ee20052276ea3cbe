package server

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The one that is told of the stop may say how long there is. When that is over
// the server ends, whatever time it had before.
func TestStoppingShortensTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := serve(t, &Server{
			Handle: echoAfter(time.Hour), DrainTimeout: time.Minute,
			Stopping: func(int) time.Duration { return 4 * time.Second },
		})
		c := v.dial()
		c.Write([]byte("x"))
		answer := make(chan string, 1)
		go func() {
			answer <- readAll(t, c)
			c.Close()
		}()
		synctest.Wait()
		took, err := v.stopped()
		if took != 4*time.Second || !errors.Is(err, ErrDrainTimeout) {
			t.Errorf("after %v: %v, want %v after 4s", took, err, ErrDrainTimeout)
		}
		if got := <-answer; got != "cut off" {
			t.Errorf("the client read %q", got)
		}
	})
}
