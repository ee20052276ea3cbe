package balance

import "fmt"

// A Lease is one request's place at one worker. It must be released exactly
// once, on every path. The zero value is no lease.
//
// A lease may be copied. All copies are the same lease: it is released through
// one of them, once.
type Lease struct {
	member   *member
	selector int // the index of the one that chose
	ticket   *ticket
	number   uint64 // also the ticket's, as long as the lease is not released
}

// A ticket knows whether its lease was released. It is used again, for one
// lease after another, so that a lease allocates nothing. A lease with another
// number than its ticket is over.
type ticket struct {
	number uint64  // of the lease, from 1 on in the order of Assign; 0 if no lease has it
	next   *ticket // in the list of those that are free
}

// IsZero reports whether l is no lease.
func (l Lease) IsZero() bool { return l.member == nil }

// Worker returns the worker that the request was assigned to, as it was when it
// came to the pool. It may be called after Release too.
func (l Lease) Worker() *Worker { return &l.member.config }

// Index returns how many workers the pool had before this one: its place in the
// list that NewPool was given, and so on for those that were added. It may be
// called after Release too.
func (l Lease) Index() int { return int(l.member.index) }

// Release ends the lease. It panics, and changes nothing, if the lease was
// released before through any of its copies, or is the zero value, or if there
// is no such outcome: a count that is wrong from then on would not be noticed.
//
// If a request waits, it gets the place in the same step.
//
// It calls OnChange of the pool if the outcome changed the worker's state.
func (l Lease) Release(o Outcome) {
	if l.IsZero() {
		panic("balance: Release of the zero Lease")
	}
	if o < Answered || o > Withdrawn {
		panic(fmt.Sprintf("balance: Release with the unknown outcome %d", o))
	}
	p := l.member.pool
	if changed := p.release(l, o); changed {
		p.tell()
	}
}

// release reports whether a change is to be told. What is seldom is in functions of
// its own, which have large frames: whoever releases a lease has waited, and has a
// small stack.
func (p *Pool) release(l Lease, o Outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack(l.ticket, l.number)
	m := l.member
	m.inFlight--
	if o == Answered {
		m.answered[l.selector]++
		p.answered(m, l.number)
	} else {
		p.unanswered(m, l.number, o)
	}
	p.changed(m)
	if m.draining && m.inFlight == 0 {
		p.emptied(m)
	}
	p.serve()
	return len(p.untold) > 0
}

func (p *Pool) unanswered(m *member, number uint64, o Outcome) {
	switch o {
	case Failed:
		m.failed++
		p.failed(m, number)
	case NotCounted:
		m.failed++
		p.repeatTrial(m, number)
	case Withdrawn:
		m.withdrawn++
		p.repeatTrial(m, number)
	}
}

// handOut returns a ticket for a new lease, with its number.
func (p *Pool) handOut() *ticket {
	t := p.free
	if t == nil {
		t = new(ticket)
	}
	p.free = t.next
	p.leases++
	t.number = p.leases
	return t
}

func (p *Pool) takeBack(t *ticket, number uint64) {
	if t.number != number {
		panic("balance: a lease was released twice")
	}
	t.number = 0
	t.next, p.free = p.free, t
}
