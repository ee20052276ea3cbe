package balance

import (
	"sync"
	"time"
)

// A Selector chooses among the members of the pool that it was given to. The
// pool calls it under its lock; a selector belongs to one pool.
type Selector interface {
	// begin is called once, with all the members, all of them eligible.
	begin(members []*member)
	// choose returns the best candidate, or nil if there is none.
	choose(among candidates) *member
	// assigned is called when m got a request through this selector; changed
	// follows.
	assigned(m *member, among candidates)
	// changed is called when m's requests in flight or m.eligible changed.
	changed(m *member)
}

// A member is a worker with what the pool knows of it.
type member struct {
	index    int
	weight   int
	inFlight int
	eligible bool // for anybody's request: up, or due for a trial

	lastChosen uint64 // by LeastConnections: the number of that choice, 0 for never
	spent      int    // by RoundRobin, as are class and place
	class      int    // those of its weight
	place      int    // in its class

	state    State
	failures int           // in a row
	coolDown time.Duration // the latest; 0 if it never cooled since its last answer
	until    time.Time     // when the cool-down ends

	most     int
	granted  int
	answered []int
	failed   int
	config   Worker
}

// candidates says who may be chosen for one request.
type candidates struct {
	tried *Tried
	all   bool // cool-downs are ignored
}

func (c candidates) has(m *member) bool {
	return (m.eligible || c.all) && !c.tried.has(m.index)
}

// everybody reports whether all who are eligible are candidates: then a
// selector need not look at each.
func (c candidates) everybody() bool { return !c.all && c.tried.n == 0 }

// Tried remembers whom one request was assigned to, so that it meets each
// worker at most once. The zero value is a new request's. It allocates nothing
// until a second worker is needed.
type Tried struct {
	n     int
	first int
	all   []bool
}

func (t *Tried) has(index int) bool {
	switch {
	case t.n == 0:
		return false
	case t.n == 1:
		return t.first == index
	}
	return t.all[index]
}

func (t *Tried) add(index, workers int) {
	t.n++
	if t.n == 1 {
		t.first = index
		return
	}
	if t.all == nil {
		t.all = make([]bool, workers)
		t.all[t.first] = true
	}
	t.all[index] = true
}

// A Pool is a fixed list of workers. All methods may be called at once.
type Pool struct {
	selectors []Selector

	mu       sync.Mutex // guards everything below, and all that the selectors hold
	members  []*member
	cooling  int       // how many are in the state Cooling
	nextWake time.Time // not after the earliest end of a cool-down, while some cool
}

// NewPool returns a pool of workers, all of them up, for requests that the
// selectors will be named for.
func NewPool(workers []Worker, selectors ...Selector) *Pool {
	p := &Pool{selectors: selectors}
	backing := make([]member, len(workers))
	for i, w := range workers {
		w.Weight = max(w.Weight, 1)
		m := &backing[i]
		*m = member{index: i, weight: w.Weight, eligible: true, answered: make([]int, len(selectors)), config: w}
		p.members = append(p.members, m)
	}
	for _, s := range selectors {
		if s != nil {
			s.begin(p.members)
		}
	}
	return p
}

// Assign chooses a worker by s, which NewPool was given, counts the request as
// in flight there, and adds the worker to tried. It reports false when tried
// holds every worker. The caller releases the lease.
func (p *Pool) Assign(selector int, tried *Tried) (Lease, bool) {
	s := p.selectors[selector]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cooling > 0 {
		p.wake(time.Now())
	}
	among := candidates{tried: tried}
	m := s.choose(among)
	if m == nil {
		among.all = true
		m = s.choose(among)
	}
	if m == nil {
		return Lease{}, false
	}
	lease := Lease{pool: p, member: m, selector: s, trial: m.state == Trial}
	m.inFlight++
	m.granted++
	m.most = max(m.most, m.inFlight)
	if lease.trial {
		m.setState(OnTrial)
	}
	s.assigned(m, among)
	p.changed(m)
	tried.add(m.index, len(p.members))
	return lease, true
}

func (p *Pool) changed(m *member) {
	for _, s := range p.selectors {
		if s != nil {
			s.changed(m)
		}
	}
}

func (m *member) setState(s State) {
	m.state = s
	m.eligible = s == Up || s == Trial
}

// wake gives a trial to those whose cool-down is over.
func (p *Pool) wake(now time.Time) {
	if now.Before(p.nextWake) {
		return
	}
	p.nextWake = now.Add(longestCoolDown)
	for _, m := range p.members {
		if m.state != Cooling {
			continue
		}
		if !now.Before(m.until) {
			p.cooling--
			m.setState(Trial)
			p.changed(m)
			continue
		}
		if m.until.Before(p.nextWake) {
			p.nextWake = m.until
		}
	}
}

// Snapshot returns every worker as it is at one moment, in order.
func (p *Pool) Snapshot() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.cooling > 0 {
		p.wake(now)
	}
	all := make([]Status, len(p.members))
	for i, m := range p.members {
		all[i] = Status{
			Worker: m.config, State: m.state,
			InFlight: m.inFlight, Peak: m.most,
			Assigned: m.granted, Answered: append([]int(nil), m.answered...), Failed: m.failed,
		}
		if m.state == Cooling {
			all[i].Cooling = m.until.Sub(now)
		}
	}
	return all
}

// A Lease is one request's place at one worker. It must be released exactly
// once, on every path. The zero value is no lease.
type Lease struct {
	pool     *Pool
	member   *member
	selector Selector
	trial    bool
}

// Worker returns whom the request was assigned to.
func (l *Lease) Worker() *Worker { return &l.member.config }

// Index returns the worker's place in the list that NewPool was given.
func (l *Lease) Index() int { return l.member.index }

// Release ends the lease. It panics if the lease has ended before: a count
// that drifts would go unnoticed for longer.
func (l *Lease) Release(o Outcome) {
	p, m := l.pool, l.member
	if p == nil {
		panic("balance: lease released twice")
	}
	l.pool = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	m.inFlight--
	switch o {
	case Answered:
		m.answered[p.place(l.selector)]++
		p.recover(m)
	case Failed:
		m.failed++
		p.fail(m, l.trial)
	case NotCounted:
		m.failed++
		if l.trial && m.state == OnTrial {
			m.setState(Trial)
		}
	}
	p.changed(m)
}

func (p *Pool) place(s Selector) int {
	for i := range p.selectors {
		if p.selectors[i] == s {
			return i
		}
	}
	panic("balance: a selector that the pool was not given")
}

func (p *Pool) recover(m *member) {
	m.failures, m.coolDown = 0, 0
	if m.state == Cooling {
		p.cooling--
	}
	if m.state != Up {
		m.setState(Up)
	}
}

// fail counts a failure. What fails while the worker cools, a request from
// before or one that had no other worker left, does not prolong it.
func (p *Pool) fail(m *member, trial bool) {
	m.failures++
	switch {
	case m.state == Up && m.failures >= failuresInARow:
		m.coolDown = firstCoolDown
	case m.state == OnTrial && trial:
		m.coolDown = min(2*m.coolDown, longestCoolDown)
	default:
		return
	}
	m.until = time.Now().Add(m.coolDown)
	if p.cooling == 0 || m.until.Before(p.nextWake) {
		p.nextWake = m.until
	}
	p.cooling++
	m.setState(Cooling)
}
