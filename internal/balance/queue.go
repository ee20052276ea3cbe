package balance

import (
	"container/list"
	"slices"
	"sync/atomic"
	"time"
)

// A queue is the requests that wait for a place. Those that have failed at a
// worker come before the new ones: they have had their turn already.
type queue struct {
	failed list.List // of *wait, in the order in which they came to wait
	fresh  list.List // the same, of requests that were not assigned yet
	most   int       // that ever waited at once

	// wake calls Pool.serveAfterCoolDown when the next cool-down is over. It is
	// nil while nothing waits, or nothing cools.
	wake   *time.Timer
	wakeAt time.Time
}

// A wait is one request's place in the queue.
type wait struct {
	request  *Request
	selector int
	since    time.Time
	element  *list.Element // nil once it has left the queue
	list     *list.List
	place    chan Lease // has room for the one lease that it is given, and for the one of Wake
	woken    atomic.Bool
}

// A Queue says how many requests wait at one moment.
type Queue struct {
	Waiting int
	Oldest  time.Duration // how long the one has waited that waits longest; 0 if none waits
	Most    int           // the most that waited at once
}

func (q *queue) len() int { return q.failed.Len() + q.fresh.Len() }

// Place returns a channel on which a waiting request gets the lease of the place
// that it is given. It is nil if the request does not wait: Assign has given it a
// worker, or it has no worker left.
//
// A request that is no longer to wait is taken out with [Pool.Leave]. One that no
// worker is left for while it waits gets the zero Lease: see [Request.Ended].
func (r *Request) Place() <-chan Lease {
	if r.wait == nil {
		return nil
	}
	return r.wait.place
}

// Ended reports whether the pool has ended the wait of r, since no worker is left
// for it. It may be called after Leave.
func (r *Request) Ended() bool { return r.ended }

// Wake ends the wait of another goroutine at Place, which gets the zero Lease if
// it was given no place yet. It may be called more than once, until that goroutine
// calls [Pool.Leave].
func (r *Request) Wake() { r.wait.wake() }

// WakeAfter calls Wake after d, unless the timer is stopped before. A call that
// comes too late is without effect.
func (r *Request) WakeAfter(d time.Duration) *time.Timer { return time.AfterFunc(d, r.wait.wake) }

func (w *wait) wake() {
	if w.woken.CompareAndSwap(false, true) {
		w.place <- Lease{}
	}
}

// enqueue lets r wait, if it may ever get a place.
func (p *Pool) enqueue(selector int, r *Request) {
	r.wait = nil
	if !p.queues || r.n > 0 && int(r.n) >= len(p.members) || p.hopeless(r) {
		return
	}
	w := &wait{request: r, selector: selector, since: time.Now(), list: &p.queue.fresh, place: make(chan Lease, 2)}
	if r.n > 0 {
		w.list = &p.queue.failed
	}
	w.element = w.list.PushBack(w)
	r.wait = w
	p.queue.most = max(p.queue.most, p.queue.len())
	p.wakeLater()
}

// Leave takes a request out of the queue. If it was given a place meanwhile,
// Leave returns that place's lease and true, and the caller releases it.
func (p *Pool) Leave(r *Request) (Lease, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := r.wait
	r.wait = nil
	if w == nil {
		return Lease{}, false
	}
	if w.element != nil {
		w.leave()
		p.serveAll() // the next one may be less particular; if there is none, no timer is needed
		return Lease{}, false
	}
	for {
		select {
		case lease := <-w.place:
			if !lease.IsZero() {
				return lease, true
			}
		default: // the caller has it already
			return Lease{}, false
		}
	}
}

func (w *wait) leave() {
	w.list.Remove(w.element)
	w.element = nil
}

// Queue returns the queue as it is now.
func (p *Pool) Queue() Queue {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queueNow(time.Now())
}

func (p *Pool) queueNow(now time.Time) Queue {
	q := Queue{Waiting: p.queue.len(), Most: p.queue.most}
	for _, l := range []*list.List{&p.queue.failed, &p.queue.fresh} {
		if first := l.Front(); first != nil {
			q.Oldest = max(q.Oldest, now.Sub(first.Value.(*wait).since))
		}
	}
	return q
}

// serve gives what places are free to those that wait. It is called whenever a
// place may have become free. It is small, so that it costs a pool without a queue
// not even a call.
func (p *Pool) serve() {
	if p.queue.len() > 0 {
		p.serveAll()
	}
}

// serveAll is serve when requests wait. What it costs does not depend on how many
// do, but for those whose waiting is over: each is looked at once more then.
func (p *Pool) serveAll() {
	p.serveFailed()
	for first := p.queue.fresh.Front(); first != nil; first = p.queue.fresh.Front() {
		w := first.Value.(*wait)
		m := p.selectors[w.selector].first(nil)
		if !p.takes(m) {
			break
		}
		p.give(w, m)
	}
	p.wakeLater()
}

// maxPassed is how many failed requests that find no place are passed over, to
// look for one that does. It bounds what serve costs: what is behind so many waits
// until one of them has left.
const maxPassed = 8

// serveFailed gives places to requests that have failed. The first of them may
// wait for a worker that it has not tried, while another one has not tried the
// one that is free.
func (p *Pool) serveFailed() {
	passed := 0
	var looked, noneUp bool // all members are looked at once at most
	for e := p.queue.failed.Front(); e != nil && passed < maxPassed; {
		w := e.Value.(*wait)
		e = e.Next()
		if w.request.spent() && !looked {
			looked, noneUp = true, p.noneUp()
		}
		if w.request.spent() && noneUp {
			w.end()
		} else if m := p.further(w.request); m != nil {
			p.give(w, m)
		} else {
			passed++
		}
	}
}

// hopeless reports whether r gets only workers that are up, and there is none.
func (p *Pool) hopeless(r *Request) bool { return r.spent() && p.noneUp() }

func (p *Pool) noneUp() bool {
	return !slices.ContainsFunc(p.members, func(m *member) bool { return m.state == Up && !m.draining })
}

// end ends the wait of a request that is to have no place.
func (w *wait) end() {
	w.leave()
	w.request.ended = true
	w.wake()
}

func (p *Pool) give(w *wait, m *member) {
	w.leave()
	w.place <- p.assign(m, w.selector, w.request)
}

// takes reports whether m has a place for a request. A member that cools down
// has one only if no member is healthy.
func (p *Pool) takes(m *member) bool {
	return m != nil && (m.grade == open || m.grade == lastResort && p.healthy == 0)
}

// further returns a place for a request that has failed, in a pool with a queue,
// after every open member that it had not tried was asked for; or nil if it is to
// wait.
//
// It may go to a member once more. But it does not go back to one that has not
// answered since, as long as another one that it has not tried is only full: with
// one worker dead and the others full, it would fail there again and again.
func (p *Pool) further(r *Request) *member {
	var again *member
	another := false
	for _, m := range p.members {
		switch {
		case !p.takes(m) || !r.mayGet(m):
			another = another || !r.tried(m) && m.full() && (m.healthy || p.healthy == 0 && !m.draining)
		case !r.tried(m):
			return m
		case again == nil || again.inARow > 0:
			again = m
		}
	}
	if another && again != nil && again.inARow > 0 {
		return nil
	}
	return again
}

// wakeLater sees to it that those that wait are served when the next cool-down
// is over, though no request comes then.
func (p *Pool) wakeLater() {
	q := &p.queue
	if q.len() == 0 || len(p.cooling) == 0 {
		if q.wake != nil {
			q.wake.Stop()
			q.wake = nil
		}
		return
	}
	if at := p.cooling[0].until; q.wake == nil || !q.wakeAt.Equal(at) {
		if q.wake != nil {
			q.wake.Stop()
		}
		q.wakeAt = at
		q.wake = time.AfterFunc(time.Until(at), p.serveAfterCoolDown)
	}
}

func (p *Pool) serveAfterCoolDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.wake = nil
	p.endCoolDowns()
	p.wakeLater()
}
