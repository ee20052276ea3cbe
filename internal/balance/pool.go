package balance

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Selector chooses among the workers of the pool that it was given to. It
// belongs to that pool, which calls it under its lock.
//
// The interface is sealed: its methods are not exported, so only the two
// selectors of this package implement it.
type Selector interface {
	// add is called when m becomes a member.
	add(m *member)
	// remove is called when m is a member no longer.
	remove(m *member)
	// first returns the member to choose: an open one, or if there is none, the best
	// of those that are a last resort, or nil. again is a request that was assigned
	// before, or nil for a new one. It may have met the member.
	first(again *Request) *member
	// compares returns how many members first looks at.
	compares() int
	// before reports whether a is better than b. The order is strict: of two
	// members one is before the other.
	before(a, b *member) bool
	// assigned is called when m was chosen for a request by this selector, and
	// nothing of m has changed yet. again says that the request was assigned
	// before.
	assigned(m *member, again bool)
	// changed is called when m's requests in flight or m.grade changed, and after
	// assigned.
	changed(m *member)
}

// A grade is what a member may be given.
type grade uint8

const (
	open       grade = iota // any request
	lastResort              // it cools down or is on trial: a request that has no open member left
	unusable                // nothing: it is full, or drains
)

// A member is a worker with what the pool knows of it. What is read for each
// choice stands together.
type member struct {
	index    int32 // how many members the pool had before it
	weight   int
	limit    int // of inFlight; 0 for none
	inFlight int
	grade    grade // kept by Pool.changed

	lastChosen uint64 // by LeastConnections: the number of that choice, 0 for never
	heapAt     int    // the place in the heap of LeastConnections

	class    *class // by RoundRobin: the one that it is in
	place    int    // in its class
	creditAt int    // the place in the heap of its class and seat
	paid     int64  // by RoundRobin: for all the times that it was chosen
	seat     grade  // by RoundRobin: the side that it is on
	kept     int64  // by RoundRobin: its credit when it last left its side to be unusable

	health
	healthy  bool // it is up or due for a trial, and does not drain; kept by Pool.changed
	draining bool
	leaving  bool // it is removed when nothing is in flight

	pool      *Pool
	config    Worker // as it came
	peak      int    // of inFlight, since the latest RestartPeaks
	earlier   int    // the peak before that
	assigned  int
	answered  []int
	failed    int
	withdrawn int
	turns     []turns // by the selector's index
}

func (m *member) full() bool { return m.limit > 0 && m.inFlight >= m.limit }

// worker returns the worker as it is configured now.
func (m *member) worker() Worker {
	w := m.config
	w.Weight, w.Limit = m.weight, m.limit
	return w
}

// A Pool is a list of workers. All methods may be called at once.
type Pool struct {
	// OnChange, if it is not nil, is called when a worker begins to cool down and
	// when it is up again, and when it comes or goes by an order; not for a new
	// weight or limit. It is set before the first Assign.
	//
	// It is called within Release, or within the method that is an order, with no
	// lock held, so it may use the pool. It is called for one change at a time, in
	// the order in which they happened. To keep that order without waiting, a
	// caller leaves its change to another one that is calling OnChange just then.
	// When all calls have returned, all changes have been told.
	OnChange func(Change)
	telling  sync.Mutex // locked while a change is told; never taken under mu

	selectors []Selector // by their index; some may be nil
	distinct  []Selector // each of them once

	mu      sync.Mutex // guards everything below, and all that the selectors hold
	members []*member  // in the order of their indices
	ever    int        // how many members there ever were
	healthy int        // how many members are healthy
	queues  bool       // a request that finds no place waits
	cooling byEnd      // the members in the state Cooling
	leases  uint64     // how many were handed out: the number of the latest
	free    *ticket    // a list of those that no lease has
	untold  []Change   // what OnChange has not been told yet
	queue   queue
	shares  shares
	removed Status // the sums of the members that were removed
}

// NewPool returns a pool of workers, all of them up. A request names the
// selector that serves it by the index in selectors. So a caller can use its
// own enumeration; an entry of it that has no selector is nil. One selector may
// serve several indices.
func NewPool(workers []Worker, selectors ...Selector) *Pool {
	p := &Pool{selectors: slices.Clone(selectors)}
	for _, s := range selectors {
		if s != nil && !slices.Contains(p.distinct, s) {
			p.distinct = append(p.distinct, s)
		}
	}
	p.shares.given = make([]float64, len(selectors))
	p.removed.Answered = make([]int, len(selectors))
	p.removed.Turns = make([]Turns, len(selectors))
	backing := make([]member, len(workers))
	for i, w := range workers {
		p.join(&backing[i], w)
	}
	return p
}

// join makes m a member, with nothing known of it.
func (p *Pool) join(m *member, w Worker) {
	w.Weight = max(w.Weight, 1)
	*m = member{
		pool: p, index: int32(p.ever), weight: w.Weight, limit: w.Limit, config: w, grade: unusable, seat: unusable,
		answered: make([]int, len(p.selectors)), turns: make([]turns, len(p.selectors)),
	}
	p.ever++
	p.queues = p.queues || m.limit > 0
	p.members = append(p.members, m)
	for _, s := range p.distinct {
		s.add(m)
	}
	p.changed(m)
}

// Assign chooses a worker that r was not assigned to, counts the request as in
// flight there, and notes that in r. The caller releases the lease.
//
// It reports false if there is no such worker, or if r was assigned to three that
// were not up and none that is up is left. If any worker has a limit, the
// request may wait then: it is in the queue if [Request.Place] is not nil. A
// request that has waited may be assigned to a worker for a second time; it is
// assigned as many times as there are workers, and no more.
//
// The choice is made by the selector with that index in the list of NewPool.
// Assign panics if there is none.
func (p *Pool) Assign(selector int, r *Request) (Lease, bool) {
	s := p.selector(selector)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endCoolDowns()
	m := p.choose(s, r)
	if m == nil {
		p.enqueue(selector, r)
		return Lease{}, false
	}
	return p.assign(m, selector, r), true
}

func (p *Pool) choose(s Selector, r *Request) *member {
	if r.n == 0 {
		if m := s.first(nil); p.takes(m) { // if others wait, no member takes one more
			return m
		}
		return nil
	}
	if int(r.n) >= p.ever || p.queues && int(r.n) >= len(p.members) {
		return nil
	}
	m := r.next(s, p.members)
	if p.takes(m) || !p.queues {
		return m
	}
	return p.further(r)
}

// assign counts a request at m, which selector, or the queue, has chosen.
func (p *Pool) assign(m *member, selector int, r *Request) Lease {
	p.shares.count(m, selector)
	p.selectors[selector].assigned(m, r.n > 0)
	r.add(m)
	t := p.handOut()
	m.inFlight++
	m.assigned++
	m.peak = max(m.peak, m.inFlight)
	if m.state == DueForTrial {
		m.state, m.trial = OnTrial, t.number
	}
	p.changed(m)
	return Lease{member: m, selector: selector, ticket: t, number: t.number}
}

func (p *Pool) selector(i int) Selector {
	if i < 0 || i >= len(p.selectors) || p.selectors[i] == nil {
		panic(fmt.Sprintf("balance: Assign by selector %d, which NewPool was not given", i))
	}
	return p.selectors[i]
}

// changed is called when anything of m has changed. It is the only place that
// decides what m may be given.
func (p *Pool) changed(m *member) {
	healthy := !m.draining && (m.state == Up || m.state == DueForTrial)
	if healthy != m.healthy {
		m.healthy = healthy
		if healthy {
			p.healthy++
		} else {
			p.healthy--
		}
	}
	if g := m.graded(); g != m.grade {
		p.shares.settle(m)
		m.grade = g
		p.shares.joined(m)
	}
	for _, s := range p.distinct {
		s.changed(m)
	}
}

func (m *member) graded() grade {
	switch {
	case m.draining || m.full():
		return unusable
	case m.healthy:
		return open
	}
	return lastResort
}

// A Snapshot is a pool at one moment.
type Snapshot struct {
	Workers []Status // in order, without those that were removed
	Removed Status   // the sums of the workers that were removed
	Queue   Queue
}

// Snapshot returns the pool as it is now.
func (p *Pool) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.endCoolDowns()
	s := Snapshot{Workers: make([]Status, len(p.members)), Removed: p.removed, Queue: p.queueNow(now)}
	s.Removed.Answered, s.Removed.Turns = slices.Clone(p.removed.Answered), slices.Clone(p.removed.Turns)
	for i, m := range p.members {
		s.Workers[i] = p.status(m, now)
	}
	return s
}

// RestartPeaks begins the time that [Status.RecentPeak] is about.
func (p *Pool) RestartPeaks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		m.earlier, m.peak = max(m.peak, m.earlier), m.inFlight
	}
}

func (p *Pool) status(m *member, now time.Time) Status {
	s := Status{
		Worker: m.worker(), State: m.stateNow(),
		InFlight: m.inFlight, Peak: max(m.peak, m.earlier), RecentPeak: m.peak,
		Assigned: m.assigned, Answered: slices.Clone(m.answered), Failed: m.failed, Withdrawn: m.withdrawn,
		Turns: p.shares.of(m),
	}
	if s.State == Cooling {
		s.Cooling = m.until.Sub(now)
	}
	return s
}

func (m *member) stateNow() State {
	switch {
	case !m.draining:
		return m.state
	case m.inFlight > 0:
		return Draining
	}
	return Drained
}
