package load

import (
	"context"
	"math"
	"time"
)

// A plan says when each request of a run is to start.
type plan struct {
	start time.Time
	rate  float64 // requests a second; 0 means that there are no planned starts
}

// at returns the planned start of request i. It is computed from i and not from
// the request before it, so that rounding errors do not add up. Without a rate,
// paced is false.
func (p plan) at(i int64) (planned time.Time, paced bool) {
	if p.rate <= 0 {
		return time.Time{}, false
	}
	return p.start.Add(p.offset(i)), true
}

// offset returns the planned start of request i, from the start of the run. The
// plan must have a rate.
func (p plan) offset(i int64) time.Duration { return seconds(float64(i) / p.rate) }

// farAway is later than the end of any run, and early enough that times do not
// overflow.
const farAway = 100 * 365 * 24 * time.Hour

// seconds returns s seconds, or farAway if that is shorter.
func seconds(s float64) time.Duration {
	if s >= farAway.Seconds() {
		return farAway
	}
	return time.Duration(math.Round(s * float64(time.Second)))
}

// achieved returns how many requests were started in a second. sent of n
// requests were started, the last one at last after the start of a run that took
// took.
//
// With a rate, the time to divide by is the planned one: the last request has
// its share of the time too, so that a plan that was kept gives exactly its
// rate. But a run that was stopped before all requests were sent counts until
// the stop, because the requests in flight may have held up the next one for
// long.
func (p plan) achieved(sent, n int64, last, took time.Duration) float64 {
	if p.rate > 0 {
		planned := last + seconds(1/p.rate)
		if sent == n || took < planned {
			took = planned
		}
	}
	return perSecond(sent, took)
}

// overdue returns how many of n requests had not begun when a run ended that
// took took, although they were late by more than lateBy. sent requests had
// begun.
func (p plan) overdue(sent, n int64, took time.Duration) int64 {
	if p.rate <= 0 || took < lateBy {
		return 0
	}
	due := math.Floor((took-lateBy).Seconds()*p.rate) + 1
	return max(0, int64(min(due, float64(n)))-sent)
}

// waited returns how long overdue requests had waited when a run ended that took
// took. sent requests had begun, and requests begin in the order of the plan.
func (p plan) waited(sent, overdue int64, took time.Duration) waits {
	if overdue == 0 {
		return waits{}
	}
	return waits{n: overdue, min: took - p.offset(sent+overdue-1), max: took - p.offset(sent)}
}

// perSecond returns n divided by took, or 0 if took is 0.
func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// A pacer makes one sender wait for planned starts. It uses one timer for all of
// them.
type pacer struct{ timer *time.Timer }

func newPacer() pacer {
	t := time.NewTimer(farAway)
	t.Stop()
	return pacer{t}
}

func (p pacer) stop() { p.timer.Stop() }

// wait returns at t, or at once if t is past. It returns false if ctx is done.
func (p pacer) wait(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	p.timer.Reset(d)
	select {
	case <-p.timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
