// Package histogram counts durations, as many as there are, in a fixed amount
// of memory, and tells their percentiles.
//
// # Buckets
//
// A [Histogram] does not keep durations. It counts how many fell into each of
// its buckets. A bucket is wider the longer its durations are: each power of
// two of nanoseconds is divided into 1<<precision buckets of equal width. With
// a precision of 3, the durations between 4,096 and 8,192 ns have these 8:
//
//	4096  4608  5120  5632  6144  6656  7168  7680  8192
//	  |     |     |     |     |     |     |     |     |
//
// So a bucket's width is the same fraction of its durations everywhere, at most
// 1/8 here, and a percentile has the same relative error for microseconds as
// for minutes. Durations below 1<<precision ns have a bucket each, and are
// exact. Durations of 73 minutes and more share the last bucket.
//
// # What is exact
//
// The count, the minimum, the maximum and the mean are exact. A percentile is
// as exact as the bucket that it lies in:
//
//   - [New] makes a histogram that returns the middle of the bucket. The error
//     is at most half the bucket's width: less than 0.4 % with a precision of 7,
//     which takes 36 KiB.
//   - [NewWithSums] makes one that also has the sum of the durations in each
//     bucket, and returns their mean. The error is less than the bucket's width,
//     and there is none where all durations in the bucket are equal, such as
//     those of jobs that all sleep for 5 seconds. A precision of 3, at most
//     12.5 %, takes 7.5 KiB.
//
// Histograms can be merged. That is how one is filled by many goroutines, each
// with its own, and how the latest minute is kept as 60 histograms of a second.
package histogram

import (
	"math"
	"math/bits"
	"time"
)

// A Histogram counts durations. [New] and [NewWithSums] make one. Its methods
// must not be called at the same time.
type Histogram struct {
	precision int
	counts    []uint64 // for each bucket
	sums      []Sum    // for each bucket; nil if it is not kept
	count     uint64
	sum       Sum
	min, max  time.Duration // 0 while count is 0
}

// topBits limits the buckets: 1<<topBits nanoseconds are 73 minutes.
const topBits = 42

// New returns an empty histogram that has 1<<precision buckets for each power
// of two, precision from 0 to 16.
func New(precision int) *Histogram {
	return &Histogram{
		precision: precision,
		counts:    make([]uint64, (topBits-precision+1)<<precision),
	}
}

// NewWithSums is like [New]; the histogram also keeps a sum for each bucket,
// which takes three times the memory.
func NewWithSums(precision int) *Histogram {
	h := New(precision)
	h.sums = make([]Sum, len(h.counts))
	return h
}

// bucket returns the number of the bucket of d, which is not negative.
func (h *Histogram) bucket(d time.Duration) int {
	if d < 1<<h.precision {
		return int(d)
	}
	shift := bits.Len64(uint64(d)) - h.precision - 1
	return min(shift<<h.precision+int(d>>shift), len(h.counts)-1)
}

// middle returns the duration in the middle of bucket i.
func (h *Histogram) middle(i int) time.Duration {
	if i < 1<<h.precision {
		return time.Duration(i)
	}
	shift := i>>h.precision - 1
	low := time.Duration(i-shift<<h.precision) << shift
	return low + (time.Duration(1)<<shift)/2
}

// Add counts d. A negative d counts as 0: a clock that was set back may give
// one.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	i := h.bucket(d)
	h.counts[i]++
	if h.sums != nil {
		h.sums[i].Add(d)
	}
	h.sum.Add(d)
	h.widen(d, d)
	h.count++
}

// Merge counts all that o has counted, and leaves o as it is. Both must have
// been made in the same way; if not, it panics.
func (h *Histogram) Merge(o *Histogram) {
	if h.precision != o.precision || len(h.sums) != len(o.sums) {
		panic("histogram: merge of two histograms that were not made in the same way")
	}
	if o.count == 0 {
		return
	}
	for i := o.bucket(o.min); i <= o.bucket(o.max); i++ { // all others are empty
		h.counts[i] += o.counts[i]
		if h.sums != nil {
			h.sums[i].merge(o.sums[i])
		}
	}
	h.sum.merge(o.sum)
	h.widen(o.min, o.max)
	h.count += o.count
}

// widen makes the range from min to max include low and high. It must be
// called before they are in count.
func (h *Histogram) widen(low, high time.Duration) {
	if h.count == 0 || low < h.min {
		h.min = low
	}
	h.max = max(h.max, high)
}

// Reset makes h empty. It allocates nothing.
func (h *Histogram) Reset() {
	clear(h.counts)
	clear(h.sums)
	*h = Histogram{precision: h.precision, counts: h.counts, sums: h.sums}
}

// Count returns how many durations were added.
func (h *Histogram) Count() uint64 { return h.count }

// Min returns the shortest duration, or 0 if there is none.
func (h *Histogram) Min() time.Duration { return h.min }

// Max returns the longest duration, or 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the exact mean, rounded down to a nanosecond, or 0 if there are
// no durations.
func (h *Histogram) Mean() time.Duration { return h.sum.mean(h.count) }

// Percentile returns the shortest duration that percent of all durations do not
// exceed, as exactly as the package comment says, or 0 if there are none.
// percent is from 0 to 100, with up to three decimals. When there are fewer than
// 100 durations, the 99th percentile is the maximum, exactly.
func (h *Histogram) Percentile(percent float64) time.Duration {
	rank := h.rank(percent)
	if rank < h.count {
		for i, n := range h.counts {
			if rank <= n {
				return h.estimate(i)
			}
			rank -= n
		}
	}
	return h.max
}

// rank returns which duration a percentile is, counted from 1 in order of
// length. It calculates with integers, because 7 % of 100 in floating point is
// a little more than 7.
func (h *Histogram) rank(percent float64) uint64 {
	thousandths := uint64(math.Round(percent * 1000))
	return max(1, (thousandths*h.count+99_999)/100_000)
}

// estimate returns what is known of the durations in bucket i, which is not
// empty.
func (h *Histogram) estimate(i int) time.Duration {
	if h.sums != nil {
		return h.sums[i].mean(h.counts[i])
	}
	return min(max(h.middle(i), h.min), h.max)
}
