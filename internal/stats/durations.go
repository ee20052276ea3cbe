package stats

import (
	"time"

	"balancelab/internal/histogram"
)

// bounds are the upper ends of the buckets of [durations]. The two jobs of the
// lab take 1 and 5 seconds and a little more, so there are bounds close above.
var bounds = [...]time.Duration{
	1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 1250 * time.Millisecond, 2500 * time.Millisecond,
	5 * time.Second, 6 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second,
}

// durations counts durations since the start in the few buckets that a
// monitoring system is given. Monitoring adds up the buckets of many programs
// and moments, so their bounds are fixed and few; the percentiles of the last
// minute come from a [histogram.Histogram].
type durations struct {
	counts [len(bounds) + 1]int // for each bound alone, not cumulative; the last is for longer ones
	count  int
	sum    histogram.Sum
}

func (d *durations) add(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.counts[i]++
	d.count++
	d.sum.Add(took)
}

// histogram returns the cumulative form.
func (d *durations) histogram() Histogram {
	h := Histogram{Count: d.count, Sum: d.sum.Seconds()}
	n := 0
	for i, bound := range bounds {
		n += d.counts[i]
		h.Buckets = append(h.Buckets, Bucket{Le: bound.Seconds(), Count: n})
	}
	return h
}
