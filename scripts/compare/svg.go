package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"balancelab/internal/load"
	"balancelab/scripts/svg"
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

// colours also suit a reader that does not see red and green.
var colours = []svg.Line{
	{Class: roundRobin.class(), Light: "#c2410c", Dark: "#fb923c", Dashes: "7 3"},
	{Class: leastConnections.class(), Light: "#1d5fd0", Dark: "#6ea8ff"},
	{Class: oneQueue.class(), Light: "#15803d", Dark: "#4ade80", Dashes: "2 3"},
}

// draw writes a picture of all latencies: for each scenario how large a part
// of the requests was answered within which time. Times are on a logarithmic
// scale, the same one for all scenarios.
func draw(w io.Writer, p plan, scenarios []scenario) {
	height := head + panelHeight*len(scenarios) + foot
	svg.Begin(w, width, height, "Round robin, least connections and one queue: how soon requests were answered",
		description(scenarios), colours...)
	svg.Label(w, left, 32, "title", "How soon requests were answered")
	svg.Label(w, left, 54, "faint", fmt.Sprintf("%d requests at %.3g a second, %d workers%s", p.n, p.rate, workers, slotsText(p)))
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
	svg.Label(w, left, 24, "panel", s.name)
	for _, percent := range []int{0, 25, 50, 75, 100} {
		y := bottom - plotHeight*float64(percent)/100
		svg.Segment(w, "grid", left, y, width-right, y)
		svg.Label(w, left-8, y+4.5, "faint end", fmt.Sprintf("%d %%", percent))
	}
	for _, t := range x.Axis {
		svg.Segment(w, "grid", x.at(t), plotTop, x.at(t), bottom)
		svg.Label(w, x.at(t), bottom+18, "faint middle", svg.TickText(t))
	}
	svg.Segment(w, "axis", left, bottom, width-right, bottom)
	svg.Label(w, (left+width-right)/2, bottom+38, "middle", "time until the answer (logarithmic)")
	fmt.Fprintf(w, "    <text class=\"middle\" transform=\"translate(20 %d) rotate(-90)\">requests answered</text>\n", plotTop+plotHeight/2)
	for i, o := range s.outcomes {
		fmt.Fprintf(w, "    <path class=\"line %s\" d=\"%s\"/>\n", o.way.class(), curve(x, o.latencies, bottom))
		drawLegend(w, 52+22*float64(i), o)
	}
}

// drawLegend says which line is whose, and its figures, at the height y.
func drawLegend(w io.Writer, y float64, o outcome) {
	svg.Segment(w, "line "+o.way.class(), left, y-4, left+34, y-4)
	svg.Label(w, left+42, y, "", fmt.Sprintf("%s: mean %v, p95 %v, max %v", o.way.name,
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

// A scale is the axis of times, from left to right.
type scale struct{ svg.Axis }

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
	return scale{svg.NewAxis(min(low, high), high)}
}

// at returns where t is on the axis.
func (s scale) at(t time.Duration) float64 { return left + (width-right-left)*s.Part(t) }
