package load

import (
	"fmt"
	"slices"
	"strings"
)

// A Limit is something that limited a run, so that its figures say less about
// the other side than they seem to.
type Limit struct {
	By   Limiter `json:"by"`
	Text string  `json:"text"` // for a person; a sentence a line
}

// A Limiter is what limits a run.
type Limiter string

// The limiters.
const (
	ByStop    Limiter = "stop"    // the run was stopped before all requests were sent, or before its time was over
	ByTime    Limiter = "time"    // the time of the plan was over before all requests had begun
	ByAtOnce  Limiter = "at_once" // the rate was not kept: as many requests as allowed were in flight
	ByMachine Limiter = "machine" // the rate was not kept, or requests failed: the machine that sends was busy, or ran out of something
)

// limits returns what limited the run. over says that the time of its plan was
// over at the end.
func (r *Report) limits(over bool) []Limit {
	limits := []Limit{}
	q := r.Requests
	_, known := r.Plan.Count()
	switch unsent := int64(q.Asked) - q.Sent; {
	case !known && !over:
		limits = append(limits, Limit{ByStop, fmt.Sprintf("The run was stopped after %v of %v.", r.Duration, r.Plan.For)})
	case !known && q.Sent == 0:
		limits = append(limits, Limit{ByTime, "The time was over before a request had begun."})
	case unsent <= 0:
	case over:
		limits = append(limits, Limit{ByTime, fmt.Sprintf("The time was over before %d of %d requests had begun.", unsent, q.Asked)})
	default:
		limits = append(limits, Limit{ByStop, fmt.Sprintf("The run was stopped: %d of %d requests were not sent.", unsent, q.Asked)})
	}
	if !r.Rate.Kept {
		limits = append(limits, r.notKept(over))
	}
	if q.FailedLocally > 0 {
		limits = append(limits, Limit{ByMachine, fmt.Sprintf("Requests that failed because this machine ran out of something: %d. See their causes.", q.FailedLocally)})
	}
	return limits
}

// limitedBy reports whether by is one of the limits.
func (r *Report) limitedBy(by Limiter) bool {
	return slices.ContainsFunc(r.Limits, func(l Limit) bool { return l.By == by })
}

// end says in words when the last request could begin of a run that was cut
// short.
func end(over bool) string {
	if over {
		return "the time was over"
	}
	return "the run was stopped"
}

// notKept says in what the rate was not kept, and what to change.
func (r *Report) notKept(over bool) Limit {
	var reasons []string
	if r.Rate.slow() {
		reasons = append(reasons, fmt.Sprintf("achieved %s of %s", rateText(r.Rate.Achieved), rateText(r.Rate.Asked)))
	}
	if r.Rate.Late > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d requests began late, at worst by %v", r.Rate.Late, r.Requests.Sent, r.Rate.Latest))
	}
	text := "The asked rate was not kept"
	if len(reasons) > 0 {
		text += ": " + strings.Join(reasons, "; ")
	}
	text += ".\n"
	if r.Rate.Overdue > 0 {
		text += fmt.Sprintf("%d more were due when %s, and had not begun.\n", r.Rate.Overdue, end(over))
	}
	by, advice := r.Requests.advice()
	return Limit{by, text + advice}
}

// advice says what limited the rate, and what to change.
func (q Requests) advice() (by Limiter, text string) {
	if !q.AtOnceReached {
		return ByMachine, "This machine was busy: more requests at once were allowed, and yet they did not begin in time."
	}
	limit := fmt.Sprintf("-c %d", q.AtOnce)
	if q.AtOnceDefault {
		limit = fmt.Sprintf("%d, the default of -c", q.AtOnce)
	}
	return ByAtOnce, "As many as allowed were in flight: ask for less, or for more at once than " + limit + "."
}
