package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
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
		*field = median(values)
	}
	return m
}

// median returns the median of values, without those that were not measured.
func median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
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
			number(r.rate), ratio(r.rate, b.rate),
			milliseconds(r.p50), milliseconds(r.p99),
			number(r.cpu * 1e6), ratio(r.cpu, b.cpu),
			number(r.memory), ratio(r.memory, b.memory),
		})
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprintf(w, "| %s%s |", cell, pad)
			} else {
				fmt.Fprintf(w, " %s%s |", pad, cell)
			}
		}
		fmt.Fprintln(w)
		if n == 0 {
			fmt.Fprintf(w, "|-%s-|", strings.Repeat("-", widths[0]))
			for _, width := range widths[1:] {
				fmt.Fprintf(w, "-%s:|", strings.Repeat("-", width))
			}
			fmt.Fprintln(w)
		}
	}
}

const notMeasured = "–"

// number prints a whole number with a comma between thousands.
func number(x float64) string {
	if math.IsNaN(x) {
		return notMeasured
	}
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ratio(x, to float64) string {
	if to == 0 || math.IsNaN(x/to) {
		return notMeasured // a short load may take less CPU time than a clock tick
	}
	return strconv.FormatFloat(x/to, 'f', 2, 64)
}

func milliseconds(seconds float64) string {
	if math.IsNaN(seconds) {
		return notMeasured
	}
	d := time.Duration(seconds * float64(time.Second))
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
}
