package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	var d durations
	all := []time.Duration{0, 97_720, 97_721, time.Millisecond, time.Millisecond, 1023 * time.Millisecond, 1023*time.Millisecond + 1, time.Hour}
	var sum time.Duration
	for _, took := range all {
		d.add(took)
		sum += took
	}
	h := d.histogram()
	want := []Bucket{{9.772e-05, 2}, {.0001023, 3}, {.001023, 5}, {1.023, 6}, {1.072, 7}}
	if !slices.Equal(h.Buckets, want) || h.Count != len(all) || h.Sum != sum.Seconds() {
		t.Errorf("got %+v, want %v", h, want)
	}
}

// TestBounds checks what the package says of the bounds: from 100 µs to 100 s
// none of them is 5 % above the one before, and none is near a round time, a
// little above which a worker's answers are.
func TestBounds(t *testing.T) {
	all := Bounds()
	if all[0] > 100e-6 || all[len(all)-1] < 100 {
		t.Errorf("they go from %v to %v", all[0], all[len(all)-1])
	}
	for i := 1; i < len(all); i++ {
		if ratio := all[i] / all[i-1]; ratio > 1.05 || ratio < 1.04 {
			t.Errorf("%v is %v times %v", all[i], ratio, all[i-1])
		}
	}
	for decade := 1e-4; decade < 100; decade *= 10 {
		for _, round := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
			for _, bound := range all {
				if off := bound/(round*decade) - 1; math.Abs(off) < .008 {
					t.Errorf("the bound %v is %.1f %% beside %v", bound, 100*off, round*decade)
				}
			}
		}
	}
}

// histogramQuantile is what Prometheus makes of a histogram, as in its
// promql/quantile.go: it interpolates in the bucket in which the quantile lies.
func histogramQuantile(q float64, h Histogram) float64 {
	counts := make([]int, 0, numBounds+1)
	n, buckets := 0, h.Buckets
	for _, le := range Bounds() {
		if len(buckets) > 0 && buckets[0].Le == le {
			n, buckets = buckets[0].Count, buckets[1:]
		}
		counts = append(counts, n)
	}
	counts = append(counts, h.Count)
	rank := q * float64(h.Count)
	b := slices.IndexFunc(counts, func(n int) bool { return float64(n) >= rank })
	all := Bounds()
	switch b {
	case len(all):
		return all[b-1]
	case 0:
		return all[0] * rank / float64(counts[0])
	}
	start, within := all[b-1], float64(counts[b]-counts[b-1])
	return start + (all[b]-start)*(rank-float64(counts[b-1]))/within
}

// distributions are ways in which durations may lie between 100 µs and 100 s.
// scale is a duration of that range.
var distributions = map[string]func(scale float64) []float64{
	"all alike": func(scale float64) []float64 { return slices.Repeat([]float64{scale}, 1000) },
	"one":       func(scale float64) []float64 { return []float64{scale} },
	"half of them wait for the other half": func(scale float64) []float64 {
		return append(slices.Repeat([]float64{scale}, 501), slices.Repeat([]float64{2 * scale}, 500)...)
	},
	"Shorts and Longs": func(scale float64) []float64 {
		return append(slices.Repeat([]float64{scale}, 99), slices.Repeat([]float64{5 * scale}, 101)...)
	},
	"a few are slow": func(scale float64) []float64 {
		return append(slices.Repeat([]float64{scale}, 985), slices.Repeat([]float64{9 * scale}, 15)...)
	},
	"a queue": func(scale float64) (all []float64) {
		for i := range 100 {
			all = append(all, scale*float64(i+1))
		}
		return all
	},
	"exponential": func(scale float64) []float64 {
		return draw(func(r *rand.Rand) float64 { return scale * (1 + r.ExpFloat64()) })
	},
	"log-normal": func(scale float64) []float64 {
		return draw(func(r *rand.Rand) float64 { return scale * math.Exp(r.NormFloat64()) })
	},
	"uniform": func(scale float64) []float64 {
		return draw(func(r *rand.Rand) float64 { return scale * (1 + r.Float64()) })
	},
}

func draw(next func(*rand.Rand) float64) (all []float64) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 999 {
		all = append(all, next(r))
	}
	return all
}

// TestQuantiles compares what Prometheus says with the truth.
func TestQuantiles(t *testing.T) {
	worst := map[float64]float64{}
	for name, durationsAt := range distributions {
		for scale := 100e-6; scale <= 100; scale *= 1.0137 {
			var d durations
			var all []float64
			for _, seconds := range durationsAt(scale) {
				took := time.Duration(min(max(seconds, 100e-6), 100) * 1e9)
				d.add(took)
				all = append(all, took.Seconds())
			}
			slices.Sort(all)
			for q, limit := range map[float64]float64{.5: .05, .95: .1, .99: .1} {
				truth := all[max(int(math.Ceil(q*float64(len(all))-1e-9))-1, 0)]
				got := histogramQuantile(q, d.histogram())
				off := math.Abs(got-truth) / truth
				worst[q] = max(worst[q], off)
				if off > limit {
					t.Errorf("%s, from %v s on: the quantile %v is %v, and is shown as %v", name, scale, q, truth, got)
				}
			}
		}
	}
	t.Logf("the worst errors of each quantile: %.4f", worst)
}

// The times of the lab's own jobs, which take a little longer than they sleep.
func TestMedianOfNominalTimes(t *testing.T) {
	for _, nominal := range []float64{.02, .1, .2, .3, .4, .5, 1, 2, 3, 5, 10, 20} {
		var d durations
		for i := range 100 {
			d.add(time.Duration(nominal * (1 + float64(i)*3e-5) * 1e9))
		}
		if got := histogramQuantile(.5, d.histogram()); math.Abs(got/nominal-1) > .02 {
			t.Errorf("the median of %v s is shown as %v", nominal, got)
		}
	}
}
