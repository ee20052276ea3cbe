package stats

import (
	"balancelab/internal/balance"
	"balancelab/internal/protocol"
)

// spreads returns one spread for each approach. Workers that were removed had
// their part too.
func spreads(pool *balance.Snapshot) []Spread {
	var all []Spread
	for _, a := range protocol.Approaches() {
		turns := make([]balance.Turns, 0, len(pool.Workers))
		for _, w := range pool.Workers {
			turns = append(turns, w.Turns[a])
		}
		s := newSpread(turns, pool.Removed.Turns[a].Assigned)
		s.Approach = a
		all = append(all, s)
	}
	return all
}

// newSpread measures how evenly the turns of each worker go with what was fair.
func newSpread(turns []balance.Turns, removed int) Spread {
	s := Spread{Assigned: removed, Shares: make([]float64, len(turns)), Fair: make([]float64, len(turns))}
	for _, t := range turns {
		s.Assigned += t.Assigned
	}
	if s.Assigned == 0 {
		return s
	}
	var sum, squares, n float64 // of the turns for each turn that was fair
	for i, t := range turns {
		s.Shares[i] = float64(t.Assigned) / float64(s.Assigned)
		s.Fair[i] = t.Fair / float64(s.Assigned)
		s.MaxDeviation = max(s.MaxDeviation, s.Shares[i]-s.Fair[i], s.Fair[i]-s.Shares[i])
		if t.Fair > 0 {
			x := float64(t.Assigned) / t.Fair
			sum += x
			squares += x * x
			n++
		}
	}
	if squares > 0 {
		s.Evenness = sum * sum / (n * squares)
	}
	return s
}
