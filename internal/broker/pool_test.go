package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/socket"
)

// idling is an idle connection.
type idling struct {
	socket.Conn
	noisy  bool // its worker has closed it, or has written
	closed int  // how often
	at     time.Time
}

func (c *idling) Quiet() bool { return !c.noisy }

func (c *idling) Close() error {
	c.closed++
	c.at = time.Now()
	return nil
}

// idlings returns n idle connections.
func idlings(n int) []*idling {
	all := make([]*idling, n)
	for i := range all {
		all[i] = &idling{}
	}
	return all
}

// The connection that was used last is used next: those that are not needed can
// then grow old. What is no longer quiet is closed, and passed over.
func TestTake(t *testing.T) {
	p := NewIdlePool(10)
	defer p.Close()
	c := idlings(3)
	for _, conn := range c {
		p.put(1, conn)
	}
	if p.take(0) != nil {
		t.Error("a connection to another worker is taken")
	}
	c[2].noisy = true
	if got := p.take(1); got != c[1] {
		t.Errorf("it is not the one that was used last: %v", got)
	}
	if c[0].closed != 0 || c[1].closed != 0 || c[2].closed != 1 {
		t.Errorf("closed: %d, %d, %d times, want 0, 0, 1", c[0].closed, c[1].closed, c[2].closed)
	}
	if p.take(1) != c[0] || p.take(1) != nil {
		t.Error("the other one is not taken, once")
	}
	if (*IdlePool)(nil).take(0) != nil {
		t.Error("a pool that is not there has a connection")
	}
}

// The limit is for each worker.
func TestLimitIsForEachWorker(t *testing.T) {
	p := NewIdlePool(2)
	c := idlings(6)
	for i, conn := range c {
		p.put(i%2, conn)
	}
	for i, conn := range c {
		if want := i / 4; conn.closed != want {
			t.Errorf("connection %d is closed %d times, want %d", i, conn.closed, want)
		}
	}
	p.Close()
	for i, conn := range c {
		if conn.closed != 1 {
			t.Errorf("connection %d is closed %d times, want once", i, conn.closed)
		}
	}
}

// A connection is closed when it was idle for a minute: not before, not after,
// to whichever worker it is. While nothing is idle no timer runs.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewIdlePool(10)
		state := func() (*time.Timer, int) {
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.sweep, p.count
		}
		check := func() {
			if timer, n := state(); timer != nil || n != 0 {
				t.Errorf("%d connections, timer %v", n, timer)
			}
		}
		check()
		for range 2 { // the second time it begins anew
			start := time.Now()
			ages := []time.Duration{0, 1, 10 * time.Second, 20 * time.Second, 25 * time.Second, 61 * time.Second}
			workers := []int{1, 1, 2, 2, 0, 2}
			c := idlings(len(ages))
			for i, conn := range c {
				time.Sleep(time.Until(start.Add(ages[i])))
				before, _ := state()
				p.put(workers[i], conn)
				if after, _ := state(); i > 0 && after != before {
					t.Error("one more timer runs")
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			for i, conn := range c {
				if idle := conn.at.Sub(start) - ages[i]; conn.closed != 1 || idle != time.Minute {
					t.Errorf("connection %d: closed %d times, after %v", i, conn.closed, idle)
				}
			}
			check()
		}
	})
}

// A pool that is closed leaves no timer.
func TestCloseStopsTheTimer(t *testing.T) {
	p := NewIdlePool(1)
	p.put(0, &idling{})
	timer := p.sweep
	p.Close()
	if p.sweep != nil || timer.Stop() {
		t.Error("the timer runs on")
	}
	p.Close()
}

// What had been idle for longer than a connection that failed is discarded, and
// no other worker's.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewIdlePool(10)
		defer p.Close()
		c := idlings(6)
		for i, conn := range c {
			p.put(i%2, conn)
			if i%2 == 1 {
				time.Sleep(time.Second)
			}
		}
		p.discard(0, time.Now().Add(-2*time.Second)) // when the second pair was put
		for i, conn := range c {
			if want := i == 0 || i == 2; (conn.closed == 1) != want {
				t.Errorf("connection %d: closed %d times", i, conn.closed)
			}
		}
		if p.count != 4 {
			t.Errorf("%d connections are counted, want 4", p.count)
		}
	})
}
