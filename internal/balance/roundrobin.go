package balance

import "slices"

// RoundRobin gives each worker its turn: 1, 2, 3, 1, …; with weights, as many
// turns as the weight says, spread out smoothly (5, 1, 1 gives a a b a c a a,
// the order that nginx publishes for its smooth weighted round robin). It keeps
// its own place, which other selectors do not move.
//
// nginx's rule: at every choice each worker's credit grows by its weight. The
// worker with the most credit is chosen, and pays the sum of all weights.
//
// Done literally, that looks at every worker at every choice. Two steps avoid it.
// First, credits are computed when they are needed: the number of choices so
// far, times the weight, less what the worker has paid. Second, workers of
// equal weight earn equally, so among themselves they simply take turns. They
// form a class, and only the one whose turn it is can be the best. A choice
// looks at one worker for each weight that occurs, whatever the number of
// workers.
//
// Workers that are not eligible earn nothing. A worker that comes back starts
// with no credit and no debt. If it had earned all the time, it would now be
// given all the turns that it missed.
//
// The zero value is ready for [NewPool].
type RoundRobin struct {
	classes []class
	in, out side // the eligible workers, and the others
}

// A class is the workers of one weight, in order, and whose turn it is.
type class struct {
	weight   int
	members  []*member
	eligible set // of places in members
	next     int // the place from which the next turn is looked for
}

// A side is what RoundRobin knows of the eligible workers together; and again,
// of those that are not. While no worker is eligible, the others take turns by
// the same rule. A choice on one side earns nothing for the other.
type side struct {
	choices int
	weights int // the sum
}

func (r *RoundRobin) side(eligible bool) *side {
	if eligible {
		return &r.in
	}
	return &r.out
}

func (r *RoundRobin) add(m *member) {
	i := slices.IndexFunc(r.classes, func(c class) bool { return c.weight == m.weight })
	if i < 0 {
		i = len(r.classes)
		r.classes = append(r.classes, class{weight: m.weight})
	}
	c := &r.classes[i]
	m.class, m.place = i, len(c.members)
	c.members = append(c.members, m)
	r.join(m)
}

// join puts m on its side, with nothing earned and nothing owed.
func (r *RoundRobin) join(m *member) {
	if m.eligible {
		r.classes[m.class].eligible.add(m.place)
	}
	s := r.side(m.eligible)
	s.weights += m.weight
	m.paid = s.choices * m.weight
}

func (r *RoundRobin) changed(m *member) {
	eligible := &r.classes[m.class].eligible
	was := eligible.has(m.place)
	if was == m.eligible {
		return
	}
	eligible.remove(m.place)
	r.side(was).weights -= m.weight
	r.join(m)
}

func (r *RoundRobin) first() *member {
	best := r.classes[0].turn()
	for i := range r.classes[1:] {
		m := r.classes[1+i].turn()
		if c := r.compare(m, best); c < 0 || c == 0 && m.index < best.index {
			best = m
		}
	}
	return best
}

func (r *RoundRobin) compares() int { return len(r.classes) }

// turn returns the first eligible member from next on; or, if no member is
// eligible, the next one. It passes over 64 members at a time that are not
// eligible: when one of 10,000 is left, a choice takes 0.4 µs (BenchmarkOneLeft).
func (c *class) turn() *member {
	i := c.eligible.next(c.next)
	if i < 0 {
		i = c.eligible.next(0)
	}
	if i < 0 {
		i = c.next
	}
	return c.members[i]
}

// compare returns a negative number if a comes before b, a positive one if b
// comes before a, and 0 if neither eligibility nor credit tells them apart.
func (r *RoundRobin) compare(a, b *member) int {
	switch {
	case a.eligible == b.eligible:
		return r.credit(b) - r.credit(a)
	case a.eligible:
		return -1
	}
	return 1
}

// credit is what m has if the next choice is made on its side.
func (r *RoundRobin) credit(m *member) int {
	return (r.side(m.eligible).choices+1)*m.weight - m.paid
}

// before puts members of equal credit in the order of their turns.
func (r *RoundRobin) before(a, b *member) bool {
	if c := r.compare(a, b); c != 0 {
		return c < 0
	}
	if x, y := r.hadTurn(a), r.hadTurn(b); x != y {
		return y
	}
	return a.index < b.index
}

// hadTurn reports whether m's turn comes only when its class starts again.
func (r *RoundRobin) hadTurn(m *member) bool { return m.place < r.classes[m.class].next }

// assigned passes the turn on. A further attempt of a request costs m no
// credit: otherwise a worker that keeps failing would pile up debts on the
// others. Nor does it move a turn that was not m's, which happens when the
// attempt followed an order taken earlier.
func (r *RoundRobin) assigned(m *member, again bool) {
	c := &r.classes[m.class]
	if m == c.turn() {
		c.next = (m.place + 1) % len(c.members)
	}
	if again {
		return
	}
	s := r.side(m.eligible)
	s.choices++
	m.paid += s.weights
}
