package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// near expects got to be off by less than 1 %.
func near(t *testing.T, what string, got Span, want time.Duration) {
	t.Helper()
	if off := math.Abs(float64(got)/float64(want) - 1); off >= 0.01 {
		t.Errorf("%s: %v, want %v", what, time.Duration(got), want)
	}
}

// drawn returns n times between a microsecond and an hour, as many in each
// power of ten.
func drawn(seed uint64, n int) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 4))
	times := make([]time.Duration, n)
	for i := range times {
		decades := math.Log10(float64(time.Hour / time.Microsecond))
		times[i] = time.Duration(1000 * math.Pow(10, decades*random.Float64()))
	}
	return times
}

func counted(times []time.Duration) *histogram {
	h := new(histogram)
	for _, d := range times {
		h.add(d)
	}
	return h
}

func TestHistogramAgainstExactFigures(t *testing.T) {
	for _, n := range []int{1, 2, 3, 99, 100, 101, 20_000} {
		times := drawn(uint64(n), n)
		h := counted(times)
		slices.Sort(times)
		var sum time.Duration
		for _, d := range times {
			sum += d
		}
		expect(t, "min", h.min, times[0])
		expect(t, "max", h.max, times[n-1])
		expect(t, "mean", h.mean(), sum/time.Duration(n))
		for percent := 1; percent <= 100; percent++ {
			rank := (percent*n + 99) / 100
			near(t, fmt.Sprintf("p%d of %d", percent, n), Span(h.percentile(uint64(percent))), times[rank-1])
		}
	}
}

func TestPercentilesAreMonotone(t *testing.T) {
	for seed := range uint64(50) {
		h := counted(drawn(seed, 1+int(seed*seed)))
		before := h.min
		for percent := uint64(1); percent <= 100; percent++ {
			p := h.percentile(percent)
			if p < before || p > h.max {
				t.Fatalf("seed %d: p%d is %v, after %v, and the maximum is %v", seed, percent, p, before, h.max)
			}
			before = p
		}
	}
}

func TestHistogramEnds(t *testing.T) {
	h := new(histogram)
	expect(t, "p50 of nothing", h.percentile(50), 0)
	expect(t, "mean of nothing", h.mean(), 0)
	h.merge(new(histogram))
	h.add(-time.Second)
	expect(t, "a negative time", h.max, 0)
	h.add(math.MaxInt64)
	expect(t, "max", h.max, math.MaxInt64)
	expect(t, "number", h.n, 2)
}

// Neighbouring buckets touch: no time falls between two, and none is out of
// order.
func TestBucketsAreInOrder(t *testing.T) {
	for d := time.Duration(0); d < time.Hour; d += d/300 + 1 {
		i, j := bucket(d), bucket(d+1)
		if j != i && j != i+1 {
			t.Fatalf("%v is in bucket %d, and a nanosecond more in %d", d, i, j)
		}
		expect(t, "the bucket of a middle", bucket(middle(i)), i)
	}
	if i := bucket(time.Hour); i >= buckets-1 {
		t.Errorf("an hour shares the last bucket")
	}
}

func TestMergedIsTheSame(t *testing.T) {
	times := drawn(1, 1000)
	whole, merged := counted(times), counted(times[:300])
	merged.merge(counted(times[300:]))
	merged.merge(new(histogram))
	if *whole != *merged {
		t.Error("two merged histograms differ from the one of all times")
	}
}

func TestBars(t *testing.T) {
	for seed := range uint64(20) {
		h := counted(drawn(seed, 1+int(seed*seed*seed)))
		bars := h.bars()
		expect(t, "the first bar", bars[0].From, Span(h.min))
		expect(t, "the last bar", bars[len(bars)-1].To, Span(h.max))
		var n int64
		for i, b := range bars {
			n += b.Count
			if i > 0 && b.From != bars[i-1].To {
				t.Errorf("bar %d begins at %v, the one before ends at %v", i, b.From, bars[i-1].To)
			}
		}
		expect(t, "counted in bars", n, int64(h.n))
		if len(bars) > maxBars {
			t.Errorf("%d bars", len(bars))
		}
	}
	expect(t, "bars of nothing", len(new(histogram).bars()), 0)
	expect(t, "bars of equal times", len(counted([]time.Duration{5, 5, 5}).bars()), 1)
	expect(t, "bars of 0", len(counted([]time.Duration{0}).bars()), 1)
}

func TestBarsSpread(t *testing.T) {
	bars := counted([]time.Duration{time.Millisecond, time.Millisecond, time.Second}).bars()
	expect(t, "bars", len(bars), maxBars)
	expect(t, "fast ones", bars[0].Count, 2)
	expect(t, "slow ones", bars[maxBars-1].Count, 1)
}

func BenchmarkHistogramAdd(b *testing.B) {
	h := new(histogram)
	for i := range b.N {
		h.add(time.Duration(i) * 1000)
	}
}
