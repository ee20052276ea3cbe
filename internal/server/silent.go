package server

import (
	"container/list"
	"sync"
	"time"

	"balancelab/internal/socket"
)

// silenceMin is how long a connection has to be silent before it gives way.
const silenceMin = time.Second

// silentConns are the connections that wait for a request of which nothing has
// come, the longest silent one first. Only they can give way to a new connection.
type silentConns struct {
	mu   sync.Mutex // guards all below, and the silence of each connection
	list list.List  // of *Conn
}

// A silence is a connection's place in silentConns. Only the connection's own
// goroutine makes it, and lets it go.
type silence struct {
	since   time.Time
	element *list.Element // nil if it is not in the list any more
	gaveWay bool
}

func (s *silentConns) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.silence = &silence{since: time.Now(), element: s.list.PushBack(c)}
}

// spoke takes c out of the list: something has come on it.
func (s *silentConns) spoke(c *Conn) {
	if c.silence == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeOut(c)
}

// remove takes c out of the list, and reports whether it had to give way.
func (s *silentConns) remove(c *Conn) (gaveWay bool) {
	if c.silence == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeOut(c)
	gaveWay = c.silence.gaveWay
	c.silence = nil
	return gaveWay
}

func (s *silentConns) takeOut(c *Conn) {
	if c.silence.element != nil {
		s.list.Remove(c.silence.element)
		c.silence.element = nil
	}
}

// giveWay ends the reading of the connection that has been silent longest, if
// that is long enough. It returns when to try the next one, which is a moment
// later: the place is given back when the handler has ended.
func (s *silentConns) giveWay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.list.Front()
	if first == nil {
		return silenceMin
	}
	c := first.Value.(*Conn)
	if wait := silenceMin - time.Since(c.silence.since); wait > 0 {
		return wait
	}
	s.takeOut(c)
	c.silence.gaveWay = true
	c.SetReadDeadline(socket.Interrupt)
	return silenceMin / 100
}
