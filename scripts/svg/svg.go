// Package svg has what the pictures of the scripts share: one look, for light
// and dark, text and straight lines, and a logarithmic axis of times. A picture
// is written from top to bottom, in its own units.
package svg

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// style is for light and for dark. A picture has a ground of its own, since
// a page may be dark where the system is not.
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
    @media (prefers-color-scheme: dark) {
      .ground { fill: #14181f; stroke: #343b47; }
      text { fill: #e8ebf0; }
      .faint { fill: #a3adbb; }
      .grid { stroke: #2a313c; }
      .axis { stroke: #7c8796; }
    }`

// A Line is how the lines of one class are drawn. Colours should also suit a
// reader that does not see red and green; so each line is dashed in another way.
type Line struct {
	Class       string
	Light, Dark string // the colours
	Dashes      string // as SVG's stroke-dasharray; "" for none
}

// Begin writes all that comes before the first label. The description says in
// words what the picture shows, for a reader that does not see it. The caller
// writes the end, "</svg>".
func Begin(w io.Writer, width, height int, title, description string, lines ...Line) {
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">
  <title id="title">%s</title>
  <desc id="desc">%s</desc>
  <style>%s%s
  </style>
  <rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
`, width, height, width, height, escaped(title), escaped(description), style, colours(lines), width-1, height-1)
}

func colours(lines []Line) string {
	var light, dark strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&light, "\n    .%s { stroke: %s; stroke-dasharray: %s; }", l.Class, l.Light, cmp.Or(l.Dashes, "none"))
		fmt.Fprintf(&dark, "\n      .%s { stroke: %s; }", l.Class, l.Dark)
	}
	return light.String() + "\n    @media (prefers-color-scheme: dark) {" + dark.String() + "\n    }"
}

// Label writes a text whose base line begins at x, y. Classes are "title",
// "panel" for its heading, "faint", and "end" or "middle" for what of the text is
// at x; "" for none.
func Label(w io.Writer, x, y float64, class, text string) {
	fmt.Fprintf(w, "    <text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, escaped(text))
}

// Segment writes a straight line. Classes are "grid", "axis", and "line" with the
// class of a [Line].
func Segment(w io.Writer, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(w, "    <path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2)
}

// escaped returns text as it may stand in XML.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}

// An Axis is a logarithmic axis of times: its ticks, each 1, 2 or 5 times a power
// of ten. The first and the last are its ends.
type Axis []time.Duration

// NewAxis returns the shortest axis that holds both low and high, as far as
// there are such times. Its ends differ.
func NewAxis(low, high time.Duration) Axis {
	var a Axis
	for power := time.Duration(1); power <= math.MaxInt64/10; power *= 10 {
		for _, step := range []time.Duration{1, 2, 5} {
			a = append(a, step*power)
		}
	}
	first, exact := slices.BinarySearch(a, max(low, 1))
	if !exact {
		first--
	}
	last, _ := slices.BinarySearch(a, high)
	return a[first : min(max(last, first+1), len(a)-1)+1]
}

// Part returns where t is on the axis: 0 at its beginning, 1 at its end.
func (a Axis) Part(t time.Duration) float64 {
	low, high := a[0], a[len(a)-1]
	return math.Log(float64(cmp.Or(t, 1))/float64(low)) / math.Log(float64(high)/float64(low))
}

// TickText returns a tick's time in whole units.
func TickText(t time.Duration) string {
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
