package status

import (
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"balancelab/internal/neterr"
)

// How long a connection keeps its place while another one wants it. One that is
// idle between two requests gives way at once.
const (
	firstPatience  = 25 * time.Millisecond  // until the first request is whole
	activePatience = 250 * time.Millisecond // until an answer is written; nothing here takes so long
)

// A limit is a listener of whose connections at most size have a place, and are
// open. When all places are taken, a new connection gets that of another one,
// which is closed: the one that has been idle longest, or if none is idle, the
// one that has been busy longest, once it is out of patience. So the new one
// waits for at most activePatience; it is open meanwhile, one beyond size.
//
// A connection that is to stay open, such as a stream of events, is never idle,
// and would be taken for one that is stuck. There is a number of places for those
// alone: one that gets such a place gives its other one back.
type limit struct {
	net.Listener
	size  int             // how many places there are, at least 1
	stays int             // how many there are for connections that stay
	done  <-chan struct{} // when it is closed, Accept gives up

	mu      sync.Mutex         // guards what follows
	places  map[net.Conn]phase // the connections that have one
	kept    map[net.Conn]bool  // those that stay
	waiting bool               // Accept waits for a place
	freed   chan struct{}      // has a token if a place became free while it did
}

func newLimit(l net.Listener, size, stays int, done <-chan struct{}) *limit {
	return &limit{
		Listener: l, size: size, stays: stays, done: done,
		places: make(map[net.Conn]phase), kept: make(map[net.Conn]bool), freed: make(chan struct{}, 1),
	}
}

// errCrowded says that there is no place for one more connection that stays.
var errCrowded = errors.New("too many connections stay open; ask again later")

// keep gives conn a place to stay, or says that there is none.
func (l *limit) keep(conn net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= l.stays {
		return errCrowded
	}
	if _, has := l.places[conn]; has {
		l.giveBack(conn)
		l.kept[conn] = true
	}
	return nil
}

// giveBack frees conn's place.
func (l *limit) giveBack(conn net.Conn) {
	delete(l.places, conn)
	if l.waiting {
		select {
		case l.freed <- struct{}{}:
		default: // it was told already
		}
		l.waiting = false
	}
}

// A phase is what a connection does, and since when.
type phase struct {
	state http.ConnState // new (nothing or a part of a request came), active or idle
	since time.Time
}

// patience returns how much longer a connection keeps its place.
func (p phase) patience(now time.Time) time.Duration {
	age := now.Sub(p.since)
	switch p.state {
	case http.StateIdle:
		return 0
	case http.StateNew:
		return firstPatience - age
	}
	return activePatience - age
}

// before reports whether a connection in phase p gives way before one in q.
func (p phase) before(q phase) bool {
	if active := p.state == http.StateActive; active != (q.state == http.StateActive) {
		return !active
	}
	return p.since.Before(q.since)
}

// Accept implements [net.Listener]. What fails for now is tried again: then no
// place is taken yet.
func (l *limit) Accept() (net.Conn, error) {
	conn, err := l.next()
	if err != nil {
		return nil, err
	}
	for {
		evicted, wait := l.admit(conn)
		if evicted != nil {
			evicted.Close()
		}
		if wait <= 0 {
			return conn, nil
		}
		select {
		case <-l.freed:
		case <-time.After(wait):
		case <-l.done:
			conn.Close()
			return nil, net.ErrClosed
		}
	}
}

// The pauses after an Accept that failed: each is twice the one before.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// next returns the next connection. It pauses itself after an error that
// passes, such as too many open files: net/http knows fewer of them, and a stop
// would have to wait for its pause.
func (l *limit) next() (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		conn, err := l.Listener.Accept()
		if !neterr.Passing(err) {
			return conn, err
		}
		select {
		case <-time.After(pause):
		case <-l.done:
			return nil, net.ErrClosed
		}
	}
}

// admit gives conn a place. It returns the connection that has lost it, which
// the caller closes; nil if there was a free one. If no connection is out of
// patience it gives none, and returns how long to wait.
func (l *limit) admit(conn net.Conn) (evicted net.Conn, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.places) >= l.size {
		evicted, wait = l.candidate(now)
	}
	l.waiting = wait > 0
	if !l.waiting {
		delete(l.places, evicted)
		l.places[conn] = phase{http.StateNew, now}
	}
	return evicted, wait
}

// candidate returns the connection that gives way first, or how long it takes
// until there is one.
func (l *limit) candidate(now time.Time) (first net.Conn, wait time.Duration) {
	wait = math.MaxInt64
	for conn, p := range l.places {
		if left := p.patience(now); left > 0 {
			wait = min(wait, left)
		} else if first == nil || p.before(l.places[first]) {
			first = conn
		}
	}
	if first != nil {
		return first, 0
	}
	return nil, wait
}

// setState is told what a connection does, as [http.Server.ConnState] is. One
// that is over gives its place back. One that becomes idle while another one
// waits loses it at once: it may be busy again before Accept has seen it idle.
func (l *limit) setState(conn net.Conn, state http.ConnState) {
	if l.track(conn, state) {
		conn.Close()
	}
}

// track is setState; it reports whether conn has lost its place and is to be
// closed.
func (l *limit) track(conn net.Conn, state http.ConnState) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := state == http.StateClosed || state == http.StateHijacked
	if l.kept[conn] {
		if over {
			delete(l.kept, conn)
		}
		return false
	}
	if _, has := l.places[conn]; !has {
		return false // it has lost it already
	}
	lost = state == http.StateIdle && l.waiting
	if !over && !lost {
		l.places[conn] = phase{state, time.Now()}
		return false
	}
	l.giveBack(conn)
	return lost
}
