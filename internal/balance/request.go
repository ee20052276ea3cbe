package balance

import "slices"

// A Request is what the pool knows of one request: which workers it was assigned
// to, so that it meets each at most once and few that are not up, and its place in
// the queue. The zero value is a new request's. It belongs to one request and one
// pool, and is not copied. Until it needs a second worker, or waits, it allocates
// nothing.
//
// It may also keep an order of the workers, taken when the request's next
// worker could not be had from the selector at once. What that order says of
// loads and turns may be out of date. Grades are not: they are looked at again
// when a worker is reached, and a worker that is not open then is put off until
// the rest of the order has been used. A worker that was put off is not put
// first again when it becomes open.
type Request struct {
	n     int32 // how many times it was assigned
	first int32 // the index of the only worker, while again is nil and n is 1
	notUp uint8 // how many times it was assigned to a worker that was not up
	ended bool  // its wait was ended, since no worker is left
	again *attempts
	wait  *wait // nil if it has never waited
}

// attempts is what only a request with further attempts needs.
type attempts struct {
	tried   set // of indices
	ordered bool
	order   []*member // those still to look at, best first
	putOff  []*member // those that were looked at and were not open
}

func (r *Request) tried(m *member) bool {
	if r.again != nil {
		return r.again.tried.has(int(m.index))
	}
	return r.n == 1 && r.first == m.index
}

// spent reports whether r gets only workers that are up.
func (r *Request) spent() bool { return r.notUp >= maxNotUp }

func (r *Request) mayGet(m *member) bool { return m.state == Up || !r.spent() }

// add notes that r is assigned to m, before m's state changes by that.
func (r *Request) add(m *member) {
	if m.state != Up {
		r.notUp++
	}
	if r.n == 0 {
		r.first = m.index
	} else {
		r.further().tried.add(int(m.index))
	}
	r.n++
}

func (r *Request) further() *attempts {
	if r.again == nil {
		r.again = new(attempts)
		r.again.tried.add(int(r.first))
	}
	return r.again
}

// sortingCosts is about how many comparisons sorting takes for each worker.
const sortingCosts = 16

// next returns the best of the members, by s, that r has not tried and may get, and
// that is usable; or nil if there is none. An open one comes before the others.
//
// It asks s again for each attempt, which knows best. But that costs s.compares
// each time: when all attempts together have cost as much as sorting, the order
// that is kept must do. If first returns one that is a last resort, no open one is
// left.
func (r *Request) next(s Selector, members []*member) *member {
	if int(r.n)*s.compares() <= sortingCosts*len(members) {
		m := s.first(r)
		if m == nil || m.grade == lastResort && r.spent() {
			return nil
		}
		if !r.tried(m) && r.mayGet(m) {
			return m
		}
	}
	a := r.further()
	if !a.ordered {
		a.ordered, a.order = true, sorted(s, r.left(members))
	}
	return r.nextInOrder()
}

// left returns the members that r has not tried and may get.
func (r *Request) left(members []*member) (left []*member) {
	for _, m := range members {
		if !r.tried(m) && r.mayGet(m) {
			left = append(left, m)
		}
	}
	return left
}

// sorted sorts the members, the best one first, and returns them.
func sorted(s Selector, order []*member) []*member {
	slices.SortFunc(order, func(a, b *member) int {
		if s.before(a, b) {
			return -1
		}
		return 1
	})
	return order
}

// nextInOrder takes the best member that r has not tried and may get out of the
// order. It looks at a member twice at most, in all attempts together.
func (r *Request) nextInOrder() *member {
	a := r.again
	for len(a.order) > 0 {
		m := a.order[0]
		a.order = a.order[1:]
		switch {
		case a.tried.has(int(m.index)):
		case m.grade == open && r.mayGet(m):
			return m
		default:
			a.putOff = append(a.putOff, m)
		}
	}
	for len(a.putOff) > 0 {
		m := a.putOff[0]
		a.putOff = a.putOff[1:]
		if !a.tried.has(int(m.index)) && m.grade != unusable && r.mayGet(m) {
			return m
		}
	}
	return nil
}
