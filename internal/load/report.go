package load

import (
	"time"

	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A Report says what became of a load run. In JSON, times are in seconds; rates
// are always for a second.
type Report struct {
	Requests Requests `json:"requests"`
	Rate     Rate     `json:"rate"`
	// Duration is from the start of the run to its last answer.
	Duration Span `json:"duration_seconds"`
	// LatencyFrom says from which start latency is measured.
	LatencyFrom Origin `json:"latency_from"`
	// Latency is that of all answered requests; nil when none was.
	Latency *Latency `json:"latency"`
	// Waiting is about the requests that waited when the run was stopped; nil when
	// none did. They are not in Latency.
	Waiting *Waiting `json:"waiting"`
	// Histogram has at most 10 bars; none when no request was answered.
	Histogram []Bar `json:"histogram"`
	// Types has a row for each type of the run, in the order of [Config].Types.
	Types []TypeRow `json:"types"`
	// Errors are the causes of failures, the most frequent first.
	Errors []Cause `json:"errors"`
}

// Requests are counts of requests. Sent = OK + Failed + Interrupted.
type Requests struct {
	Asked         int   `json:"asked"`
	AtOnce        int   `json:"at_once"`         // the limit on requests in flight; Asked, if that is less
	AtOnceDefault bool  `json:"at_once_default"` // the limit is a default: [Config].DefaultC
	AtOnceReached bool  `json:"at_once_reached"` // the limit was reached, so that requests may have waited for each other
	Sent          int64 `json:"sent"`
	OK            int64 `json:"ok"`
	Failed        int64 `json:"failed"`
	Interrupted   int64 `json:"interrupted"` // in flight when the run was stopped
}

// A Rate says how many requests in a second were asked for, and how many there
// were.
type Rate struct {
	Asked    float64 `json:"asked"`    // 0 means as fast as possible
	Achieved float64 `json:"achieved"` // started
	Answered float64 `json:"answered"` // answered, over the whole duration
	// Kept says that requests began as planned. They did not if less than 99 % of
	// the asked rate was achieved, or if more than 1 % of them, and more than 5,
	// were late by more than 10 ms. A low rate does not count when no request was
	// late: in a run of milliseconds it is what a timer makes of it. Kept is true
	// without a rate.
	Kept    bool  `json:"kept"`
	Late    int64 `json:"late"`             // began more than 10 ms after their planned start
	Latest  Span  `json:"late_max_seconds"` // how late the latest one began
	Overdue int64 `json:"overdue"`          // had not begun when the run was stopped, more than 10 ms after their planned start
}

// An Origin is the start from which latency is measured.
type Origin string

// The origins: with a rate the planned start, without one the actual start.
const (
	PlannedStart Origin = "planned start"
	ActualStart  Origin = "actual start"
)

// Latency says how long answered requests took. Min, Mean and Max are exact, the
// percentiles within 1 %.
type Latency struct {
	Min  Span `json:"min_seconds"`
	Mean Span `json:"mean_seconds"`
	P50  Span `json:"p50_seconds"`
	P90  Span `json:"p90_seconds"`
	P95  Span `json:"p95_seconds"`
	P99  Span `json:"p99_seconds"`
	Max  Span `json:"max_seconds"`
}

// Waiting says how long requests had waited when the run was stopped, from the
// start that latency is measured from. They are the interrupted ones, and those
// that were overdue.
type Waiting struct {
	Count int64 `json:"count"` // [Requests].Interrupted + [Rate].Overdue
	Min   Span  `json:"min_seconds"`
	Max   Span  `json:"max_seconds"`
}

// A Bar is a row of the drawn histogram. It counts the answered requests that
// took longer than From and at most To. The first bar also counts those that
// took as long as From.
type Bar struct {
	From  Span  `json:"from_seconds"`
	To    Span  `json:"to_seconds"`
	Count int64 `json:"count"`
}

// A TypeRow is the part of a report about the requests of one type.
type TypeRow struct {
	Type        protocol.Type `json:"type"`
	Sent        int64         `json:"sent"`
	OK          int64         `json:"ok"`
	Failed      int64         `json:"failed"`
	Interrupted int64         `json:"interrupted"`
	Latency     *Latency      `json:"latency"` // nil when none was answered
}

// Complete reports whether every request was sent and answered.
func (r *Report) Complete() bool { return r.Requests.OK == int64(r.Requests.Asked) }

func (r *run) report(took time.Duration) Report {
	rows, all, began := r.recorder.sum()
	report := Report{
		Requests: Requests{
			Asked: r.N, AtOnce: r.C, AtOnceDefault: r.DefaultC, AtOnceReached: r.full.Load() && r.C < r.N,
			Sent: all.sent(), OK: all.outcomes[answered], Failed: all.outcomes[failed], Interrupted: all.outcomes[interrupted],
		},
		Rate:     r.rate(all, began, took),
		Duration: Span(took), LatencyFrom: ActualStart,
		Latency: newLatency(all.latency), Histogram: newBars(all.latency),
		Types: []TypeRow{}, Errors: r.causes.table(),
	}
	if r.Rate > 0 {
		report.LatencyFrom = PlannedStart
	}
	all.waits.merge(r.plan.waited(all.sent(), report.Rate.Overdue, took))
	if w := all.waits; w.n > 0 {
		report.Waiting = &Waiting{Count: w.n, Min: Span(w.min), Max: Span(w.max)}
	}
	for i := range rows {
		report.Types = append(report.Types, newTypeRow(r.recorder.types[i], &rows[i]))
	}
	return report
}

func (r *run) rate(all *tally, began starts, took time.Duration) Rate {
	sent, n := all.sent(), int64(r.N)
	rate := Rate{
		Asked:    r.Rate,
		Achieved: r.plan.achieved(sent, n, began.last, took),
		Answered: perSecond(all.outcomes[answered], took),
		Late:     began.late, Latest: Span(began.latest),
		Overdue: r.plan.overdue(sent, n, took),
	}
	rate.Kept = rate.kept(sent)
	return rate
}

// kept works Kept out from the other fields.
func (r Rate) kept(sent int64) bool {
	late := r.Late + r.Overdue
	manyLate := late > 5 && 100*late > sent+r.Overdue
	return !r.slow() && !manyLate
}

// slow reports whether less than 99 % of the asked rate was achieved. A single
// request that is late by less than lateBy, at the end of a short run, can make
// Achieved low; that does not count.
func (r Rate) slow() bool {
	return r.Achieved < 0.99*r.Asked && r.Late+r.Overdue > 0
}

func newTypeRow(name protocol.Type, t *tally) TypeRow {
	return TypeRow{
		Type: name, Sent: t.sent(),
		OK: t.outcomes[answered], Failed: t.outcomes[failed], Interrupted: t.outcomes[interrupted],
		Latency: newLatency(t.latency),
	}
}

func newLatency(h *histogram.Histogram) *Latency {
	if h.Count() == 0 {
		return nil
	}
	percentile := func(percent float64) Span { return Span(h.Percentile(percent)) }
	return &Latency{
		Min: Span(h.Min()), Mean: Span(h.Mean()), Max: Span(h.Max()),
		P50: percentile(50), P90: percentile(90), P95: percentile(95), P99: percentile(99),
	}
}

// newBars returns at most 10 bars, an empty list and not nil if there are none.
// Bars with a ratio below 1.03 would have gaps between them.
func newBars(h *histogram.Histogram) []Bar {
	bars := []Bar{}
	for _, b := range h.Bars(10, 1.03) {
		bars = append(bars, Bar{From: Span(b.From), To: Span(b.To), Count: int64(b.Count)})
	}
	return bars
}
