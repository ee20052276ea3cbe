package histogram

import (
	"testing"
	"time"
)

// The bars of a load run's report.
const (
	limit = 10
	ratio = 1.03
)

func TestBars(t *testing.T) {
	for seed := range uint64(20) {
		h := counted(fine(), drawn(seed, 1+int(seed*seed*seed))...)
		bars := h.Bars(limit, ratio)
		expect(t, "the first bar", bars[0].From, h.Min())
		expect(t, "the last bar", bars[len(bars)-1].To, h.Max())
		var n uint64
		for i, b := range bars {
			n += b.Count
			if i > 0 && b.From != bars[i-1].To {
				t.Errorf("bar %d begins at %v, the one before ends at %v", i, b.From, bars[i-1].To)
			}
		}
		expect(t, "counted in bars", n, h.Count())
		if len(bars) > limit {
			t.Errorf("%d bars", len(bars))
		}
	}
	expect(t, "bars of nothing", len(fine().Bars(limit, ratio)), 0)
	expect(t, "bars of equal durations", len(counted(fine(), 5, 5, 5).Bars(limit, ratio)), 1)
	expect(t, "bars of 0", len(counted(fine(), 0).Bars(limit, ratio)), 1)
}

func TestBarsSpread(t *testing.T) {
	bars := counted(fine(), time.Millisecond, time.Millisecond, time.Second).Bars(limit, ratio)
	expect(t, "bars", len(bars), limit)
	expect(t, "fast ones", bars[0].Count, 2)
	expect(t, "slow ones", bars[limit-1].Count, 1)
}

// Each bar is ratio times as long as the one before, or more, and no narrower
// than a bucket.
func TestBarsRatio(t *testing.T) {
	for _, test := range []struct {
		high time.Duration
		bars int
	}{{1029, 1}, {1059, 1}, {1062, 2}, {1090, 2}, {1093, 3}, {1_400, 10}, {1_000_000, 10}} {
		h := counted(fine(), time.Millisecond, test.high*time.Microsecond)
		expect(t, test.high.String(), len(h.Bars(limit, ratio)), test.bars)
	}
}
