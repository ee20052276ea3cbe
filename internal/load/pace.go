package load

import (
	"context"
	"math"
	"time"
)

// A plan says when each request of a run is to start.
type plan struct {
	start time.Time
	rate  float64 // a second; 0 means that there is no plan
}

// at returns the planned start of request i, and whether there is one. It is
// computed from i and not from the request before it, so that no rounding adds
// up.
func (p plan) at(i int64) (planned time.Time, paced bool) {
	if p.rate <= 0 {
		return time.Time{}, false
	}
	return p.start.Add(seconds(float64(i) / p.rate)), true
}

// farAway is later than any run, and early enough for times not to overflow.
const farAway = 100 * 365 * 24 * time.Hour

func seconds(s float64) time.Duration {
	if s >= farAway.Seconds() {
		return farAway
	}
	return time.Duration(math.Round(s * float64(time.Second)))
}

// achieved returns how many of sent requests were started a second. With a
// plan the last one takes its share of the time too, so that a plan that was
// kept gives its rate: span is when the last one began. A run that was stopped
// before all n were sent lasted until then: those that were in the way of the
// next one may have been so for long.
func (p plan) achieved(sent, n int64, span, took time.Duration) float64 {
	if p.rate > 0 {
		planned := span + seconds(1/p.rate)
		if sent == n || took < planned {
			took = planned
		}
	}
	return perSecond(sent, took)
}

// overdue returns how many of n requests, of which the first ones were sent,
// had not begun when a run ended that took so long, and should have by more
// than lateBy.
func (p plan) overdue(sent, n int64, took time.Duration) int64 {
	if p.rate <= 0 || took < lateBy {
		return 0
	}
	due := math.Floor((took-lateBy).Seconds()*p.rate) + 1
	return max(0, int64(min(due, float64(n)))-sent)
}

// perSecond returns n/took, or 0 for no time.
func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// An alarm is a timer that one sender uses again and again.
type alarm struct{ timer *time.Timer }

func newAlarm() alarm {
	t := time.NewTimer(farAway)
	t.Stop()
	return alarm{t}
}

func (a alarm) stop() { a.timer.Stop() }

// wait returns at t, or at once when t is past. It reports false when ctx is
// done.
func (a alarm) wait(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
