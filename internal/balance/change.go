package balance

import (
	"fmt"
	"time"
)

// A Change says that a worker begins to cool down or is up again, or that it
// comes or goes by an order. While it drains it is not told that the worker cools
// down or answers: it gets nothing in either case.
type Change struct {
	Worker
	Index   int           // as [Lease.Index]
	State   State         // what it is now
	Cooling time.Duration // how long the cool-down lasts; 0 if it does not cool
	Cause   Cause
}

// A Cause is why the state of a worker changed.
type Cause int

const (
	AnswerCame    Cause = iota // the worker is up again
	FailedInARow               // it cools down
	TooManyFailed              // it cools down: its excess has come to the limit
	TrialFailed                // it cools down once more
	Ordered                    // it drains, has drained, is removed, or drains no longer
	Added                      // it is new
)

// String returns the cause in words, as a line or a page shows it.
func (c Cause) String() string {
	return [...]string{
		"it answered",
		fmt.Sprintf("%d failures in a row", failuresInARow),
		fmt.Sprintf("%d more failures than answers", excessLimit),
		"its trial failed",
		"as ordered",
		"it was added",
	}[c]
}

// noteHealth notes a change of m unless m drains.
func (p *Pool) noteHealth(m *member, c Change) {
	if !m.draining {
		p.note(m, c)
	}
}

// note keeps a change of m until it can be told without the lock.
func (p *Pool) note(m *member, c Change) {
	if p.OnChange != nil {
		c.Worker, c.Index = m.worker(), int(m.index)
		p.untold = append(p.untold, c)
	}
}

// tell tells what was noted. Only one goroutine tells at a time, so that the
// order is kept. The others do not wait for it. After it has let go of p.telling
// it looks again, and finds what they noted meanwhile.
func (p *Pool) tell() {
	for p.isUntold() && p.telling.TryLock() {
		p.tellNext()
	}
}

func (p *Pool) isUntold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.untold) > 0
}

// tellNext lets go of p.telling, which the caller has locked, even if OnChange
// panics.
func (p *Pool) tellNext() {
	defer p.telling.Unlock()
	if c, ok := p.nextUntold(); ok {
		p.OnChange(c)
	}
}

func (p *Pool) nextUntold() (Change, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.untold) == 0 {
		return Change{}, false
	}
	c := p.untold[0]
	p.untold = p.untold[1:]
	return c, true
}
