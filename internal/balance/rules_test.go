package balance

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// follow makes a random life for pools of several sizes: requests that come, are
// answered, fail; time that passes; workers that cool down and come back. It
// calls check for each assignment, with the workers as they were just before.
// weigh says how weights are drawn.
func follow(t *testing.T, seed uint64, weigh func(*rand.Rand) int, check func(l *lab) func(s int, before []Status, chosen int)) {
	for round := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, round))
			weights := make([]int, 1+r.IntN(9))
			for i := range weights {
				weights[i] = weigh(r)
			}
			l := newLab(t, weights...)
			look := check(l)
			var held []Lease
			for range 400 {
				switch k := r.IntN(40); {
				case k == 0:
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				case k < 20 && len(held) > 0:
					i := r.IntN(len(held))
					held[i].Release([]Outcome{Answered, Failed, Failed, NotCounted, Withdrawn}[r.IntN(5)])
					held = append(held[:i], held[i+1:]...)
				default:
					s := []int{rr, lc}[r.IntN(2)]
					before := l.Snapshot()
					lease := l.take(s)
					look(s, before, lease.Index())
					held = append(held, lease)
				}
			}
		})
	}
}

func (s *Status) isEligible() bool { return s.State == Up || s.State == DueForTrial }

// The rule of least connections, looked up at every worker for every choice.
func TestLeastConnectionsFollowsItsRule(t *testing.T) {
	weigh := func(r *rand.Rand) int { return 1 + r.IntN(3) }
	follow(t, 3, weigh, func(l *lab) func(int, []Status, int) {
		lastChosen := make([]int, len(l.members))
		choices := 0
		return func(s int, workers []Status, chosen int) {
			if s != lc {
				return
			}
			best := 0
			for i := range workers {
				if byTheRule(workers, lastChosen, i, best) {
					best = i
				}
			}
			if chosen != best {
				l.t.Fatalf("chose %d of %+v, last chosen %v; want %d", chosen, workers, lastChosen, best)
			}
			choices++
			lastChosen[chosen] = choices
		}
	})
}

// byTheRule reports whether a comes before b.
func byTheRule(workers []Status, lastChosen []int, a, b int) bool {
	x, y := &workers[a], &workers[b]
	if x.isEligible() != y.isEligible() {
		return x.isEligible()
	}
	if p, q := x.InFlight*y.Weight, y.InFlight*x.Weight; p != q {
		return p < q
	}
	if lastChosen[a] != lastChosen[b] {
		return lastChosen[a] < lastChosen[b]
	}
	return a < b
}

// With equal weights round robin is the list, again and again; workers that are
// not eligible are left out, and return to their place in it. One comes before its turn
// only if it has over one turn more: when it has paid, it still has more.
func TestRoundRobinFollowsTheList(t *testing.T) {
	weigh := func(*rand.Rand) int { return 1 }
	inList, before := 0, 0
	follow(t, 5, weigh, func(l *lab) func(int, []Status, int) {
		next := 0
		return func(s int, workers []Status, chosen int) {
			if s != rr {
				return
			}
			want := next
			for i := range workers {
				if at := (next + i) % len(workers); workers[at].isEligible() {
					want = at
					break
				}
			}
			switch {
			case chosen == want:
				inList++
				next = (chosen + 1) % len(workers)
			case workers[chosen].isEligible() == workers[want].isEligible() && l.members[chosen].paid < l.members[want].paid:
				before++
			default:
				l.t.Fatalf("chose %d of %+v; the turn is from %d on, want %d", chosen, workers, next, want)
			}
		}
	})
	if inList < 50*before {
		t.Errorf("%d choices were not as the list says, of %d", before, inList+before)
	}
}

// A worker that is full at times has its share of what comes while it is not, and
// the others don't pay for that later, when one comes back that was drained.
func TestDebtsStaySmall(t *testing.T) {
	l := newLab(t, 1, 1, 5)
	l.SetLimit("b", 1)
	l.Drain("c")
	for range 1000 {
		var held []Lease
		for range 4 {
			if lease, ok := l.Assign(rr, new(Request)); ok {
				held = append(held, lease)
			}
		}
		for _, lease := range held {
			lease.Release(Answered)
		}
	}
	l.Up("c")
	order := l.ask(rr, 700, Answered)
	for name, share := range map[string]int{"a": 100, "b": 100, "c": 500} {
		if n := strings.Count(order, name); n < share-4 || n > share+4 {
			t.Errorf("%s has %d of 700 turns, want %d", name, n, share)
		}
	}
	if strings.Contains(order, strings.Repeat("c", 10)) {
		t.Errorf("c has ten turns or more in a row: %s", order)
	}
}

// The set of places has words of 64: a list that needs several.
func TestRoundRobinFollowsALongList(t *testing.T) {
	const n = 200
	p := benchPool(n, false)
	p.coolFirst(n)
	back := []int{3, 63, 64, 70, 128, 199}
	for _, i := range back {
		m := p.members[i]
		m.state = Up
		p.changed(m)
	}
	for round := range 3 {
		for _, want := range back {
			lease, _ := p.Assign(rr, new(Request))
			if lease.Index() != want {
				t.Fatalf("round %d: chose %d, want %d", round, lease.Index(), want)
			}
		}
	}
}

// When all are open again, the list comes again and again soon, whatever was before.
func TestListComesBack(t *testing.T) {
	l := newLab(t, 1, 1, 1, 1, 1, 1, 1)
	for _, step := range strings.Fields("-g * -f * * * * * -a -c * * +f * -b * +c * * * -e * +a +b +e +g") {
		switch name := step[1:]; step[0] {
		case '-':
			ordered(t)(l.Drain(name))
		case '+':
			ordered(t)(l.Up(name))
		default:
			l.ask(rr, 1, Answered)
		}
	}
	l.ask(rr, 70, Answered)
	round := l.ask(rr, 7, Answered)
	for _, name := range "abcdefg" {
		if strings.Count(round, string(name)) != 1 {
			t.Fatalf("a round is %s", round)
		}
	}
	expect(t, "ten more", l.ask(rr, 70, Answered), strings.Repeat(round, 10))
}
