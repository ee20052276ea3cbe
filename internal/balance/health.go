package balance

import (
	"container/heap"
	"time"
)

// Cool-downs: after failuresInARow, from the first to the longest, doubling.
const (
	failuresInARow  = 3
	firstCoolDown   = 1 * time.Second
	longestCoolDown = 30 * time.Second
)

// health is what the outcomes so far say of a worker.
type health struct {
	state    State
	failures int           // in a row
	coolDown time.Duration // the latest; 0 if it never cooled since its last answer
	until    time.Time     // when the cool-down ends, if the state is Cooling
	coolAt   int           // the place in Pool.cooling, if the state is Cooling
	trial    *ticket       // of the lease that is the trial, if the state is OnTrial
}

// answered ends whatever the failures before have led to.
func (p *Pool) answered(m *member) {
	if m.state == Cooling {
		heap.Remove(&p.cooling, m.coolAt)
	}
	m.health = health{state: Up}
}

// failed counts a failure. What fails while the worker cools, a request from
// before or one that had no other worker left, does not prolong the cool-down.
// What fails beside a trial does not end the trial.
func (p *Pool) failed(m *member, lease *ticket) {
	m.failures++
	switch {
	case m.state == Up && m.failures >= failuresInARow:
		m.coolDown = firstCoolDown
	case m.state == OnTrial && m.trial == lease:
		m.coolDown = min(2*m.coolDown, longestCoolDown)
	default:
		return
	}
	m.state, m.until = Cooling, time.Now().Add(m.coolDown)
	heap.Push(&p.cooling, m)
}

// notCounted lets a trial that proved nothing be repeated.
func (p *Pool) notCounted(m *member, lease *ticket) {
	if m.state == OnTrial && m.trial == lease {
		m.state = DueForTrial
	}
}

// endCoolDowns makes those workers due for a trial whose cool-down is over.
func (p *Pool) endCoolDowns() {
	if len(p.cooling) == 0 {
		return
	}
	now := time.Now()
	for len(p.cooling) > 0 && !now.Before(p.cooling[0].until) {
		m := heap.Pop(&p.cooling).(*member)
		m.state = DueForTrial
		p.changed(m)
	}
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
