package load

import (
	"math/bits"
	"time"
)

// A histogram counts times in buckets whose width grows with the time: each
// power of two of nanoseconds has 128 of them. So a bucket is at most 1/128 of
// its times wide, and its middle is off by less than 0.4 %. Times below 128 ns
// have a bucket each; times above 73 minutes share the last one.
//
// The zero value is empty.
type histogram struct {
	counts   [buckets]uint64
	n        uint64
	sum      uint64 // nanoseconds; 584 years of them fit
	min, max time.Duration
}

const (
	subBits    = 7
	subBuckets = 1 << subBits
	topBits    = 42 // 1<<topBits nanoseconds are 73 minutes
	buckets    = (topBits - subBits + 1) * subBuckets
)

// bucket returns the number of the bucket of d, which is not negative.
func bucket(d time.Duration) int {
	if d < subBuckets {
		return int(d)
	}
	shift := bits.Len64(uint64(d)) - subBits - 1
	return min((shift+1)*subBuckets+int(d>>shift)-subBuckets, buckets-1)
}

// middle returns the time in the middle of bucket i.
func middle(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	shift := i/subBuckets - 1
	low := time.Duration(i%subBuckets+subBuckets) << shift
	return low + (time.Duration(1)<<shift)/2
}

// add counts d; a negative one, which a clock that was set back may give,
// counts as 0.
func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)]++
	h.sum += uint64(d)
	h.span(d, d)
	h.n++
}

// merge counts all that o has counted.
func (h *histogram) merge(o *histogram) {
	if o.n == 0 {
		return
	}
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
	h.span(o.min, o.max)
	h.n += o.n
}

// span widens the range; n tells whether there is one yet.
func (h *histogram) span(low, high time.Duration) {
	if h.n == 0 || low < h.min {
		h.min = low
	}
	h.max = max(h.max, high)
}

// mean returns the exact mean, or 0 of nothing.
func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / h.n)
}

// percentile returns the least time that percent of all times, from 1 to 100,
// do not exceed, or 0 of nothing.
func (h *histogram) percentile(percent uint64) time.Duration {
	rank := (percent*h.n + 99) / 100
	if rank == h.n {
		return h.max
	}
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if seen >= rank {
			return h.within(middle(i))
		}
	}
	return h.max
}

// within returns d, or the end of the range that it lies beyond.
func (h *histogram) within(d time.Duration) time.Duration {
	return min(max(d, h.min), h.max)
}
