package bench

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 2, 3}, 2.5},
		{[]float64{7}, 7},
		{[]float64{nan, 5, nan}, 5},
		{[]float64{nan}, nan},
		{nil, nan},
	} {
		if got := Median(test.values); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%v: %v, want %v", test.values, got, test.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 7.4: "7", 999.5: "1,000", 28500: "28,500", 1234567: "1,234,567", -123: "-123", -1234: "-1,234",
	} {
		if got := Number(x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
}

func TestRatio(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		x, to float64
		want  string
	}{{3, 2, "1.50"}, {99.4, 1, "99.40"}, {3001, 2, "1,501"}, {0, 2, "0.00"}, {3, 0, "–"}, {0, 0, "–"}, {nan, 2, "–"}, {3, nan, "–"}} {
		if got := Ratio(test.x, test.to); got != test.want {
			t.Errorf("%v to %v: %q, want %q", test.x, test.to, got, test.want)
		}
	}
}
