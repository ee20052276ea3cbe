package main

import (
	"io"
	"math"

	"balancelab/scripts/bench"
)

// A measurement is what was measured of one peer by one approach. What was not
// measured is NaN.
type measurement struct {
	rate     float64 // requests a second
	p50, p99 float64 // seconds
	cpu      float64 // CPU seconds for a request
	memory   float64 // resident bytes for a Long in flight
}

func unmeasured() measurement {
	nan := math.NaN()
	return measurement{nan, nan, nan, nan, nan}
}

// fields returns pointers to all figures of f.
func (f *measurement) fields() []*float64 {
	return []*float64{&f.rate, &f.p50, &f.p99, &f.cpu, &f.memory}
}

// medians returns the median of each figure over the rounds.
func medians(rounds []measurement) measurement {
	m := unmeasured()
	for i, field := range m.fields() {
		var values []float64
		for _, r := range rounds {
			values = append(values, *r.fields()[i])
		}
		*field = bench.Median(values)
	}
	return m
}

// A row is one peer's line of a table.
type row struct {
	name string
	measurement
	rival bool // one of those that the ratios are to
}

// best returns the best figures of the rivals, each for itself: the most
// requests a second, the least of all else.
func best(rows []row) measurement {
	b := unmeasured()
	for _, r := range rows {
		if !r.rival {
			continue
		}
		for i, field := range b.fields() {
			value := *r.fields()[i]
			better := value < *field
			if i == 0 {
				better = value > *field
			}
			if math.IsNaN(*field) || better {
				*field = value
			}
		}
	}
	return b
}

// writeTable writes rows as a table in Markdown. An × column has the ratios of
// the column before it to the best of the rivals.
func writeTable(w io.Writer, title string, rows []row) {
	b := best(rows)
	lines := [][]string{{title, "requests/s", "×", "p50", "p99", "CPU µs/request", "×", "bytes/Long", "×"}}
	for _, r := range rows {
		lines = append(lines, []string{
			r.name,
			bench.Number(r.rate), bench.Ratio(r.rate, b.rate),
			bench.Milliseconds(r.p50), bench.Milliseconds(r.p99),
			bench.Number(r.cpu * 1e6), bench.Ratio(r.cpu, b.cpu),
			bench.Number(r.memory), bench.Ratio(r.memory, b.memory),
		})
	}
	bench.WriteTable(w, lines)
}
