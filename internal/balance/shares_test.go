package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// turnsOf returns what a worker has had of a selector, as "3 of 2.5".
func (l *lab) turnsOf(name string, s int) string {
	l.t.Helper()
	turns := l.state(name).Turns[s]
	return fmt.Sprintf("%d of %.3g", turns.Assigned, turns.Fair)
}

// While all are up, a worker's fair share is its part of the weights. Each
// selector has its own account.
func TestTurns(t *testing.T) {
	l := newLab(t, 3, 1)
	l.ask(rr, 8, Answered)
	l.ask(lc, 2, Failed)
	expect(t, "a by round robin", l.turnsOf("a", rr), "6 of 6")
	expect(t, "b by round robin", l.turnsOf("b", rr), "2 of 2")
	expect(t, "a by least connections", l.turnsOf("a", lc), "1 of 1.5")
	expect(t, "b by least connections", l.turnsOf("b", lc), "1 of 0.5")
	expect(t, "no selector", l.turnsOf("a", none), "0 of 0")
}

// A worker that is out has no share in what is assigned meanwhile, so nobody is
// blamed for its absence. What it had stays.
func TestTurnsWhileOneIsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1)
		must := ordered(t)
		l.ask(rr, 4, Answered)
		must(l.Drain("a"))
		l.ask(rr, 6, Answered)
		must(l.Up("a"))
		l.ask(rr, 2, Answered)
		expect(t, "a drained for a while", l.turnsOf("a", rr), "3 of 3")
		expect(t, "b alone meanwhile", l.turnsOf("b", rr), "9 of 9")
		l.fail("a", 3)
		before := l.turnsOf("a", rr)
		l.ask(rr, 5, Answered)
		expect(t, "a while it cools", l.turnsOf("a", rr), before)
		l.fail("b", 3)
		b := l.state("b").Turns[rr]
		l.ask(rr, 1, NotCounted)
		l.ask(rr, 1, NotCounted)
		after := l.state("b").Turns[rr]
		if after.Assigned != b.Assigned+1 || after.Fair != b.Fair+1 {
			t.Errorf("b had %+v and %+v: with no open worker, a turn is a fair one", b, after)
		}
		time.Sleep(time.Minute)
	})
}

// A weight counts from the order on.
func TestTurnsAfterSetWeight(t *testing.T) {
	l := newLab(t, 1, 1)
	l.ask(rr, 4, Answered)
	ordered(t)(l.SetWeight("a", 3))
	l.ask(rr, 8, Answered)
	expect(t, "a", l.turnsOf("a", rr), "8 of 8")
	expect(t, "b", l.turnsOf("b", rr), "4 of 4")
}

// Workers that are full now and then, each at another time, have their shares in
// the long run, though the weights of those that are open change all the time.
func TestTurnsWithLimits(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 10 {
		l := newLab(t, 5, 4, 3, 2, 1)
		for _, m := range l.members {
			m.limit = 1 + r.IntN(4)
		}
		var held []Lease
		for range 20_000 {
			if len(held) < 4 && r.IntN(2) == 0 {
				held = append(held, l.take(rr))
			} else if i := len(held); i > 0 {
				i = r.IntN(i)
				held[i].Release(Answered)
				held = slices.Delete(held, i, i+1)
			}
		}
		for _, w := range l.Snapshot() {
			if had := w.Turns[rr]; math.Abs(float64(had.Assigned)-had.Fair) > 4 {
				t.Errorf("%s, weight %d, limit %d: %+v", w.Name, w.Weight, w.Limit, had)
			}
		}
	}
}

// A removed worker's turns go on in the sums.
func TestTurnsOfTheRemoved(t *testing.T) {
	l := newLab(t, 1, 1)
	must := ordered(t)
	l.ask(lc, 4, Answered)
	must(l.Remove("a"))
	must(l.Remove("b"))
	if got := l.Pool.Snapshot().Removed.Turns[lc]; got != (Turns{Assigned: 4, Fair: 4}) {
		t.Errorf("the sums are %+v", got)
	}
}

// The account, kept literally: each choice gives each open worker its fraction.
func TestTurnsFollowTheirRule(t *testing.T) {
	weigh := func(r *rand.Rand) int { return 1 + r.IntN(5) }
	follow(t, 9, weigh, func(l *lab) func(int, []Status, int) {
		want := make([][]Turns, len(l.members))
		for i := range want {
			want[i] = make([]Turns, 3)
		}
		return func(s int, before []Status, chosen int) {
			want[chosen][s].Assigned++
			weights := 0
			for _, w := range before {
				if w.isEligible() {
					weights += w.Weight
				}
			}
			for i, w := range before {
				switch {
				case w.isEligible():
					want[i][s].Fair += float64(w.Weight) / float64(weights)
				case weights == 0 && i == chosen:
					want[i][s].Fair++
				}
			}
			for i, w := range l.Snapshot() {
				if !slices.EqualFunc(w.Turns, want[i], Turns.isAbout) {
					l.t.Fatalf("%s has %+v, want %+v", w.Name, w.Turns, want[i])
				}
			}
		}
	})
}

func (a Turns) isAbout(b Turns) bool {
	return a.Assigned == b.Assigned && math.Abs(a.Fair-b.Fair) < 1e-6
}
