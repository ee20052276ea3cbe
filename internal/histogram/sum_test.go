package histogram

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// A sum of 8,000 requests in flight outlives 64 bits of nanoseconds, and still
// takes notice of a single nanosecond.
func TestSumIsSafe(t *testing.T) {
	const day = 24 * time.Hour
	var s Sum
	for days := 1; days <= 400; days++ {
		for range 80 { // of 100 requests in flight, a day of each
			s.Add(100 * day)
		}
		if got, want := s.Seconds(), float64(days)*8000*86400; got != want {
			t.Fatalf("after %d days: %v s, want %v s", days, got, want)
		}
	}
	before := s
	s.Add(time.Nanosecond)
	if s == before {
		t.Error("a nanosecond is lost in a large sum")
	}
	expect(t, "mean", s.mean(400*80), 100*day)
}

// A sum is what arithmetic without limits says.
func TestSumAgainstBigNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s, other Sum
	want := new(big.Int)
	for n := uint64(1); n <= 10_000; n++ {
		d := time.Duration(random.Int64() >> random.IntN(63))
		want.Add(want, big.NewInt(int64(d)))
		if n%2 == 0 {
			s.Add(d)
		} else {
			other.Add(d)
		}
		all := s
		all.merge(other)
		got := new(big.Int).SetUint64(all.high)
		got.Lsh(got, 64).Add(got, new(big.Int).SetUint64(all.low))
		if got.Cmp(want) != 0 {
			t.Fatalf("after %d: %v, want %v", n, got, want)
		}
		mean := new(big.Int).Div(want, new(big.Int).SetUint64(n))
		expect(t, "mean", int64(all.mean(n)), mean.Int64())
	}
}

func TestSumOfOneIsTheDuration(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 999, 1e9 - 1, 1e9, 1_234_567_891, math.MaxInt64} {
		var s Sum
		s.Add(d)
		expect(t, d.String(), s.Seconds(), d.Seconds())
	}
	var s Sum
	s.Add(-time.Second)
	expect(t, "a negative duration", s, Sum{})
	expect(t, "the mean of nothing", s.mean(0), 0)
}
