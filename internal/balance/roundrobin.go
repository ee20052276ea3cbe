package balance

import "slices"

// RoundRobin gives each worker its turn: 1, 2, 3, 1, …; with weights, as many
// turns as the weight says, spread out smoothly (5, 1, 1 gives a a b a c a a,
// the order that nginx publishes for its smooth weighted round robin). It keeps
// its own place, which other selectors do not move.
//
// nginx's rule is: at every choice each worker gains its weight, the one that
// has most is chosen, and pays the sum of all weights. Taken literally that
// visits every worker at every choice. But workers of equal weight gain
// equally and so simply take turns; it is enough to compare, for each weight
// that occurs, the one whose turn it is. A choice costs as much as there are
// different weights, whatever the number of workers.
//
// The zero value is ready for [NewPool].
type RoundRobin struct {
	classes []class
	choices int // each is a gain of one weight for every member
	weights int // the sum over the eligible members
	total   int // the sum over all
	counted []bool
}

// A class is the members of one weight, in order, and whose turn it is.
type class struct {
	weight  int
	members []*member
	next    int
}

func (r *RoundRobin) begin(members []*member) {
	r.counted = make([]bool, len(members))
	for _, m := range members {
		i := slices.IndexFunc(r.classes, func(c class) bool { return c.weight == m.weight })
		if i < 0 {
			i = len(r.classes)
			r.classes = append(r.classes, class{weight: m.weight})
		}
		m.class, m.place = i, len(r.classes[i].members)
		r.classes[i].members = append(r.classes[i].members, m)
		r.counted[m.index] = true
		r.total += m.weight
	}
	r.weights = r.total
}

// changed keeps the sum of the weights. Who comes back starts with nothing
// gained, or it would be given all the turns that it missed.
func (r *RoundRobin) changed(m *member) {
	if r.counted[m.index] == m.eligible {
		return
	}
	r.counted[m.index] = m.eligible
	if !m.eligible {
		r.weights -= m.weight
		return
	}
	r.weights += m.weight
	m.spent = r.choices * m.weight
}

func (r *RoundRobin) choose(among candidates) *member {
	var best *member
	gained := 0
	for i := range r.classes {
		c := &r.classes[i]
		m := c.turn(among)
		if m == nil {
			continue
		}
		has := (r.choices+1)*m.weight - m.spent
		if best == nil || has > gained || has == gained && m.index < best.index {
			best, gained = m, has
		}
	}
	return best
}

// turn returns the first candidate from the next member on, or nil.
func (c *class) turn(among candidates) *member {
	for i := range c.members {
		if m := c.members[(c.next+i)%len(c.members)]; among.has(m) {
			return m
		}
	}
	return nil
}

// sum returns the weights of all who had a chance, which the chosen one pays.
func (r *RoundRobin) sum(among candidates) int {
	if among.all {
		return r.total
	}
	return r.weights
}

func (r *RoundRobin) assigned(m *member, among candidates) {
	// A further attempt of the same request is not a turn: counted as one, a
	// worker that keeps failing would pile up debts on the others.
	if among.tried.n == 0 {
		r.choices++
		m.spent += r.sum(among)
	}
	c := &r.classes[m.class]
	c.next = (m.place + 1) % len(c.members)
}
