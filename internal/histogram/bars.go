package histogram

import (
	"math"
	"time"
)

// A Bar counts the durations that are longer than From and at most To. The
// first bar also counts those that are as long as From.
type Bar struct {
	From, To time.Duration
	Count    uint64
}

// Bars divides the range from the minimum to the maximum into at most limit
// bars. In each of them To/From is the same and at least ratio, so that the
// range may be wide and the short durations still have bars of their own. There
// are no bars if there are no durations.
//
// A bucket is counted in one bar as a whole. With a ratio close to that of the
// buckets, 1 + 1/(1<<precision), some bars would have no bucket and look empty.
func (h *Histogram) Bars(limit int, ratio float64) []Bar {
	if h.count == 0 {
		return nil
	}
	low := float64(max(h.min, time.Microsecond))
	high := float64(max(h.max, time.Microsecond))
	fitting := int(math.Log(high/low) / math.Log(ratio))
	bars := make([]Bar, max(1, min(fitting, limit)))
	from := h.min
	for i := range bars {
		to := time.Duration(low * math.Pow(high/low, float64(i+1)/float64(len(bars))))
		bars[i] = Bar{From: from, To: to}
		from = to
	}
	bars[len(bars)-1].To = h.max // which rounding may have missed
	h.fill(bars)
	return bars
}

func (h *Histogram) fill(bars []Bar) {
	bar := 0
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		for bar < len(bars)-1 && h.estimate(i) > bars[bar].To {
			bar++
		}
		bars[bar].Count += n
	}
}
