package main

import (
	"math"
	"strings"
	"testing"
)

func TestMediansAreOfEachFigure(t *testing.T) {
	rounds := []measurement{{1, 30, 5, 7, math.NaN()}, {2, 10, 5, 9, math.NaN()}, {3, 20, 5, 8, math.NaN()}}
	got := medians(rounds)
	if got.rate != 2 || got.p50 != 20 || got.p99 != 5 || got.cpu != 8 || !math.IsNaN(got.memory) {
		t.Errorf("%+v", got)
	}
}

// The rivals' best is taken for each figure by itself.
func TestTable(t *testing.T) {
	limit := unmeasured()
	limit.rate, limit.p50, limit.p99 = 33000, 0.001, 0.002
	rows := []row{
		{"broker", measurement{17000, 0.0025, 0.0123, 50e-6, 7700}, false},
		{"HAProxy", measurement{20600, 0.002, 0.005, 41e-6, 3400}, true},
		{"nginx", measurement{21200, 0.002, 0.006, 37e-6, 9800}, true},
		{"nobody", limit, false},
	}
	var b strings.Builder
	writeTable(&b, "round_robin", rows)
	const want = `| round_robin | requests/s |    × |    p50 |     p99 | CPU µs/request |    × | bytes/Long |    × |
|-------------|-----------:|-----:|-------:|--------:|---------------:|-----:|-----------:|-----:|
| broker      |     17,000 | 0.80 | 2.5 ms | 12.3 ms |             50 | 1.35 |      7,700 | 2.26 |
| HAProxy     |     20,600 | 0.97 | 2.0 ms |  5.0 ms |             41 | 1.11 |      3,400 | 1.00 |
| nginx       |     21,200 | 1.00 | 2.0 ms |  6.0 ms |             37 | 1.00 |      9,800 | 2.88 |
| nobody      |     33,000 | 1.56 | 1.0 ms |  2.0 ms |              – |    – |          – |    – |
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

func TestTableWithoutRivals(t *testing.T) {
	var b strings.Builder
	writeTable(&b, "round_robin", []row{{"broker", measurement{17000, 0.0025, 0.0123, 50e-6, 7700}, false}})
	const want = "| broker      |     17,000 | – | 2.5 ms | 12.3 ms |             50 | – |      7,700 | – |\n"
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("got\n%swant at its end\n%s", &b, want)
	}
}
