package balance

// LeastConnections chooses the worker with the fewest requests in flight,
// divided by its weight; among equals, the one that it chose longest ago; at
// first, the first of the list. One request after another then goes 1, 2, 3,
// 1, … as with the original, whose counts never fall; many at once are spread
// as the course notes promise. HAProxy's leastconn rotates among equals too.
//
// The zero value is ready for [NewPool].
type LeastConnections struct {
	members []*member
	// winners is a tournament: entry i is the better of entries 2i and 2i+1,
	// and the members themselves are the entries from len(members) on. One
	// change is played again along one path to the root, entry 1.
	winners []*member
	choices uint64
}

func (l *LeastConnections) begin(members []*member) {
	l.members = members
	n := len(members)
	l.winners = make([]*member, 2*n)
	copy(l.winners[n:], members)
	for i := n - 1; i >= 1; i-- {
		l.winners[i] = better(l.winners[2*i], l.winners[2*i+1])
	}
}

func (l *LeastConnections) changed(m *member) {
	now := m
	for i := len(l.members) + m.index; i > 1; i /= 2 {
		now = better(now, l.winners[i^1])
		if now == l.winners[i/2] && now != m {
			return
		}
		l.winners[i/2] = now
	}
}

func (l *LeastConnections) assigned(m *member, _ candidates) {
	l.choices++
	m.lastChosen = l.choices // changed, which follows, plays it again
}

func (l *LeastConnections) choose(among candidates) *member {
	if len(l.members) == 0 {
		return nil
	}
	if among.everybody() {
		if best := l.winners[1]; best.eligible {
			return best
		}
		return nil
	}
	var best *member
	for _, m := range l.members {
		if among.has(m) && (best == nil || less(m, best)) {
			best = m
		}
	}
	return best
}

// better returns who comes first: those eligible before the rest.
func better(a, b *member) *member {
	if a.eligible != b.eligible {
		if a.eligible {
			return a
		}
		return b
	}
	if less(b, a) {
		return b
	}
	return a
}

// less orders all members strictly.
func less(a, b *member) bool {
	x, y := a.inFlight*b.weight, b.inFlight*a.weight
	switch {
	case x != y:
		return x < y
	case a.lastChosen != b.lastChosen:
		return a.lastChosen < b.lastChosen
	}
	return a.index < b.index
}
