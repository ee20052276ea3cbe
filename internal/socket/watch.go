package socket

import (
	"context"
	"sync"
	"time"
)

// watchAfter is how long a connection is only listed, and how often those that
// the kernel does not watch are looked at.
const watchAfter = 100 * time.Millisecond

// A Watch tells when the peers of connections leave, while those connections
// wait for something else: a client's connection for a worker's answer, say.
//
//	var watch socket.Watch
//	go watch.Run(ctx)       // the caller waits for it
//	…
//	watch.Add(&x.ticket, conn, x)
//	defer watch.Remove(&x.ticket)
//
// Waiting is cheap. A connection is only listed at first, which costs no system
// call; most requests are over before more happens. One that waits for 100 to
// 200 milliseconds is then given to the kernel: on Linux one epoll instance
// watches all of them, and costs nothing while nothing happens. What the kernel
// does not watch is looked at every 100 ms, by [Conn.Peek]: connections on other
// systems, those of package net, those in memory, and those that are hidden in
// another type. If there is nothing to look at, nothing ticks.
//
// That a peer has left is told within 300 ms, if the machine keeps up.
//
// Its zero value is ready to use, and a nil Watch watches nothing. All methods
// may be called from many goroutines.
type Watch struct {
	// EndIsGone makes a peer's end of stream mean that it has left. Otherwise
	// only a reset does, since a peer that half-closed still reads. Where
	// connections are looked at by Peek, an end behind unread input is not seen.
	EndIsGone bool

	mu sync.Mutex // guards all below, and the tickets
	// young are the tickets that are only listed: new ones are added to
	// young[turn], and those of the other list were added before the latest tick.
	young [2][]*Ticket
	turn  int
	swept []*Ticket // looked at every tick
	// polled are those that the kernel watches, by file descriptor; nil where
	// there is none. The latest generation tells a descriptor's connection from
	// those that had the same descriptor before.
	polled     []*Ticket
	generation int32
	timer      *time.Timer // of the next tick; nil unless Run is running
	ticking    bool        // timer is set
}

// A Ticket is one connection's place in a [Watch]. It is part of what waits, so
// that watching allocates nothing for each request. It must not be copied while
// it is in a Watch. Its zero value is ready to use, and it may be used again.
type Ticket struct {
	conn       Conn
	waiter     Waiter
	list       *[]*Ticket // of the Watch; nil if it is in none
	place      int        // the index in list
	generation int32
	gone       bool // the waiter was told
}

// A Waiter waits for something on behalf of a peer.
type Waiter interface {
	// PeerGone says that the peer has left: state is [Reset], or [Ended] if
	// [Watch.EndIsGone]. It is called at most once for each Add, and never after
	// Remove has returned. The Watch is locked meanwhile: PeerGone must return
	// soon, must not call the Watch, and must not wait for a lock under which
	// another goroutine calls it.
	PeerGone(state PeerState)
}

// Add begins to watch conn, for waiter. Until t is removed conn belongs to the
// Watch: no other goroutine uses it but to set its deadlines. Both its directions
// must be open on this side. Adding a ticket that is in a Watch panics.
//
// On Linux conn should be the very one that Accept or Dial returned: the kernel
// does not watch one that is embedded in another type.
func (w *Watch) Add(t *Ticket, conn Conn, waiter Waiter) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.list != nil {
		panic("socket: a ticket was added twice")
	}
	t.conn, t.waiter, t.gone = conn, waiter, false
	t.join(&w.young[w.turn])
	if !w.ticking && w.timer != nil {
		w.tickLater()
	}
}

// Remove ends the watching. It reports whether the waiter was told that the peer
// has left. Once Remove has returned the waiter is neither told nor being told. A
// ticket that is in no Watch may be removed, too.
//
// Remove comes before the connection is used again, and before it is closed.
func (w *Watch) Remove(t *Ticket) (gone bool) {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(t)
	return t.gone
}

// Run watches until ctx is done. When it returns nothing that it started is
// running, and no waiter is told any more. A Watch is run once; what is added
// before or after is only listed. On Linux it holds one file open, from when the
// first connection has waited for long.
func (w *Watch) Run(ctx context.Context) {
	poller := poller{watch: w}
	defer poller.close()
	timer := w.start()
	defer w.stop()
	for {
		select {
		case <-timer.C:
			w.tick(&poller)
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watch) start() *time.Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer, w.ticking = time.NewTimer(watchAfter), true
	return w.timer
}

func (w *Watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.timer = nil
}

func (w *Watch) tickLater() {
	w.ticking = true
	w.timer.Reset(watchAfter)
}

// tick watches those that have been listed for long enough, and looks at those
// that the kernel does not watch. The lock is given back between any two, so
// that no request waits for thousands of others.
func (w *Watch) tick(p *poller) {
	for w.promote(p) {
	}
	for i := w.sweepable() - 1; i >= 0; i-- {
		w.look(i)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn = 1 - w.turn
	w.ticking = false
	if len(w.young[0])+len(w.young[1])+len(w.swept) > 0 {
		w.tickLater()
	}
}

// promote moves one of the tickets that are old enough to those that are
// watched, and reports whether there was one.
func (w *Watch) promote(p *poller) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.young[1-w.turn]
	if len(old) == 0 {
		return false
	}
	t := old[len(old)-1]
	w.generation++
	if fd, ok := p.add(t.conn, w.generation); ok {
		t.leave()
		w.poll(t, fd)
	} else {
		t.leave()
		t.join(&w.swept)
	}
	return true
}

func (w *Watch) sweepable() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.swept)
}

// look looks at ticket i of those that are swept, if there are still that many.
// Going from the last to the first misses none: the place of one that leaves is
// taken by the last, which has been looked at or is yet to be.
func (w *Watch) look(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i >= len(w.swept) {
		return
	}
	t := w.swept[i]
	state := t.conn.Peek()
	if state == Unknown {
		w.drop(t) // there is nothing to see, nor will there be
	}
	w.saw(t, state)
}

// event says what the kernel saw of a descriptor's connection. Another
// generation is that of a connection which had the descriptor before.
func (w *Watch) event(fd int, generation int32, state PeerState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.polled[fd]; t != nil && t.generation == generation {
		w.saw(t, state)
	}
}

// saw tells the waiter if its peer has left.
func (w *Watch) saw(t *Ticket, state PeerState) {
	if state == Reset || state == Ended && w.EndIsGone {
		waiter := t.waiter
		w.drop(t)
		t.gone = true
		waiter.PeerGone(state)
	}
}

// poll lists a ticket by its file descriptor. A ticket that is still there was
// not removed before its connection was closed, and is no longer watched.
func (w *Watch) poll(t *Ticket, fd int) {
	for len(w.polled) <= fd {
		w.polled = append(w.polled, nil)
	}
	t.list, t.place, t.generation = &w.polled, fd, w.generation
	w.polled[fd] = t
}

// drop takes a ticket out of its list.
func (w *Watch) drop(t *Ticket) {
	switch {
	case t.list == nil:
		return
	case t.list != &w.polled:
		t.leave()
	case w.polled[t.place] == t:
		w.polled[t.place] = nil
	}
	t.list, t.conn, t.waiter = nil, nil, nil
}

// join adds t to a list.
func (t *Ticket) join(list *[]*Ticket) {
	t.list, t.place = list, len(*list)
	*list = append(*list, t)
}

// leave takes t out of its list, and puts the last one in its place.
func (t *Ticket) leave() {
	list := *t.list
	last := len(list) - 1
	list[t.place], list[last].place = list[last], t.place
	list[last] = nil
	*t.list = list[:last]
}
