package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"balancelab/internal/load"
)

// The picture's measures, in its own units. A panel is one scenario.
const (
	width       = 760
	left, right = 76, 28 // margins of a plot
	head        = 76     // above the first panel
	panelHeight = 366
	plotTop     = 112 // in a panel
	plotHeight  = 200
	foot        = 8
)

// style is for light and for dark. The picture has a ground of its own, since
// a page may be dark where the system is not. The colours also
// suit a reader that does not see red and green; and each line is dashed in
// another way.
const style = `
    svg { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    .ground { fill: #ffffff; stroke: #d4d8de; }
    text { fill: #1f2430; }
    .title { font-size: 18px; font-weight: 600; }
    .panel { font-size: 14px; font-weight: 600; }
    .faint { fill: #5b6472; }
    .end { text-anchor: end; }
    .middle { text-anchor: middle; }
    .grid { stroke: #e3e6eb; }
    .axis { stroke: #8a93a0; }
    .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
    .round_robin { stroke: #c2410c; stroke-dasharray: 7 3; }
    .least_connections { stroke: #1d5fd0; }
    .one-queue-in-the-broker { stroke: #15803d; stroke-dasharray: 2 3; }
    @media (prefers-color-scheme: dark) {
      .ground { fill: #14181f; stroke: #343b47; }
      text { fill: #e8ebf0; }
      .faint { fill: #a3adbb; }
      .grid { stroke: #2a313c; }
      .axis { stroke: #7c8796; }
      .round_robin { stroke: #fb923c; }
      .least_connections { stroke: #6ea8ff; }
      .one-queue-in-the-broker { stroke: #4ade80; }
    }
  `

// draw writes a picture of all latencies: for each scenario how large a part
// of the requests was answered within which time. Times are on a logarithmic
// scale, the same one for all scenarios.
func draw(w io.Writer, p plan, scenarios []scenario) {
	height := head + panelHeight*len(scenarios) + foot
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">
  <title id="title">Round robin, least connections and one queue: how soon requests were answered</title>
  <desc id="desc">%s</desc>
  <style>%s</style>
  <rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
`, width, height, width, height, escaped(description(scenarios)), style, width-1, height-1)
	label(w, left, 32, "title", "How soon requests were answered")
	label(w, left, 54, "faint", fmt.Sprintf("%d requests at %.3g a second, %d workers%s", p.n, p.rate, workers, slotsText(p)))
	scale := newScale(scenarios)
	for i, s := range scenarios {
		fmt.Fprintf(w, "  <g transform=\"translate(0 %d)\">\n", head+i*panelHeight)
		drawPanel(w, scale, s)
		fmt.Fprint(w, "  </g>\n")
	}
	fmt.Fprint(w, "</svg>\n")
}

func slotsText(p plan) string {
	switch p.slots {
	case 0:
		return ""
	case 1:
		return " with one slot each"
	}
	return fmt.Sprintf(" with %d slots each", p.slots)
}

// description says the picture's figures in words, for a reader that does not see it.
func description(scenarios []scenario) string {
	var all []string
	for _, s := range scenarios {
		var each []string
		for _, o := range s.outcomes {
			l := o.latencies
			each = append(each, fmt.Sprintf("%s mean %v, median %v, p95 %v, max %v", o.way.name, load.Span(mean(l)),
				load.Span(percentile(l, 50)), load.Span(percentile(l, 95)), load.Span(percentile(l, 100))))
		}
		all = append(all, s.name+": "+strings.Join(each, "; ")+".")
	}
	return strings.Join(all, " ")
}

func drawPanel(w io.Writer, x scale, s scenario) {
	const bottom = plotTop + plotHeight
	label(w, left, 24, "panel", s.name)
	for _, percent := range []int{0, 25, 50, 75, 100} {
		y := bottom - plotHeight*float64(percent)/100
		segment(w, "grid", left, y, width-right, y)
		label(w, left-8, y+4.5, "faint end", fmt.Sprintf("%d %%", percent))
	}
	for _, t := range x.ticks {
		segment(w, "grid", x.at(t), plotTop, x.at(t), bottom)
		label(w, x.at(t), bottom+18, "faint middle", tickText(t))
	}
	segment(w, "axis", left, bottom, width-right, bottom)
	label(w, (left+width-right)/2, bottom+38, "middle", "time until the answer (logarithmic)")
	fmt.Fprintf(w, "    <text class=\"middle\" transform=\"translate(20 %d) rotate(-90)\">requests answered</text>\n", plotTop+plotHeight/2)
	for i, o := range s.outcomes {
		fmt.Fprintf(w, "    <path class=\"line %s\" d=\"%s\"/>\n", o.way.class(), curve(x, o.latencies, bottom))
		drawLegend(w, 52+22*float64(i), o)
	}
}

// drawLegend says which line is whose, and its figures, at the height y.
func drawLegend(w io.Writer, y float64, o outcome) {
	segment(w, "line "+o.way.class(), left, y-4, left+34, y-4)
	label(w, left+42, y, "", fmt.Sprintf("%s: mean %v, p95 %v, max %v", o.way.name,
		load.Span(mean(o.latencies)), load.Span(percentile(o.latencies, 95)), load.Span(percentile(o.latencies, 100))))
}

// mostSteps is how many steps a curve has at most: more can't be seen.
const mostSteps = 500

// curve returns the path of the part of times, which are in order, that is
// not longer than x says.
func curve(x scale, times []time.Duration, bottom float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "M%.1f %.1f", float64(left), bottom)
	steps := min(len(times), mostSteps)
	for i := 1; i <= steps; i++ {
		n := i * len(times) / steps
		fmt.Fprintf(&b, "H%.1fV%.1f", x.at(times[n-1]), bottom-plotHeight*float64(n)/float64(len(times)))
	}
	return b.String()
}

// A scale is a logarithmic axis of times.
type scale struct {
	ticks []time.Duration // 1, 2 or 5 times a power of ten; the first and last are the ends
}

// newScale returns the scale that holds all latencies of all scenarios.
func newScale(scenarios []scenario) scale {
	low, high := time.Duration(math.MaxInt64), time.Duration(1)
	for _, s := range scenarios {
		for _, o := range s.outcomes {
			if len(o.latencies) > 0 {
				low, high = min(low, o.latencies[0]), max(high, o.latencies[len(o.latencies)-1])
			}
		}
	}
	low = max(min(low, high), 1)
	var s scale
	for power := time.Duration(1); power <= math.MaxInt64/10; power *= 10 {
		for _, step := range []time.Duration{1, 2, 5} {
			s.ticks = append(s.ticks, step*power)
		}
	}
	first, exact := slices.BinarySearch(s.ticks, low)
	if !exact {
		first--
	}
	last, _ := slices.BinarySearch(s.ticks, high)
	s.ticks = s.ticks[first : min(max(last, first+1), len(s.ticks)-1)+1]
	return s
}

// at returns where t is on the axis.
func (s scale) at(t time.Duration) float64 {
	low, high := s.ticks[0], s.ticks[len(s.ticks)-1]
	part := math.Log(float64(cmp.Or(t, 1))/float64(low)) / math.Log(float64(high)/float64(low))
	return left + (width-right-left)*part
}

func tickText(t time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"s", time.Second}, {"ms", time.Millisecond}, {"µs", time.Microsecond}} {
		if t >= unit.d {
			return fmt.Sprintf("%d %s", t/unit.d, unit.name)
		}
	}
	return fmt.Sprintf("%d ns", t)
}

func label(w io.Writer, x, y float64, class, text string) {
	fmt.Fprintf(w, "    <text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, escaped(text))
}

func segment(w io.Writer, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(w, "    <path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2)
}

// escaped returns text as it may stand in XML.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
