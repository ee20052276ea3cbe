package stats

import (
	"math"
	"slices"
	"time"

	"balancelab/internal/histogram"
)

// The bounds of the buckets of [durations]: there are stepsPerDecade in each
// power of ten, and decades from shortest on.
//
// Prometheus knows of a percentile only in which bucket it lies, and
// interpolates within it. So it may be wrong by the ratio of the bucket's bounds,
// and no more, however the durations lie. That ratio is 10^(1/50), less than
// 5 %. The bounds stand half a step beside the powers of ten, so that the round
// times that people give their jobs (1 s, 2 s, 5 s, 300 ms) are near the middle
// of their buckets: where all durations are alike, their median is then within
// 2 %.
const (
	stepsPerDecade = 50
	decades        = 6
	shortest       = 100 * time.Microsecond
	numBounds      = decades*stepsPerDecade + 2 // from just below 100 µs to just above 100 s
)

// bounds are the upper ends of the buckets, in order.
var bounds = newBounds()

func newBounds() (all [numBounds]time.Duration) {
	for i := range all {
		exact := float64(shortest) * math.Pow(10, (float64(i)-0.5)/stepsPerDecade)
		unit := math.Pow(10, math.Floor(math.Log10(exact))-3) // four digits are enough
		all[i] = time.Duration(math.Round(exact/unit) * unit)
	}
	return all
}

// durations counts durations since the start in buckets whose bounds are fixed,
// because monitoring adds up the buckets of many programs and moments.
type durations struct {
	counts [numBounds + 1]int // for each bound alone, not cumulative; the last is for longer ones
	count  int
	sum    histogram.Sum
}

func (d *durations) add(took time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], took)
	d.counts[i]++
	d.count++
	d.sum.Add(took)
}

// histogram returns the cumulative form.
func (d *durations) histogram() Histogram {
	h := Histogram{Buckets: []Bucket{}, Count: d.count, Sum: d.sum.Seconds()}
	n := 0
	for i, bound := range bounds {
		if d.counts[i] > 0 {
			n += d.counts[i]
			h.Buckets = append(h.Buckets, Bucket{Le: bound.Seconds(), Count: n})
		}
	}
	return h
}

// Bounds returns the upper ends of all buckets of a [Histogram], in seconds and
// in order.
func Bounds() []float64 {
	all := make([]float64, 0, numBounds)
	for _, bound := range bounds {
		all = append(all, bound.Seconds())
	}
	return all
}
