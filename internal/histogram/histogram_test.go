package histogram

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// kinds are the two kinds of histogram that the programs use, with the largest
// error of a percentile.
var kinds = []struct {
	name     string
	create   func() *Histogram
	maxError float64
}{
	{"fine", fine, 0.004},
	{"with sums", withSums, 0.125},
}

func fine() *Histogram     { return New(7) }
func withSums() *Histogram { return NewWithSums(3) }

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// within expects got to be off by less than a fraction of want.
func within(t *testing.T, what string, got, want time.Duration, fraction float64) {
	t.Helper()
	if off := math.Abs(float64(got)/float64(want) - 1); off >= fraction {
		t.Errorf("%s: %v, want %v; off by %.2f %%", what, got, want, 100*off)
	}
}

// drawn returns n durations between a microsecond and an hour, as many in each
// power of ten.
func drawn(seed uint64, n int) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 4))
	all := make([]time.Duration, n)
	for i := range all {
		decades := math.Log10(float64(time.Hour / time.Microsecond))
		all[i] = time.Duration(1000 * math.Pow(10, decades*random.Float64()))
	}
	return all
}

// counted adds durations to h and returns it.
func counted(h *Histogram, all ...time.Duration) *Histogram {
	for _, d := range all {
		h.Add(d)
	}
	return h
}

func TestAgainstExactFigures(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{1, 2, 3, 99, 100, 101, 20_000} {
			all := drawn(uint64(n), n)
			h := counted(kind.create(), all...)
			slices.Sort(all)
			var sum time.Duration
			for _, d := range all {
				sum += d
			}
			expect(t, "count", h.Count(), uint64(n))
			expect(t, "min", h.Min(), all[0])
			expect(t, "max", h.Max(), all[n-1])
			expect(t, "mean", h.Mean(), sum/time.Duration(n))
			for percent := 1; percent <= 100; percent++ {
				rank := (percent*n + 99) / 100
				what := fmt.Sprintf("%s: p%d of %d", kind.name, percent, n)
				within(t, what, h.Percentile(float64(percent)), all[rank-1], kind.maxError)
			}
			expect(t, "p100", h.Percentile(100), all[n-1])
		}
	}
}

func TestRank(t *testing.T) {
	h := &Histogram{count: 2000}
	for _, test := range []struct {
		percent float64
		rank    uint64
	}{
		{0, 1}, {0.001, 1}, {0.05, 1}, {0.051, 2}, {1.001, 21}, {7, 140}, {50, 1000}, {50.001, 1001},
		{99.9, 1998}, {99.95, 1999}, {99.951, 2000}, {100, 2000},
	} {
		expect(t, fmt.Sprintf("rank of p%v", test.percent), h.rank(test.percent), test.rank)
	}
	h.count = 100
	for percent := range 101 { // rounding never makes a whole one 1 too high
		expect(t, fmt.Sprintf("rank of p%d of 100", percent), h.rank(float64(percent)), uint64(max(1, percent)))
	}
}

func TestPercentilesAreMonotone(t *testing.T) {
	for _, kind := range kinds {
		for seed := range uint64(50) {
			h := counted(kind.create(), drawn(seed, 1+int(seed*seed))...)
			before := h.Min()
			for percent := 0.0; percent <= 100; percent++ {
				p := h.Percentile(percent)
				if p < before || p > h.Max() {
					t.Fatalf("%s, seed %d: p%v is %v, after %v, and the maximum is %v", kind.name, seed, percent, p, before, h.Max())
				}
				before = p
			}
		}
	}
}

// With sums, durations that are alike are exact, whatever else was added.
func TestSumsAreExactWhereAllAreAlike(t *testing.T) {
	h := withSums()
	for range 10 {
		h.Add(1002 * time.Millisecond)
		h.Add(5003 * time.Millisecond)
		h.Add(20 * time.Second)
	}
	expect(t, "p10", h.Percentile(10), 1002*time.Millisecond)
	expect(t, "p50", h.Percentile(50), 5003*time.Millisecond)
	expect(t, "p90", h.Percentile(90), 20*time.Second)
}

// Without sums, a percentile is never outside the range.
func TestMiddleIsKeptWithinTheRange(t *testing.T) {
	h := counted(fine(), 5003*time.Millisecond, 5003*time.Millisecond)
	expect(t, "p50", h.Percentile(50), 5003*time.Millisecond)
}

func TestEnds(t *testing.T) {
	for _, kind := range kinds {
		h := kind.create()
		expect(t, "p50 of nothing", h.Percentile(50), 0)
		expect(t, "mean of nothing", h.Mean(), 0)
		h.Merge(kind.create())
		expect(t, "count of nothing", h.Count(), 0)
		h.Add(-time.Second)
		expect(t, "max of a negative duration", h.Max(), 0)
		expect(t, "mean of a negative duration", h.Mean(), 0)
		h.Add(math.MaxInt64)
		expect(t, "max", h.Max(), math.MaxInt64)
		expect(t, "p100", h.Percentile(100), math.MaxInt64)
		expect(t, "mean", h.Mean(), math.MaxInt64/2)
		expect(t, "count", h.Count(), 2)
	}
}

// Neighbouring buckets touch: no duration falls between two, and none is out of
// order.
func TestBucketsAreInOrder(t *testing.T) {
	for _, precision := range []int{0, 3, 7, 10} {
		h := New(precision)
		for d := time.Duration(0); d < time.Hour; d += d/3000 + 1 {
			i, j := h.bucket(d), h.bucket(d+1)
			if j != i && j != i+1 {
				t.Fatalf("%v is in bucket %d, and a nanosecond more in %d", d, i, j)
			}
			if got := h.bucket(h.middle(i)); got != i {
				t.Fatalf("the middle of bucket %d is in bucket %d", i, got)
			}
		}
		last := len(h.counts) - 1
		expect(t, "bucket of 0", h.bucket(0), 0)
		expect(t, "the last bucket", h.bucket(1<<topBits-1), last)
		expect(t, "the bucket of what is too long", h.bucket(1<<62), last)
	}
	if h := fine(); h.bucket(time.Hour) >= len(h.counts)-1 {
		t.Errorf("an hour shares the last bucket")
	}
}

// With a precision of 3, durations a few percent apart are in the same bucket
// or in the next one.
func TestBucketsAreWide(t *testing.T) {
	h, last := withSums(), 0
	for d := time.Duration(1); d < 3*time.Hour; d += d/50 + 1 {
		i := h.bucket(d)
		if i < last || i > last+1 || i >= len(h.counts) {
			t.Fatalf("%v is in bucket %d, after %d", d, i, last)
		}
		last = i
	}
	expect(t, "the last bucket", last, len(h.counts)-1)
}

func TestMergedIsTheSame(t *testing.T) {
	for _, kind := range kinds {
		all := drawn(1, 1000)
		whole, merged, other := counted(kind.create(), all...), counted(kind.create(), all[:300]...), counted(kind.create(), all[300:]...)
		before := *other
		before.counts = slices.Clone(other.counts)
		merged.Merge(other)
		merged.Merge(kind.create())
		if !reflect.DeepEqual(whole, merged) {
			t.Errorf("%s: two merged histograms differ from the one of all durations", kind.name)
		}
		if !reflect.DeepEqual(*other, before) {
			t.Errorf("%s: what was merged into another has changed", kind.name)
		}
	}
}

func TestMergeOfDifferentKindsPanics(t *testing.T) {
	for _, other := range []*Histogram{New(3), NewWithSums(7), NewWithSums(3)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("precision %d, %d sums: merged into another kind", other.precision, len(other.sums))
				}
			}()
			fine().Merge(other)
		}()
	}
}

func TestReset(t *testing.T) {
	for _, kind := range kinds {
		h := counted(kind.create(), drawn(1, 100)...)
		h.Reset()
		if !reflect.DeepEqual(h, kind.create()) {
			t.Errorf("%s: something is left", kind.name)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, kind := range kinds {
		h, o := kind.create(), counted(kind.create(), drawn(1, 100)...)
		if n := testing.AllocsPerRun(100, func() { h.Add(time.Second); h.Merge(o); h.Percentile(99); h.Reset() }); n != 0 {
			t.Errorf("%s: %v allocations", kind.name, n)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			h := kind.create()
			for i := range b.N {
				h.Add(time.Duration(i) * 1000)
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) {
			h, o := kind.create(), counted(kind.create(), drawn(1, 1000)...)
			for b.Loop() {
				h.Merge(o)
			}
		})
	}
}
