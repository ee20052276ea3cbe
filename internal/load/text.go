package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
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
	r.writeTotals(&b)
	r.writeHistogram(&b)
	r.writeTypes(&b)
	r.writeErrors(&b)
	r.writeRemarks(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) writeTotals(b *bytes.Buffer) {
	q := r.Requests
	fmt.Fprintf(b, "requests   %d sent, %d ok, %d failed", q.Sent, q.OK, q.Failed)
	if q.Interrupted > 0 {
		fmt.Fprintf(b, ", %d interrupted", q.Interrupted)
	}
	asked := fmt.Sprintf("as fast as %d at once allow", q.AtOnce)
	if r.Rate.Asked > 0 {
		asked = rateText(r.Rate.Asked)
	}
	fmt.Fprintf(b, "\nrate       asked %s; achieved %s, answered %s\n",
		asked, rateText(r.Rate.Achieved), rateText(r.Rate.Answered))
	if r.Rate.Asked > 0 {
		fmt.Fprintf(b, "starts     at most %v after their plan\n", r.Rate.Latest)
	}
	fmt.Fprintf(b, "duration   %v\n", r.Duration)
	r.writeLatency(b)
	r.writeWaiting(b)
}

func (r *Report) writeLatency(b *bytes.Buffer) {
	if r.Latency == nil {
		fmt.Fprintf(b, "latency    none: no request was answered\n")
		return
	}
	l := r.Latency
	fmt.Fprintf(b, "latency    min %v, mean %v, p50 %v, p90 %v, p95 %v, p99 %v, max %v\n",
		l.Min, l.Mean, l.P50, l.P90, l.P95, l.P99, l.Max)
	fmt.Fprintf(b, "           of the answered requests, from the %s of each\n", r.LatencyFrom)
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
	fmt.Fprintf(b, "waiting    %d when the run was stopped, for %s", w.Count, within)
	if r.Rate.Overdue > 0 {
		fmt.Fprintf(b, ": %d interrupted, %d due but not begun", r.Requests.Interrupted, r.Rate.Overdue)
	}
	b.WriteString("\n")
}

func (r *Report) writeHistogram(b *bytes.Buffer) {
	if len(r.Histogram) == 0 {
		return
	}
	const widest = 40
	var highest int64
	for _, bar := range r.Histogram {
		highest = max(highest, bar.Count)
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 1, ' ', tabwriter.AlignRight)
	for _, bar := range r.Histogram {
		length := int((bar.Count*widest + highest - 1) / highest)
		fmt.Fprintf(t, "%v\tto\t%v\t%d\t |%s\n", bar.From, bar.To, bar.Count, strings.Repeat("#", length))
	}
	t.Flush()
}

func (r *Report) writeTypes(b *bytes.Buffer) {
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	stopped := r.Requests.Interrupted > 0
	title := ""
	if stopped {
		title = "interrupted\t"
	}
	fmt.Fprintf(t, "type\tsent\tok\tfailed\t%smin\tmean\tp50\tp90\tp95\tp99\tmax\n", title)
	for _, row := range r.Types {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t", row.Type, row.Sent, row.OK, row.Failed)
		if stopped {
			fmt.Fprintf(t, "%d\t", row.Interrupted)
		}
		fmt.Fprintln(t, row.Latency.cells())
	}
	t.Flush()
}

// cells returns the columns of a table, which are dashes if l is nil.
func (l *Latency) cells() string {
	if l == nil {
		return strings.Repeat("-\t", 6) + "-"
	}
	var cells []string
	for _, s := range []Span{l.Min, l.Mean, l.P50, l.P90, l.P95, l.P99, l.Max} {
		cells = append(cells, s.String())
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

// writeRemarks says what a reader has to know so that the numbers do not
// mislead.
func (r *Report) writeRemarks(b *bytes.Buffer) {
	q := r.Requests
	if unsent := int64(q.Asked) - q.Sent; unsent > 0 {
		fmt.Fprintf(b, "\nThe run was stopped: %d of %d requests were not sent.\n", unsent, q.Asked)
	}
	if !r.Rate.Kept {
		r.writeNotKept(b)
	}
}

// writeNotKept says in what the rate was not kept, and what to change.
func (r *Report) writeNotKept(b *bytes.Buffer) {
	var reasons []string
	if r.Rate.slow() {
		reasons = append(reasons, fmt.Sprintf("achieved %s of %s", rateText(r.Rate.Achieved), rateText(r.Rate.Asked)))
	}
	if r.Rate.Late > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d requests began late, at worst by %v", r.Rate.Late, r.Requests.Sent, r.Rate.Latest))
	}
	b.WriteString("\nThe asked rate was not kept")
	if len(reasons) > 0 {
		b.WriteString(": " + strings.Join(reasons, "; "))
	}
	b.WriteString(".\n")
	if r.Rate.Overdue > 0 {
		fmt.Fprintf(b, "%d more were due when the run was stopped, and had not begun.\n", r.Rate.Overdue)
	}
	fmt.Fprintln(b, r.Requests.advice())
}

// advice says what to change when a rate was not kept.
func (q Requests) advice() string {
	if !q.AtOnceReached {
		return "This machine was busy: more requests at once were allowed, and yet they did not begin in time."
	}
	limit := fmt.Sprintf("-c %d", q.AtOnce)
	if q.AtOnceDefault {
		limit = fmt.Sprintf("%d, the default of -c", q.AtOnce)
	}
	return "As many as allowed were in flight: ask for less, or for more at once than " + limit + "."
}

// rateText returns a rate rounded to three digits, and to a whole number from
// 100/s on: 0.5/s, 19.9/s, 30123/s.
func rateText(rate float64) string {
	if rate >= 100 {
		return strconv.FormatFloat(rate, 'f', 0, 64) + "/s"
	}
	return strconv.FormatFloat(rate, 'g', 3, 64) + "/s"
}
