package bench

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

// WriteTable writes lines as a table in Markdown. The first line has the titles.
// The first column stands on the left, the others on the right.
func WriteTable(w io.Writer, lines [][]string) {
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

// Number returns a whole number with a comma between thousands; a dash for NaN,
// which is what was not measured.
func Number(x float64) string {
	if math.IsNaN(x) {
		return notMeasured
	}
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Ratio returns x / to, with two digits behind the point if it is less than 100;
// a dash if one of them was not measured, or to is 0.
func Ratio(x, to float64) string {
	switch {
	case to == 0 || math.IsNaN(x/to):
		return notMeasured // a short load may take less CPU time than a clock tick
	case x/to >= 100:
		return Number(x / to)
	}
	return strconv.FormatFloat(x/to, 'f', 2, 64)
}

// Milliseconds returns a time in milliseconds, with its unit; a dash for NaN.
func Milliseconds(seconds float64) string {
	if math.IsNaN(seconds) {
		return notMeasured
	}
	d := time.Duration(seconds * float64(time.Second))
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
}

// Median returns the median of values, without those that were not measured;
// NaN if that is none.
func Median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
