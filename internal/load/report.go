package load

import (
	"time"

	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A Report says what became of a load run. In JSON, times are in seconds; rates
// are always for a second. README.md lists all fields of the JSON.
type Report struct {
	// Limits are what limited the run; none if nothing did.
	Limits   []Limit  `json:"limits"`
	Plan     Plan     `json:"plan"`
	Requests Requests `json:"requests"`
	Rate     Rate     `json:"rate"`
	// Duration is from the start of the run to its last answer.
	Duration Span `json:"duration_seconds"`
	// LatencyFrom says from which start latency is measured.
	LatencyFrom Origin `json:"latency_from"`
	// Latency is that of all answered requests; nil when none was.
	Latency *Latency `json:"latency"`
	// Waiting is about the requests that waited when the run was stopped, or its
	// time was over; nil when none did. They are not in Latency.
	Waiting *Waiting `json:"waiting"`
	// Histogram has at most 10 bars; none when no request was answered.
	Histogram []Bar `json:"histogram"`
	// Parts are the ten parts of a ramp; none if the rate did not change.
	Parts []Part `json:"parts"`
	// Types has a row for each type of the plan, in the order of [Plan].Types.
	Types []TypeRow `json:"types"`
	// Approaches has a row for each approach of the plan, in its order.
	Approaches []ApproachRow `json:"approaches"`
	// Errors are the causes of failures, the most frequent first.
	Errors []Cause `json:"errors"`
}

// Requests are counts of requests. Sent = OK + Failed + Interrupted.
type Requests struct {
	Asked         int   `json:"asked"`           // by the plan; Sent, if it does not say
	AtOnce        int   `json:"at_once"`         // the limit on requests in flight; Asked, if that is less
	AtOnceDefault bool  `json:"at_once_default"` // the limit is a default: [Config].DefaultC
	AtOnceReached bool  `json:"at_once_reached"` // the limit was reached, so that requests may have waited for each other
	Sent          int64 `json:"sent"`
	OK            int64 `json:"ok"`
	Failed        int64 `json:"failed"`
	FailedLocally int64 `json:"failed_locally"` // of Failed, those with a [LocalError]
	Interrupted   int64 `json:"interrupted"`    // in flight when the run was stopped
}

// A Rate says how many requests in a second were asked for, and how many there
// were.
type Rate struct {
	Asked    float64 `json:"asked"`    // 0 means as fast as possible; of a ramp, the mean until the end or the stop
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
	Overdue int64 `json:"overdue"`          // had not begun when the run was stopped or its time was over, more than 10 ms after their planned start
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
	// P999 is p99.9; nil if there are fewer than 1,000 answers, which do not tell.
	P999 *Span `json:"p99_9_seconds"`
	Max  Span  `json:"max_seconds"`
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

// A Part is a tenth of the time of a ramp. Answers that came after the time of
// the plan are in no part, but their latencies are.
type Part struct {
	From     Span    `json:"from_seconds"`
	To       Span    `json:"to_seconds"`
	Asked    float64 `json:"asked"`       // the rate in the middle of the part
	Answered float64 `json:"answered"`    // answers that came in this part, a second
	P99      *Span   `json:"p99_seconds"` // of the answered requests planned in this part; nil when there are none
}

// A TypeRow is the part of a report about the requests of one type.
type TypeRow struct {
	Type protocol.Type `json:"type"`
	Counts
}

// An ApproachRow is the part of a report about the requests under one approach.
type ApproachRow struct {
	Approach protocol.Approach `json:"approach"`
	Counts
}

// Counts are counts of some of the requests, and their latency.
type Counts struct {
	Sent        int64    `json:"sent"`
	OK          int64    `json:"ok"`
	Failed      int64    `json:"failed"`
	Interrupted int64    `json:"interrupted"`
	Latency     *Latency `json:"latency"` // nil when none was answered
}

// Complete reports whether every request was sent and answered. A run for a time
// must not have been stopped before, and must have sent something.
func (r *Report) Complete() bool {
	return !r.limitedBy(ByStop) && !r.limitedBy(ByTime) && r.Requests.OK == int64(r.Requests.Asked)
}

func (r *run) report(took time.Duration) Report {
	cells, all, began := r.recorder.sum()
	stopped := r.stopped(all.sent(), took)
	overdue := r.Plan.overdue(all.sent(), stopped)
	report := Report{
		Plan: r.Plan, Requests: r.requests(all),
		Rate:     r.rate(all, began, overdue.n, stopped, took),
		Duration: Span(took), LatencyFrom: ActualStart,
		Latency: newLatency(all.latency), Histogram: newBars(all.latency),
		Parts: r.recorder.parts.table(r.Plan, stopped), Errors: r.causes.table(),
	}
	if r.Plan.Paced() {
		report.LatencyFrom = PlannedStart
	}
	overdue.merge(all.waits)
	if overdue.n > 0 {
		report.Waiting = &Waiting{Count: overdue.n, Min: Span(overdue.min), Max: Span(overdue.max)}
	}
	for _, t := range r.Plan.kinds() {
		of := r.recorder.only(cells, func(q protocol.Request) bool { return q.Type == t })
		report.Types = append(report.Types, TypeRow{t, of.counts()})
	}
	for _, a := range once(r.Plan.Approaches) {
		of := r.recorder.only(cells, func(q protocol.Request) bool { return q.Approach == a })
		report.Approaches = append(report.Approaches, ApproachRow{a, of.counts()})
	}
	report.Limits = report.limits(r.over())
	return report
}

// stopped returns when no more requests began, in a run that took took. If all
// were sent that is the end of the plan: it is later than the last answer, if the
// last gap is long.
func (r *run) stopped(sent int64, took time.Duration) time.Duration {
	switch {
	case r.Plan.Paced() && sent == int64(r.n):
		return r.Plan.Length()
	case r.Plan.For > 0:
		return min(took, time.Duration(r.Plan.For))
	}
	return took
}

func (r *run) requests(all *tally) Requests {
	asked := r.n
	if !r.known {
		asked = int(all.sent())
	}
	return Requests{
		Asked: asked, AtOnce: r.C, AtOnceDefault: r.DefaultC, AtOnceReached: r.full.Load() && r.C < asked,
		Sent: all.sent(), OK: all.outcomes[Answered], Failed: all.outcomes[Failed], FailedLocally: all.local,
		Interrupted: all.outcomes[Interrupted],
	}
}

func (r *run) rate(all *tally, began starts, overdue int64, stopped, took time.Duration) Rate {
	rate := Rate{
		Asked:    r.Plan.meanUntil(stopped),
		Achieved: r.Plan.achieved(all.sent(), began, stopped),
		Answered: perSecond(all.outcomes[Answered], took),
		Late:     began.late, Latest: Span(began.latest),
		Overdue: overdue,
	}
	rate.Kept = rate.kept(all.sent())
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

func (t *tally) counts() Counts {
	return Counts{
		Sent: t.sent(), OK: t.outcomes[Answered], Failed: t.outcomes[Failed], Interrupted: t.outcomes[Interrupted],
		Latency: newLatency(t.latency),
	}
}

// enough is how many answers tell p99.9: with fewer, it would be the maximum.
const enough = 1000

func newLatency(h *histogram.Histogram) *Latency {
	if h.Count() == 0 {
		return nil
	}
	percentile := func(percent float64) Span { return Span(h.Percentile(percent)) }
	l := &Latency{
		Min: Span(h.Min()), Mean: Span(h.Mean()), Max: Span(h.Max()),
		P50: percentile(50), P90: percentile(90), P95: percentile(95), P99: percentile(99),
	}
	if h.Count() >= enough {
		p999 := percentile(99.9)
		l.P999 = &p999
	}
	return l
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
