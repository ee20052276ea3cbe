package balance

import (
	"container/heap"
	"time"
)

// Cool-downs: what leads to them, and how long they last. With an excessLimit
// of 12, chance takes out a worker that fails one of four about once in 1.6
// million outcomes. With 10 it would be once in 180,000. A worker that fails two
// of three in turn fails 22 times before it is taken out.
const (
	failuresInARow  = 3
	excessLimit     = 12
	firstCoolDown   = 1 * time.Second
	longestCoolDown = 30 * time.Second
)

// maxNotUp is how many times a request may be assigned to a worker that is not up.
// It is as many as the course's lab has workers: there, a request tries each.
const maxNotUp = 3

// health is what the outcomes so far say of a worker.
type health struct {
	state    State
	inARow   int           // failures since the latest answer
	excess   int           // failures less answers, from 0 to excessLimit
	coolDown time.Duration // the latest; 0 if there was none since excess was 0
	until    time.Time     // when the cool-down ends, if the state is Cooling
	coolAt   int           // the place in Pool.cooling, if the state is Cooling
	cause    Cause         // why it was taken out, if the state is not Up
	before   uint64        // the number of the last lease before the latest cool-down
	trial    uint64        // the number of the lease that is the trial, if the state is OnTrial
}

// answered counts an answer to the lease with that number. It ends a cool-down
// unless it proves nothing.
func (p *Pool) answered(m *member, lease uint64) {
	m.inARow = 0
	m.excess = max(m.excess-1, 0)
	if m.excess == 0 {
		m.coolDown = 0
	}
	if m.state != Up && !m.provesNothing(lease) {
		p.recovered(m)
	}
}

func (p *Pool) recovered(m *member) {
	if m.state == Cooling {
		p.warm(m)
	}
	m.state = Up
	p.noteHealth(m, Change{State: Up, Cause: AnswerCame})
}

// warm takes m from those that cool down.
func (p *Pool) warm(m *member) { heap.Remove(&p.cooling, m.coolAt) }

// provesNothing reports whether an answer to that lease leaves the worker out. A
// worker that failed more than it answered did answer now and then. So it is no
// news that some of the requests from before its cool-down are answered, until
// the answers have caught up with the failures.
func (h *health) provesNothing(lease uint64) bool {
	return h.cause == TooManyFailed && lease <= h.before && h.excess > 0
}

// failed counts a failure of the lease with that number. What fails while the
// worker cools, a request from before or one that had no other worker left,
// does not prolong the cool-down. What fails beside a trial does not end the
// trial.
func (p *Pool) failed(m *member, lease uint64) {
	m.inARow++
	m.excess = min(m.excess+1, excessLimit)
	switch {
	case m.state == Up && m.excess == excessLimit:
		p.cool(m, TooManyFailed)
	case m.state == Up && m.inARow >= failuresInARow:
		p.cool(m, FailedInARow)
	case m.state == OnTrial && m.trial == lease:
		p.cool(m, TrialFailed)
	}
}

// cool begins a cool-down. One that follows a failed trial goes on with what the
// worker was taken out for.
func (p *Pool) cool(m *member, c Cause) {
	if c != TrialFailed {
		m.cause = c
	}
	m.coolDown = min(max(2*m.coolDown, firstCoolDown), longestCoolDown)
	m.state, m.until = Cooling, time.Now().Add(m.coolDown)
	m.before = p.leases
	heap.Push(&p.cooling, m)
	p.noteHealth(m, Change{State: Cooling, Cooling: m.coolDown, Cause: c})
}

// repeatTrial lets a trial that proved nothing be repeated.
func (p *Pool) repeatTrial(m *member, lease uint64) {
	if m.state == OnTrial && m.trial == lease {
		m.state = DueForTrial
	}
}

// NotUpBeside returns how many workers are not up that r was not assigned to. Those
// that drain are not counted.
func (p *Pool) NotUpBeside(r *Request) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if m.state != Up && !m.draining && !r.tried(m) {
			n++
		}
	}
	return n
}

// endCoolDowns makes those workers due for a trial whose cool-down is over.
func (p *Pool) endCoolDowns() {
	if len(p.cooling) == 0 {
		return
	}
	now := time.Now()
	if now.Before(p.cooling[0].until) {
		return
	}
	for len(p.cooling) > 0 && !now.Before(p.cooling[0].until) {
		m := heap.Pop(&p.cooling).(*member)
		m.state = DueForTrial
		p.changed(m)
	}
	p.serve()
}

// byEnd implements [heap.Interface]: the cool-down that ends first comes first.
type byEnd []*member

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].coolAt, h[j].coolAt = i, j
}

func (h *byEnd) Push(x any) {
	m := x.(*member)
	m.coolAt = len(*h)
	*h = append(*h, m)
}

func (h *byEnd) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	*h = (*h)[:last]
	return m
}
