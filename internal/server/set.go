package server

import "sync"

// A set is connections that wait, and that are to be told when an event comes.
// To be in one costs a connection no allocation and no goroutine.
type set struct {
	tell func(*Conn) // tells a connection; it must not wait, nor use the set

	mu    sync.Mutex // guards all below, and the place of each connection in it
	conns []*Conn
	told  bool // the event has come
}

// add puts c in. If the event has come already, c is told at once.
func (s *set) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.place = len(s.conns)
	s.conns = append(s.conns, c)
	if s.told {
		s.tell(c)
	}
}

// remove takes c out, and reports whether it was told. It is not told afterwards.
func (s *set) remove(c *Conn) (told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.conns) - 1
	s.conns[c.place], s.conns[last].place = s.conns[last], c.place
	s.conns[last] = nil
	s.conns = s.conns[:last]
	return s.told
}

// tellAll tells all that are in the set, and all that will be.
func (s *set) tellAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = true
	for _, c := range s.conns {
		s.tell(c)
	}
}
