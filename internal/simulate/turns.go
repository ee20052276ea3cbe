package simulate

import (
	"math"
	"slices"

	"balancelab/internal/balance"
)

// turns counts what round robin has given each worker while the same workers
// could be chosen, by new requests only: then the shares are as the weights say.
type turns struct {
	set    []member
	counts []int
	total  int
}

// A member is one worker of a set that does not change.
type member struct {
	name   string
	weight int
}

// end forgets the turns: another set may follow.
func (t *turns) end() { t.set = t.set[:0] }

// off is how many turns a share may be off. It is less than 2 at any moment, and this
// count may have begun at any other one.
const off = 4

// count counts a turn, and checks the shares.
//
// With limits, which workers are full changes all the time; shares are as the
// weights say only in the long run then.
func (t *turns) count(c *checker, all []balance.Status, chosen *balance.Status) {
	if slices.ContainsFunc(all, func(w balance.Status) bool { return w.Limit > 0 }) {
		t.end()
		return
	}
	if !t.same(all, chosen) {
		t.begin(all, chosen)
	}
	sum := 0
	for i, m := range t.set {
		if m.name == chosen.Name {
			t.counts[i]++
		}
		sum += m.weight
	}
	t.total++
	for i, m := range t.set {
		fair := float64(t.total*m.weight) / float64(sum)
		if math.Abs(float64(t.counts[i])-fair) > off {
			c.doubt("round robin gave %s %d of %d turns, fair are %.1f", m.name, t.counts[i], t.total, fair)
			t.end()
			return
		}
	}
}

// usable reports whether w, which may be the chosen one, was open before the
// choice.
func usable(w, chosen *balance.Status) bool { return w == chosen || open(w) }

func (t *turns) same(all []balance.Status, chosen *balance.Status) bool {
	i := 0
	for j := range all {
		w := &all[j]
		if !usable(w, chosen) {
			continue
		}
		if i == len(t.set) || t.set[i] != (member{w.Name, w.Weight}) {
			return false
		}
		i++
	}
	return i > 0 && i == len(t.set)
}

func (t *turns) begin(all []balance.Status, chosen *balance.Status) {
	t.set, t.counts, t.total = t.set[:0], t.counts[:0], 0
	for j := range all {
		if w := &all[j]; usable(w, chosen) {
			t.set, t.counts = append(t.set, member{w.Name, w.Weight}), append(t.counts, 0)
		}
	}
}
