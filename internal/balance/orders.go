package balance

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Orders: workers come and go while requests are served. Each method is one step
// under the pool's lock. When it returns, the next choice follows it. Each returns
// the worker as it is then; of one that was removed, as it was at last.

var (
	// ErrUnknown says that the pool has no worker of that name.
	ErrUnknown = errors.New("no such worker")
	// ErrKnown says that the pool has a worker with that address.
	ErrKnown = errors.New("there is a worker with this address")
)

// Add adds a worker behind the others. Without a name it is called Worker-4 if
// the pool had three before, those that were removed included. So no name comes
// back. It begins without credit and without debt. Each address is there once.
func (p *Pool) Add(w Worker) (Status, error) {
	defer p.tell()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if m.config.Addr == w.Addr {
			return p.status(m, time.Now()), fmt.Errorf("%w: %s", ErrKnown, m.config.Name)
		}
	}
	if w.Name == "" {
		w.Name = fmt.Sprintf("Worker-%d", p.ever+1)
	}
	m := new(member)
	p.join(m, w)
	p.note(m, Change{State: Up, Cause: Added})
	p.serve()
	return p.status(m, time.Now()), nil
}

// Drain keeps new requests from a worker. Those in flight go on.
func (p *Pool) Drain(name string) (Status, error) {
	return p.order(name, func(m *member) { p.drain(m) })
}

// Up ends what Drain has begun, and what Remove has, if it is not over. A worker
// that cooled down before goes on with that.
func (p *Pool) Up(name string) (Status, error) {
	return p.order(name, func(m *member) {
		if !m.draining {
			return
		}
		m.draining, m.leaving = false, false
		c := Change{State: m.state, Cause: Ordered}
		if m.state == Cooling {
			c.Cooling = time.Until(m.until)
		}
		p.note(m, c)
	})
}

// SetWeight sets a worker's weight, from the next choice on. 0 means 1. No worker
// gets turns, or loses turns, for the weights that held before.
func (p *Pool) SetWeight(name string, weight int) (Status, error) {
	return p.order(name, func(m *member) {
		for _, s := range p.distinct {
			s.remove(m)
		}
		p.shares.settle(m)
		m.weight = max(weight, 1)
		p.shares.joined(m)
		for _, s := range p.distinct {
			s.add(m)
		}
	})
}

// SetLimit sets how many requests a worker may have in flight, 0 for any number.
// If it has more already they go on.
func (p *Pool) SetLimit(name string, limit int) (Status, error) {
	return p.order(name, func(m *member) {
		m.limit = max(limit, 0)
		p.queues = slices.ContainsFunc(p.members, func(m *member) bool { return m.limit > 0 })
	})
}

// Remove drains a worker, and removes it as soon as nothing is in flight there:
// at once, or when the last lease is released. Until then it is in the Snapshot.
func (p *Pool) Remove(name string) (Status, error) {
	return p.order(name, func(m *member) {
		p.drain(m)
		m.leaving = true
	})
}

func (p *Pool) order(name string, do func(*member)) (Status, error) {
	defer p.tell()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endCoolDowns()
	i := slices.IndexFunc(p.members, func(m *member) bool { return m.config.Name == name })
	if i < 0 {
		return Status{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	m := p.members[i]
	do(m)
	p.changed(m)
	s := p.status(m, time.Now())
	p.removeIfIdle(m)
	p.serve()
	return s, nil
}

func (p *Pool) drain(m *member) {
	if m.draining {
		return
	}
	m.draining = true
	p.note(m, Change{State: Draining, Cause: Ordered})
	if m.inFlight == 0 {
		p.drained(m)
	}
}

// emptied is called when the last request of m, which drains, has ended.
func (p *Pool) emptied(m *member) {
	p.drained(m)
	p.removeIfIdle(m)
}

// drained notes that m, which drains, has nothing in flight.
func (p *Pool) drained(m *member) {
	p.note(m, Change{State: Drained, Cause: Ordered})
}

// removeIfIdle removes m if that was ordered and nothing is in flight there. Its
// counts go on in p.removed.
func (p *Pool) removeIfIdle(m *member) {
	if !m.leaving || m.inFlight > 0 {
		return
	}
	if m.state == Cooling {
		p.warm(m)
	}
	for _, s := range p.distinct {
		s.remove(m)
	}
	p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
	p.removed.add(p.status(m, time.Now()))
	p.note(m, Change{State: Removed, Cause: Ordered})
}

// add adds the counts of a worker that was removed.
func (s *Status) add(w Status) {
	s.Assigned += w.Assigned
	s.Failed += w.Failed
	s.Withdrawn += w.Withdrawn
	for i, n := range w.Answered {
		s.Answered[i] += n
		s.Turns[i].Assigned += w.Turns[i].Assigned
		s.Turns[i].Fair += w.Turns[i].Fair
	}
}
