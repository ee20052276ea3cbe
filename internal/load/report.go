package load

import (
	"time"

	"balancelab/internal/protocol"
)

// A Report is what became of a load run. Times are in seconds in JSON, rates
// a second.
type Report struct {
	Requests Requests `json:"requests"`
	Rate     Rate     `json:"rate"`
	// Duration is from the start of the run to its last answer.
	Duration Span `json:"duration_seconds"`
	// LatencyFrom says where latency is measured from.
	LatencyFrom Origin `json:"latency_from"`
	// Latency is that of all answered requests; nil when none was.
	Latency   *Latency `json:"latency"`
	Histogram []Bar    `json:"histogram"`
	// Types has a row for each type of the run, in the order of its list.
	Types []TypeRow `json:"types"`
	// Errors are the causes of failures, the most frequent first.
	Errors []Cause `json:"errors"`
}

// Requests are counts of requests. Sent = OK + Failed + Interrupted.
type Requests struct {
	Asked       int   `json:"asked"`
	AtOnce      int   `json:"at_once"` // in flight at once, at most
	Sent        int64 `json:"sent"`
	OK          int64 `json:"ok"`
	Failed      int64 `json:"failed"`
	Interrupted int64 `json:"interrupted"` // in flight when the run was stopped
}

// A Rate says how many requests a second there were to be, and were.
type Rate struct {
	Asked    float64 `json:"asked"`    // 0: as fast as possible
	Achieved float64 `json:"achieved"` // started
	Answered float64 `json:"answered"` // answered, over the whole duration
	// Kept says that requests began as planned: all but 1 % within 10 ms, and
	// at 99 % of the asked rate. It is true when no rate was asked.
	Kept    bool  `json:"kept"`
	Late    int64 `json:"late"`             // began more than 10 ms after their plan
	Latest  Span  `json:"late_max_seconds"` // how late the latest one began
	Overdue int64 `json:"overdue"`          // as late, and had not begun when the run was stopped
}

// An Origin is where latency is measured from.
type Origin string

// The origins, with and without a rate.
const (
	PlannedStart Origin = "planned start"
	ActualStart  Origin = "actual start"
)

// Latency is how long answered requests took. Min, Mean and Max are exact, the
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

// A TypeRow is the part of a report for the requests of one type.
type TypeRow struct {
	Type        protocol.AppType `json:"type"`
	Sent        int64            `json:"sent"`
	OK          int64            `json:"ok"`
	Failed      int64            `json:"failed"`
	Interrupted int64            `json:"interrupted"`
	Latency     *Latency         `json:"latency"` // nil when none was answered
}

// Complete reports whether every request was sent and answered.
func (r *Report) Complete() bool { return r.Requests.OK == int64(r.Requests.Asked) }

func (r *run) report(took time.Duration) Report {
	rows, all, began := r.record.sum()
	sent := all.sent()
	report := Report{
		Requests: Requests{
			Asked: r.N, AtOnce: r.C, Sent: sent,
			OK: all.fates[answered], Failed: all.fates[failed], Interrupted: all.fates[interrupted],
		},
		Rate: Rate{
			Asked:    r.Rate,
			Achieved: r.plan.achieved(sent, int64(r.N), began.last, took),
			Answered: perSecond(all.fates[answered], took),
			Late:     began.late, Latest: Span(began.latest),
			Overdue: r.plan.overdue(sent, int64(r.N), took),
		},
		Duration: Span(took), LatencyFrom: ActualStart,
		Latency: newLatency(&all.latency), Histogram: all.latency.bars(),
		Types: []TypeRow{}, Errors: r.causes.table(),
	}
	report.Rate.Kept = report.Rate.kept(sent)
	if r.Rate > 0 {
		report.LatencyFrom = PlannedStart
	}
	for i := range rows {
		report.Types = append(report.Types, newTypeRow(r.record.types[i], &rows[i]))
	}
	return report
}

// kept says whether sent requests began as planned. One that is a little late
// at the end of a short run does not count.
func (r Rate) kept(sent int64) bool {
	late := r.Late + r.Overdue
	slow := r.Achieved < 0.99*r.Asked && late > 0
	return !slow && 100*late <= sent+r.Overdue
}

func newTypeRow(name protocol.AppType, t *tally) TypeRow {
	return TypeRow{
		Type: name, Sent: t.sent(),
		OK: t.fates[answered], Failed: t.fates[failed], Interrupted: t.fates[interrupted],
		Latency: newLatency(&t.latency),
	}
}

func newLatency(h *histogram) *Latency {
	if h.n == 0 {
		return nil
	}
	at := func(percent uint64) Span { return Span(h.percentile(percent)) }
	return &Latency{
		Min: Span(h.min), Mean: Span(h.mean()),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: Span(h.max),
	}
}
