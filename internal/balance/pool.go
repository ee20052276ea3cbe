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
	// add is called for each member, in order, before everything else.
	add(m *member)
	// first returns the member to choose for a new request: an eligible one, or
	// if there is none, the best of the others. There is at least one member.
	first() *member
	// compares returns how many members first looks at.
	compares() int
	// before reports whether a is better than b. The order is strict: of two
	// members one is before the other.
	before(a, b *member) bool
	// assigned is called when m was chosen for a request by this selector, and
	// nothing of m has changed yet. again says that the request was assigned
	// before.
	assigned(m *member, again bool)
	// changed is called when m's requests in flight or m.eligible changed, and
	// after assigned.
	changed(m *member)
}

// A member is a worker with what the pool knows of it. What is read for each
// choice stands together.
type member struct {
	index    int
	weight   int
	inFlight int
	eligible bool // for any request; kept by Pool.changed

	lastChosen uint64 // by LeastConnections: the number of that choice, 0 for never
	heapAt     int    // the place in the heap of LeastConnections

	class int // by RoundRobin: which one it is in
	place int // in its class
	paid  int // by RoundRobin: for all the times that it was chosen

	health
	pool      *Pool
	config    Worker
	peak      int
	assigned  int
	answered  []int
	failed    int
	withdrawn int
}

// A Pool is a fixed list of workers. All methods may be called at once.
type Pool struct {
	// OnChange, if it is not nil, is called when a worker begins to cool down,
	// and when it is up again. It is set before the first Assign.
	//
	// It is called within Release, with no lock held, so it may use the pool. It
	// is called for one change at a time, in the order in which they happened.
	// To keep that order without waiting, a Release leaves its change to another
	// Release that is calling OnChange just then. When all calls of Release have
	// returned, all changes have been told.
	OnChange func(Change)
	telling  sync.Mutex // locked while a change is told; never taken under mu

	selectors []Selector // by their index; some may be nil
	distinct  []Selector // each of them once

	mu      sync.Mutex // guards everything below, and all that the selectors hold
	members []*member
	cooling byEnd    // the members in the state Cooling
	leases  uint64   // how many were handed out: the number of the latest
	free    *ticket  // a list of those that no lease has
	untold  []Change // what OnChange has not been told yet
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
	backing := make([]member, len(workers))
	for i, w := range workers {
		w.Weight = max(w.Weight, 1)
		m := &backing[i]
		*m = member{pool: p, index: i, weight: w.Weight, config: w, eligible: true, answered: make([]int, len(selectors))}
		p.members = append(p.members, m)
		for _, s := range p.distinct {
			s.add(m)
		}
	}
	return p
}

// Assign chooses a worker that tried does not hold, counts the request as in
// flight there, and adds the worker to tried. It reports false when tried holds
// every worker. The caller releases the lease.
//
// The choice is made by the selector with that index in the list of NewPool.
// Assign panics if there is none.
func (p *Pool) Assign(selector int, tried *Tried) (Lease, bool) {
	s := p.selector(selector)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endCoolDowns()
	m := tried.choose(s, p.members)
	if m == nil {
		return Lease{}, false
	}
	s.assigned(m, tried.n > 0)
	tried.add(m)
	t := p.handOut()
	m.inFlight++
	m.assigned++
	m.peak = max(m.peak, m.inFlight)
	if m.state == DueForTrial {
		m.state, m.trial = OnTrial, t.number
	}
	p.changed(m)
	return Lease{member: m, selector: selector, ticket: t, number: t.number}, true
}

func (p *Pool) selector(i int) Selector {
	if i < 0 || i >= len(p.selectors) || p.selectors[i] == nil {
		panic(fmt.Sprintf("balance: Assign by selector %d, which NewPool was not given", i))
	}
	return p.selectors[i]
}

// changed is called when anything of m has changed. It is the only place that
// decides whether m is eligible.
func (p *Pool) changed(m *member) {
	m.eligible = m.state == Up || m.state == DueForTrial
	for _, s := range p.distinct {
		s.changed(m)
	}
}

// Snapshot returns every worker as it is at one moment, in order.
func (p *Pool) Snapshot() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.endCoolDowns()
	all := make([]Status, len(p.members))
	for i, m := range p.members {
		all[i] = Status{
			Worker: m.config, State: m.state,
			InFlight: m.inFlight, Peak: m.peak,
			Assigned: m.assigned, Answered: slices.Clone(m.answered), Failed: m.failed, Withdrawn: m.withdrawn,
		}
		if m.state == Cooling {
			all[i].Cooling = m.until.Sub(now)
		}
	}
	return all
}
