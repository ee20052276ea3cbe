package balance

import (
	"container/heap"
	"slices"
)

// RoundRobin gives each worker its turn: 1, 2, 3, 1, …; with weights, as many
// turns as the weight says, spread out smoothly (5, 1, 1 gives a a b a c a a,
// the order that nginx publishes for its smooth weighted round robin). It keeps
// its own place, which other selectors do not move.
//
// nginx's rule: at every choice each worker's credit grows by its weight. The
// worker with the most credit is chosen, and pays the sum of all weights.
//
// Here both are divided by the sum of all weights, so that credit is counted in
// turns: it stays worth as much when workers come and go, and nobody has a burst of
// turns for that.
//
// Done literally, that looks at every worker at every choice. Two steps avoid it.
// First, credits are computed when they are needed: what all choices so far have
// earned for a unit of weight, times the weight, less what the worker has paid.
// Second, workers of equal weight form a class. While all are open they earn equally,
// and simply take turns in the order of the list. A class offers the one whose turn it
// is, so a choice looks at one worker for each weight that occurs, whatever the number
// of workers.
//
// A worker that is full or drained for a time earns less than the others of its class.
// If turns went on by the list alone, its debt would grow without end. So the one whose
// turn it is has to wait if another one of its class has over one turn more. Then the
// one with the most credit is chosen. A heap finds it. The turn stays where it is.
//
// Workers that are not open earn nothing. A worker that comes back from a
// cool-down starts with no credit and no debt: if it had earned all the time, it
// would now be given all the turns that it missed. One that was full, or drained,
// goes on with the credit or debt that it had, even if it cooled down meanwhile. So
// its share is as its weight says, though it is full again and again.
//
// A further attempt of a request is no turn. nginx has its worker pay for it, and
// the workers that the request has met earn nothing by it; HAProxy moves the turn.
// Here each class has a place of its own for further attempts, so that its workers
// stay equal: new requests are shared as the weights say, whatever fails.
//
// The zero value is ready for [NewPool].
type RoundRobin struct {
	classes []*class
	sides   [unusable]side // by the grade of the workers on it
}

// A class is the workers of one weight, in the order in which they came, and
// whose turn it is.
type class struct {
	weight  int
	members []*member
	seats   [unusable]set      // of places in members, by their grade
	credits [unusable]byCredit // the members of each grade, the one with the most credit first
	next    int                // the place from which the next turn is looked for
	again   int                // the same for a further attempt; 0 until there was one
}

// A side is what RoundRobin knows of the open workers together; and again, of
// those that are a last resort. While no worker is open, they take turns by the
// same rule. A choice on one side earns nothing for the other.
type side struct {
	weights int64 // the sum
	unit    int64 // what a choice earns for each unit of weight: turn/weights
	earned  int64 // what all choices have. It wraps around, as what was paid does
}

// turn is what a turn costs, but for the rounding of a side's unit.
const turn = 1 << 40

func (s *side) weigh(more int) {
	s.weights += int64(more)
	s.unit = turn / max(s.weights, 1)
}

func (r *RoundRobin) add(m *member) {
	i := slices.IndexFunc(r.classes, func(c *class) bool { return c.weight == m.weight })
	if i < 0 {
		i = len(r.classes)
		r.classes = append(r.classes, &class{weight: m.weight})
	}
	c := r.classes[i]
	m.class, m.place, m.seat, m.kept = c, len(c.members), unusable, 0
	c.members = append(c.members, m)
	r.changed(m)
}

// remove takes m out of its class, and moves up those behind it.
func (r *RoundRobin) remove(m *member) {
	c := m.class
	r.stand(m)
	for _, other := range c.members[m.place+1:] {
		if other.seat != unusable {
			c.seats[other.seat].remove(other.place)
			c.seats[other.seat].add(other.place - 1)
		}
		other.place--
	}
	c.members = slices.Delete(c.members, m.place, m.place+1)
	if m.place < c.next {
		c.next--
	}
	if m.place < c.again {
		c.again--
	}
	if len(c.members) == 0 {
		r.classes = slices.DeleteFunc(r.classes, func(other *class) bool { return other == c })
		return
	}
	c.next %= len(c.members)
}

func (r *RoundRobin) changed(m *member) {
	if m.seat == m.grade {
		return
	}
	was := m.seat
	r.stand(m)
	r.sit(m, was)
}

// stand takes m from its side.
func (r *RoundRobin) stand(m *member) {
	if m.seat == unusable {
		return
	}
	s := &r.sides[m.seat]
	m.kept = 0
	if m.seat == open {
		m.kept = s.earned*int64(m.weight) - m.paid
	}
	s.weigh(-m.weight)
	m.class.seats[m.seat].remove(m.place)
	heap.Remove(&m.class.credits[m.seat], m.creditAt)
	m.seat = unusable
}

// sit puts m on the side of its grade. What it had earned or owed counts only if
// it was open before and had no place meanwhile.
func (r *RoundRobin) sit(m *member, was grade) {
	if m.grade == unusable {
		return
	}
	if was != unusable || m.grade != open {
		m.kept = 0
	}
	s := &r.sides[m.grade]
	s.weigh(m.weight)
	m.paid = s.earned*int64(m.weight) - m.kept
	m.class.seats[m.grade].add(m.place)
	heap.Push(&m.class.credits[m.grade], m)
	m.seat = m.grade
}

func (r *RoundRobin) first(again *Request) *member {
	var best *member
	var most int64 // the credit of best
	for _, c := range r.classes {
		m := c.turn(again)
		if m == nil {
			continue
		}
		credit := r.credit(m)
		if best == nil || m.seat < best.seat ||
			m.seat == best.seat && (credit > most || credit == most && m.index < best.index) {
			best, most = m, credit
		}
	}
	return best
}

func (r *RoundRobin) compares() int { return len(r.classes) }

// turn returns the first open member whose turn comes. If another one has over one turn
// more, it returns the one with the most credit. If no member is open, it does the same
// with those that are a last resort; if there is none either, it returns nil. It passes
// over 64 members at a time: when one of 10,000 is left, a choice takes less than a
// microsecond (BenchmarkOneLeft).
//
// For a further attempt credits do not count within a class. One member that the request
// has met is passed over. If it has met the next one too, that is returned: the caller
// has to look further.
func (c *class) turn(again *Request) *member {
	from := c.from(again != nil)
	for grade, seats := range c.seats {
		i := seats.nextAround(from)
		if again != nil {
			i = c.passOver(again, i, seats)
		} else if i >= 0 && c.credits[grade][0].paid-c.members[i].paid < -turn {
			return c.credits[grade][0]
		}
		if i >= 0 {
			return c.members[i]
		}
	}
	return nil
}

// passOver returns i, or the next one of the seats if again has met the member at i;
// -1 if there is no other.
func (c *class) passOver(again *Request, i int, seats set) int {
	if i < 0 || !again.tried(c.members[i]) {
		return i
	}
	other := seats.nextAround(i + 1)
	if other == i {
		return -1
	}
	return other
}

// from returns the place from which the next turn is looked for.
func (c *class) from(again bool) int {
	if again && c.again > 0 {
		return c.again
	}
	return c.next
}

// credit is what m has if the next choice is made on its side.
func (r *RoundRobin) credit(m *member) int64 {
	if m.seat == unusable {
		return 0
	}
	s := &r.sides[m.seat]
	return (s.earned+s.unit)*int64(m.weight) - m.paid
}

// before puts members of equal credit in the order of their turns. It is asked for
// further attempts only.
func (r *RoundRobin) before(a, b *member) bool {
	if a.seat != b.seat {
		return a.seat < b.seat
	}
	if x, y := r.credit(a), r.credit(b); x != y {
		return x > y
	}
	if x, y := r.hadTurn(a), r.hadTurn(b); x != y {
		return y
	}
	return a.index < b.index
}

// hadTurn reports whether m's turn comes only when its class starts again.
func (r *RoundRobin) hadTurn(m *member) bool { return m.place < m.class.from(true) }

// assigned passes the turn on. A further attempt of a request is no turn: it costs m
// no credit and moves nobody's turn, so that whatever fails, the shares of new
// requests stay. Further attempts go round by themselves. Otherwise all that a
// worker fails would go to the one behind it.
//
// One that came before its turn leaves the turn where it is. If the turn went on from
// there, those between would lose their turn, and would come before others later: with
// seven workers or more, that may go on for ever.
func (r *RoundRobin) assigned(m *member, again bool) {
	c := m.class
	if again {
		c.again = m.place + 1
		return
	}
	if m.place == c.seats[m.seat].nextAround(c.next) {
		c.next = (m.place + 1) % len(c.members)
	}
	s := &r.sides[m.seat]
	s.earned += s.unit
	m.paid += s.unit * s.weights
	heap.Fix(&c.credits[m.seat], m.creditAt)
}

// byCredit implements [heap.Interface]. All have the same weight and are on the same
// side, so the one that has paid least has the most.
type byCredit []*member

func (h byCredit) Len() int           { return len(h) }
func (h byCredit) Less(i, j int) bool { return h[i].paid-h[j].paid < 0 } // what was paid wraps around

func (h byCredit) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].creditAt, h[j].creditAt = i, j
}

func (h *byCredit) Push(x any) {
	m := x.(*member)
	m.creditAt = len(*h)
	*h = append(*h, m)
}

func (h *byCredit) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	*h = (*h)[:last]
	return m
}
