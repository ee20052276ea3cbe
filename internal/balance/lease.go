package balance

// A Lease is one request's place at one worker. It must be released exactly
// once, on every path. The zero value is no lease.
//
// A lease may be copied. All copies are the same lease: it is released through
// one of them, once.
type Lease struct {
	member   *member
	selector int // the index of the one that chose
	ticket   *ticket
	number   uint64 // the ticket's, as long as the lease is not released
}

// A ticket knows whether its lease was released. It is used again, for one
// lease after another, so that a lease allocates nothing. Its number grows each
// time: a lease with an older number is over.
type ticket struct {
	number uint64
	next   *ticket // in the list of those that are free
}

// Worker returns the worker that the request was assigned to. It may be called
// after Release too.
func (l Lease) Worker() *Worker { return &l.member.config }

// Index returns the worker's place in the list that NewPool was given. It may
// be called after Release too.
func (l Lease) Index() int { return l.member.index }

// Release ends the lease. It panics, and changes nothing, if the lease was
// released before through any of its copies, or is the zero value: a count that
// is wrong from then on would not be noticed.
func (l Lease) Release(o Outcome) {
	m := l.member
	if m == nil {
		panic("balance: Release of the zero Lease")
	}
	p := m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack(l.ticket, l.number)
	m.inFlight--
	switch o {
	case Answered:
		m.answered[l.selector]++
		p.answered(m)
	case Failed:
		m.failed++
		p.failed(m, l.ticket)
	case NotCounted:
		m.failed++
		p.notCounted(m, l.ticket)
	}
	p.changed(m)
}

// handOut returns a ticket that no lease has.
func (p *Pool) handOut() *ticket {
	t := p.free
	if t == nil {
		return new(ticket)
	}
	p.free = t.next
	return t
}

func (p *Pool) takeBack(t *ticket, number uint64) {
	if t.number != number {
		panic("balance: a lease was released twice")
	}
	t.number++
	t.next, p.free = p.free, t
}
