package simulate

import (
	"math"

	"balancelab/internal/balance"
)

// turns is what round robin owes each worker, by the worker's name: at each first
// choice those that could be chosen earn their shares of one turn, and the one that is
// chosen pays one. One that is full, or drains, goes on with it afterwards.
type turns map[string]*credit

// A credit is how many turns a worker should have had more than it has had.
type credit struct {
	weight int
	turns  float64
}

// off is how many turns a credit may be off, in both directions. It was 2.1 at most in
// 600 runs. The order of what happens in the same moment is not known.
const off = 4

// count counts a turn, and checks the credits.
func (t turns) count(c *checker, all []balance.Status, chosen *balance.Status) {
	sum := 0
	for i := range all {
		if w := &all[i]; usable(w, chosen) {
			sum += w.Weight
		}
	}
	for i := range all {
		w := &all[i]
		if !usable(w, chosen) {
			continue
		}
		k := t.of(w)
		k.turns += float64(w.Weight) / float64(sum)
		if w == chosen {
			k.turns--
		}
		if math.Abs(k.turns) > off {
			c.doubt("round robin owes %s %.1f turns", w.Name, k.turns)
			t.renew(w.Name)
		}
	}
}

// of returns a worker's credit. With a new weight a worker begins anew.
func (t turns) of(w *balance.Status) *credit {
	k := t[w.Name]
	if k == nil || k.weight != w.Weight {
		k = &credit{weight: w.Weight}
		t[w.Name] = k
	}
	return k
}

// renew has a worker begin anew, as one does that was out.
func (t turns) renew(worker string) { delete(t, worker) }

// usable reports whether w, which may be the chosen one, was open before the
// choice.
func usable(w, chosen *balance.Status) bool { return w == chosen || open(w) }
