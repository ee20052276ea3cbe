package load

import (
	"math"
	"time"
)

// A Bar is a row of the drawn histogram: how many answered requests took
// longer than From (the first bar: as long as From) and at most To.
type Bar struct {
	From  Span  `json:"from_seconds"`
	To    Span  `json:"to_seconds"`
	Count int64 `json:"count"`
}

// Bounds of the drawn histogram. Bars narrower than the buckets would have
// gaps between them.
const (
	maxBars  = 10
	minRatio = 1.03 // of a bar's To to its From
)

// bars divides the range of the times into at most 10 bars. Each is wider than
// the one before by the same factor, so that a tail of slow requests leaves
// room for the fast ones.
func (h *histogram) bars() []Bar {
	if h.n == 0 {
		return []Bar{}
	}
	low := float64(max(h.min, time.Microsecond))
	high := float64(max(h.max, time.Microsecond))
	count := int(math.Log(high/low) / math.Log(minRatio))
	count = max(1, min(count, maxBars))
	bars := make([]Bar, count)
	from := Span(h.min)
	for i := range bars {
		to := Span(low * math.Pow(high/low, float64(i+1)/float64(count)))
		bars[i] = Bar{From: from, To: to}
		from = to
	}
	bars[count-1].To = Span(h.max)
	h.fill(bars)
	return bars
}

// fill counts each bucket in the bar that its middle lies in.
func (h *histogram) fill(bars []Bar) {
	bar := 0
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		for bar < len(bars)-1 && h.within(middle(i)) > time.Duration(bars[bar].To) {
			bar++
		}
		bars[bar].Count += int64(n)
	}
}
