package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"balancelab/internal/load"
	"balancelab/scripts/svg"
)

// The picture's measures, in its own units.
const (
	width, height     = 760, 500
	left, right       = 76, 220 // margins of the plot; the right one has the names
	plotTop, plotFoot = 84, 440
)

var colours = []svg.Line{
	{Class: roundRobin.class(), Light: "#c2410c", Dark: "#fb923c", Dashes: "7 3"},
	{Class: leastConnections.class(), Light: "#1d5fd0", Dark: "#6ea8ff"},
	{Class: oneQueue.class(), Light: "#15803d", Dark: "#4ade80", Dashes: "2 3"},
	{Class: twoOwn.class(), Light: "#7e22ce", Dark: "#c084fc", Dashes: "10 3 2 3"},
	{Class: leastShared.class(), Light: "#5b6472", Dark: "#a3adbb", Dashes: "1 4"},
	{Class: twoShared.class(), Light: "#b8860b", Dark: "#facc15", Dashes: "4 4"},
}

// A curve is the mean waits of one way, by the number of brokers; where all
// brokers share a view that number does not matter.
type curve struct {
	class, name string
	waits       []time.Duration
}

// draw writes a picture of mean waits: those of byBrokers for the ways whose
// brokers know their own requests only; and as level lines those of byAge, for
// the youngest and the oldest view.
func draw(w io.Writer, byBrokers, byAge table) {
	brokers := byBrokers.brokers
	curves := curves(byBrokers, byAge)
	svg.Begin(w, width, height, "The mean wait by the number of brokers", description(brokers, curves), colours...)
	svg.Label(w, left, 32, "title", "How long a request waits, by the number of brokers")
	svg.Label(w, left, 54, "faint", fmt.Sprintf("mean, %d workers, %.4g %% busy; Longs of %v, Shorts of %v",
		byBrokers.workers[0], byBrokers.busy[0], long, short))
	var all []time.Duration
	for _, c := range curves {
		all = append(all, c.waits...)
	}
	y := yAxis{svg.NewAxis(slices.Min(all), slices.Max(all))}
	y.draw(w)
	for _, n := range brokers {
		svg.Segment(w, "grid", x(n, brokers), plotTop, x(n, brokers), plotFoot)
		svg.Label(w, x(n, brokers), plotFoot+18, "faint middle", fmt.Sprint(n))
	}
	svg.Segment(w, "axis", left, plotFoot, width-right, plotFoot)
	svg.Label(w, (left+width-right)/2, plotFoot+38, "middle", "brokers (both scales are logarithmic)")
	names := y.spread(curves)
	for i, c := range curves {
		fmt.Fprintf(w, "    <path class=\"line %s\" d=\"%s\"/>\n", c.class, c.path(brokers, y))
		svg.Segment(w, "line "+c.class, width-right+6, names[i]-4, width-right+30, names[i]-4)
		svg.Label(w, width-right+36, names[i], "", c.name)
	}
	fmt.Fprint(w, "</svg>\n")
}

func curves(byBrokers, byAge table) (all []curve) {
	for i, way := range byBrokers.rows {
		if !way.shared() {
			all = append(all, curve{way.class(), way.String(), means(byBrokers.results[i])})
		}
	}
	for i, way := range byAge.rows {
		last := len(byAge.ages) - 1
		for _, j := range slices.Compact([]int{0, last}) {
			level := slices.Repeat(means(byAge.results[i])[j:j+1], len(byBrokers.brokers))
			name := strings.NewReplacer("least of a shared view", "shared view", ", shared view", "").Replace(way.String())
			all = append(all, curve{way.class(), fmt.Sprintf("%s, %v old", name, byAge.ages[j]), level})
		}
	}
	return all
}

func means(results []result) (all []time.Duration) {
	for _, r := range results {
		all = append(all, r.mean)
	}
	return all
}

// description says the picture's figures in words.
func description(brokers []int, curves []curve) string {
	var all []string
	for _, c := range curves {
		var each []string
		for i, n := range brokers {
			each = append(each, fmt.Sprintf("%v with %s", load.Span(c.waits[i]), counted(n, "broker")))
		}
		all = append(all, c.name+": "+strings.Join(each, ", ")+".")
	}
	return strings.Join(all, " ")
}

// x returns where n brokers are on the axis.
func x(n int, brokers []int) float64 {
	most := max(brokers[len(brokers)-1], 2)
	return left + (width-right-left)*math.Log(float64(n))/math.Log(float64(most))
}

func (c curve) path(brokers []int, y yAxis) string {
	var b strings.Builder
	for i, n := range brokers {
		step := "L"
		if i == 0 {
			step = "M"
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", step, x(n, brokers), y.at(c.waits[i]))
	}
	return b.String()
}

// yAxis is the axis of the waits, from bottom to top.
type yAxis struct{ svg.Axis }

func (y yAxis) at(t time.Duration) float64 { return plotFoot - (plotFoot-plotTop)*y.Part(t) }

func (y yAxis) draw(w io.Writer) {
	for _, t := range y.Axis {
		svg.Segment(w, "grid", left, y.at(t), width-right, y.at(t))
		svg.Label(w, left-8, y.at(t)+4.5, "faint end", svg.TickText(t))
	}
}

// spread returns for each curve at what height its name stands: as near to the
// curve's end as it can be without two names in one place.
func (y yAxis) spread(curves []curve) []float64 {
	const apart = 18
	end := func(i int) float64 { return y.at(curves[i].waits[len(curves[i].waits)-1]) + 4 }
	order := make([]int, len(curves))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(math.Copysign(1, end(b)-end(a))) })
	heights := make([]float64, len(curves))
	below := math.Inf(1)
	for _, i := range order {
		heights[i] = min(end(i), below-apart)
		below = heights[i]
	}
	return heights
}
