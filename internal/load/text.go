package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report as text for a person to read.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	r.writeLimits(&b)
	r.writeTotals(&b)
	r.writeLatency(&b)
	r.writeWaiting(&b)
	r.writeHistogram(&b)
	r.writeParts(&b)
	r.writeKinds(&b)
	r.writeErrors(&b)
	_, err := w.Write(b.Bytes())
	return err
}

// writeLimits says what a reader has to know first so that the numbers do not
// mislead.
func (r *Report) writeLimits(b *bytes.Buffer) {
	for _, limit := range r.Limits {
		fmt.Fprintf(b, "%s\n\n", limit.Text)
	}
}

func (r *Report) writeTotals(b *bytes.Buffer) {
	q := r.Requests
	fmt.Fprintf(b, "requests   %d sent, %d ok, %d failed", q.Sent, q.OK, q.Failed)
	if q.Interrupted > 0 {
		fmt.Fprintf(b, ", %d interrupted", q.Interrupted)
	}
	fmt.Fprintf(b, "\nrate       asked %s; achieved %s, answered %s\n",
		r.asked(), rateText(r.Rate.Achieved), rateText(r.Rate.Answered))
	if r.Plan.Random() {
		fmt.Fprintf(b, "plan       %s\n           (-seed %d repeats it)\n", strings.Join(r.Plan.chance(), ", "), r.Plan.Seed)
	}
	if r.Plan.Paced() {
		fmt.Fprintf(b, "starts     at most %v after their plan\n", r.Rate.Latest)
	}
	fmt.Fprintf(b, "duration   %v\n", r.Duration)
}

// asked returns the rate that was asked for.
func (r *Report) asked() string {
	from, to := r.Plan.ends()
	switch {
	case !r.Plan.Paced():
		return fmt.Sprintf("as fast as %d at once allow", r.Requests.AtOnce)
	case from != to:
		return rateText(from) + " to " + rateText(to)
	}
	return rateText(from)
}

// chance returns what the seed chooses in a plan.
func (p Plan) chance() (parts []string) {
	if p.Arrivals == Poisson && p.Paced() {
		parts = append(parts, "poisson arrivals")
	}
	if len(p.Mix) > 0 {
		parts = append(parts, strings.Trim(fmt.Sprint(p.Mix), "[]")+" in random order")
	}
	return parts
}

func (r *Report) writeLatency(b *bytes.Buffer) {
	if r.Latency == nil {
		fmt.Fprintf(b, "latency    none: no request was answered\n")
		return
	}
	l := r.Latency
	fmt.Fprintf(b, "latency    min %v, mean %v, p50 %v, p90 %v, p95 %v, p99 %v, ", l.Min, l.Mean, l.P50, l.P90, l.P95, l.P99)
	if l.P999 != nil {
		fmt.Fprintf(b, "p99.9 %v, ", *l.P999)
	}
	fmt.Fprintf(b, "max %v\n           of the answered requests, from the %s of each\n", l.Max, r.LatencyFrom)
}

func (r *Report) writeWaiting(b *bytes.Buffer) {
	w := r.Waiting
	if w == nil {
		return
	}
	within := w.Min.String()
	if highest := w.Max.String(); highest != within {
		within += " to " + highest
	}
	fmt.Fprintf(b, "waiting    %d when %s, for %s", w.Count, end(r.limitedBy(ByTime)), within)
	if r.Rate.Overdue > 0 {
		fmt.Fprintf(b, ": %d interrupted, %d due but not begun", r.Requests.Interrupted, r.Rate.Overdue)
	}
	b.WriteString("\n")
}

// writeHistogram leaves out the rows that count nothing, and says how many.
func (r *Report) writeHistogram(b *bytes.Buffer) {
	if len(r.Histogram) == 0 {
		return
	}
	const widest = 40
	var highest, empty int64
	var wide [3]int // the columns
	for _, bar := range r.Histogram {
		highest = max(highest, bar.Count)
		for i, cell := range bar.cells() {
			wide[i] = max(wide[i], utf8.RuneCountInString(cell))
		}
	}
	b.WriteString("\n")
	for _, bar := range r.Histogram {
		if bar.Count == 0 {
			empty++
			continue
		}
		writeEmpty(b, empty)
		empty = 0
		length := int((bar.Count*widest + highest - 1) / highest)
		c := bar.cells()
		fmt.Fprintf(b, " %*s to %*s %*s |%s\n", wide[0], c[0], wide[1], c[1], wide[2], c[2], strings.Repeat("#", length))
	}
}

func (bar Bar) cells() [3]string {
	return [3]string{bar.From.String(), bar.To.String(), strconv.FormatInt(bar.Count, 10)}
}

// writeEmpty says how many rows of a histogram are left out. The first and the
// last row count the minimum and the maximum: they are never left out.
func writeEmpty(b *bytes.Buffer, rows int64) {
	switch {
	case rows == 1:
		b.WriteString(" ... 1 empty row\n")
	case rows > 1:
		fmt.Fprintf(b, " ... %d empty rows\n", rows)
	}
}

// writeParts writes the parts of a ramp. Those after a stop had no requests: that
// nothing was answered in them says nothing.
func (r *Report) writeParts(b *bytes.Buffer) {
	if len(r.Parts) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "time\tasked\tanswered\tp99\n")
	reached := r.Parts
	if r.limitedBy(ByStop) {
		reached = slices.DeleteFunc(slices.Clone(r.Parts), func(p Part) bool { return p.From >= r.Duration })
	}
	for _, p := range reached {
		fmt.Fprintf(t, "%v to %v\t%s\t%s\t%s\n", p.From, p.To, rateText(p.Asked), rateText(p.Answered), p.P99.cell())
	}
	t.Flush()
	if n := len(r.Parts) - len(reached); n > 0 {
		fmt.Fprintf(b, "... %d after the stop\n", n)
	}
}

// writeKinds writes a row for each type, and for each approach if there are
// several.
func (r *Report) writeKinds(b *bytes.Buffer) {
	types := &kindTable{title: "type"}
	for _, row := range r.Types {
		types.add(row.Type.String(), row.Counts)
	}
	types.write(b, r.Requests.Interrupted > 0)
	if len(r.Approaches) < 2 {
		return
	}
	approaches := &kindTable{title: "approach"}
	for _, row := range r.Approaches {
		approaches.add(row.Approach.String(), row.Counts)
	}
	approaches.write(b, r.Requests.Interrupted > 0)
}

// A kindTable is a table of the counts of each type or approach.
type kindTable struct {
	title string
	names []string
	rows  []Counts
	p999  bool // one of them has it
}

func (k *kindTable) add(name string, c Counts) {
	k.names, k.rows = append(k.names, name), append(k.rows, c)
	k.p999 = k.p999 || c.Latency != nil && c.Latency.P999 != nil
}

// write writes the table. Columns that would say nothing are left out.
func (k *kindTable) write(b *bytes.Buffer, interrupted bool) {
	titles := []string{k.title, "sent", "ok", "failed"}
	if interrupted {
		titles = append(titles, "interrupted")
	}
	titles = append(titles, "min", "mean", "p50", "p90", "p95", "p99")
	if k.p999 {
		titles = append(titles, "p99.9")
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(append(titles, "max"), "\t"))
	for i, c := range k.rows {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t", k.names[i], c.Sent, c.OK, c.Failed)
		if interrupted {
			fmt.Fprintf(t, "%d\t", c.Interrupted)
		}
		fmt.Fprintln(t, c.Latency.cells(k.p999))
	}
	t.Flush()
}

// cells returns the columns of a table, which are dashes if l is nil.
func (l *Latency) cells(p999 bool) string {
	spans := make([]*Span, 8)
	if l != nil {
		spans = []*Span{&l.Min, &l.Mean, &l.P50, &l.P90, &l.P95, &l.P99, l.P999, &l.Max}
	}
	if !p999 {
		spans = slices.Delete(spans, 6, 7)
	}
	var cells []string
	for _, s := range spans {
		cells = append(cells, s.cell())
	}
	return strings.Join(cells, "\t")
}

func (r *Report) writeErrors(b *bytes.Buffer) {
	if len(r.Errors) == 0 {
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "failed\tcause\n")
	for _, e := range r.Errors {
		fmt.Fprintf(t, "%d\t%s\n", e.Count, e.Cause)
	}
	t.Flush()
}

// cell returns a cell of a table, which is a dash if s is nil.
func (s *Span) cell() string {
	if s == nil {
		return "-"
	}
	return s.String()
}

// rateText returns a rate rounded to three digits, and to a whole number from
// 100/s on: 0.5/s, 19.9/s, 30123/s.
func rateText(rate float64) string {
	if rate >= 100 {
		return strconv.FormatFloat(rate, 'f', 0, 64) + "/s"
	}
	return strconv.FormatFloat(rate, 'g', 3, 64) + "/s"
}
