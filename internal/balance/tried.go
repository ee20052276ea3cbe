package balance

import "slices"

// Tried remembers which workers one request was assigned to, so that it meets
// each at most once. The zero value is a new request's. It belongs to one
// request and one pool, and is not copied. Until a second worker is needed it
// allocates nothing.
//
// It may also keep an order of the workers, taken when the request's next
// worker could not be had from the selector at once. What that order says of
// loads and turns may be out of date. Eligibility is not: it is looked at again
// when a worker is reached, and a worker that is not eligible then (it cools
// down, or is on trial) is put off until the rest of the order has been used.
// A worker that was put off is not put first again when it becomes eligible.
type Tried struct {
	n     int
	first int // the index of the only worker, while again is nil and n is 1
	again *attempts
}

// attempts is what only a request with further attempts needs.
type attempts struct {
	tried   set // of indices
	ordered bool
	order   []*member // those still to look at, best first
	putOff  []*member // those that were looked at and were not eligible
}

func (t *Tried) has(m *member) bool {
	if t.again != nil {
		return t.again.tried.has(m.index)
	}
	return t.n == 1 && t.first == m.index
}

func (t *Tried) add(m *member) {
	if t.n == 0 {
		t.first = m.index
	} else {
		t.further().tried.add(m.index)
	}
	t.n++
}

func (t *Tried) further() *attempts {
	if t.again == nil {
		t.again = new(attempts)
		t.again.tried.add(t.first)
	}
	return t.again
}

// sortingCosts is about how many comparisons sorting takes for each worker.
const sortingCosts = 16

// choose returns the best of the members, by s, that t does not hold; or nil if
// it holds all of them.
//
// It asks s again for each attempt, which knows best. But that costs s.compares
// each time: when all attempts together have cost as much as sorting, the order
// that is kept must do.
func (t *Tried) choose(s Selector, members []*member) *member {
	if t.n == len(members) {
		return nil
	}
	if t.n*s.compares() <= sortingCosts*len(members) {
		if m := s.first(); !t.has(m) {
			return m
		}
	}
	a := t.further()
	if !a.ordered {
		a.ordered, a.order = true, sorted(s, members)
	}
	return a.next()
}

func sorted(s Selector, members []*member) []*member {
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b *member) int {
		if s.before(a, b) {
			return -1
		}
		return 1
	})
	return order
}

// next takes the best member that was not tried out of the order. It looks at a
// member twice at most, in all attempts together.
func (a *attempts) next() *member {
	for len(a.order) > 0 {
		m := a.order[0]
		a.order = a.order[1:]
		switch {
		case a.tried.has(m.index):
		case m.eligible:
			return m
		default:
			a.putOff = append(a.putOff, m)
		}
	}
	for len(a.putOff) > 0 {
		m := a.putOff[0]
		a.putOff = a.putOff[1:]
		if !a.tried.has(m.index) {
			return m
		}
	}
	return nil
}
