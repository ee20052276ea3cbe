package histogram

import (
	"math/bits"
	"time"
)

// A Sum is the exact sum of durations. It has 128 bits of nanoseconds.
//
// The 63 bits of a [time.Duration] are not enough for a sum that is kept for
// long: they hold 292 years, and 8,000 requests in flight take that long
// together in 13 days; 64 bits last 27 days. A float64 would lose short
// durations in a large sum. A Sum is safe for 580 billion years.
//
// The zero value is a sum of nothing.
type Sum struct{ high, low uint64 }

// Add adds d. A negative d counts as 0.
func (s *Sum) Add(d time.Duration) { s.merge(Sum{low: uint64(max(d, 0))}) }

func (s *Sum) merge(o Sum) {
	var carry uint64
	s.low, carry = bits.Add64(s.low, o.low, 0)
	s.high += o.high + carry
}

// Seconds returns the sum in seconds, as [time.Duration.Seconds] does for one
// duration.
func (s Sum) Seconds() float64 {
	whole, rest := bits.Div64(s.high, s.low, uint64(time.Second))
	return float64(whole) + float64(rest)/1e9
}

// mean returns the mean of the n durations in s, or 0 if n is 0.
func (s Sum) mean(n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	mean, _ := bits.Div64(s.high, s.low, n)
	return time.Duration(mean)
}
