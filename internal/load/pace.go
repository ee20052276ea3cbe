package load

import (
	"context"
	"math"
	"sort"
	"time"
)

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

// achieved returns how many requests were started in a second, in a run in
// which no more were started after took.
//
// With a rate, the time to divide by is the planned one: the last request has
// its share of the time too, so that a plan that was kept gives exactly its
// rate. But a run that was stopped before all requests were sent counts until
// the stop, because the requests in flight may have held up the next one for
// long.
func (p Plan) achieved(sent int64, began starts, took time.Duration) float64 {
	if p.Paced() {
		n, _ := p.Count()
		planned := began.last + p.share(sent, began.planned)
		if sent == int64(n) || took < planned {
			took = planned
		}
	}
	return perSecond(sent, took)
}

// share returns the time from a request's planned start to the next one, or to
// the end of the plan. The request is the last one of those sent.
func (p Plan) share(sent int64, planned time.Duration) time.Duration {
	if p.Arrivals == Poisson {
		return max(0, p.Length()-planned)
	}
	return p.when(float64(sent)) - p.when(float64(sent-1))
}

// overdue returns how long requests had waited that had not begun when a run
// ended that took took, although they were late by more than lateBy. sent
// requests had begun, and requests begin in the order of the plan.
func (p Plan) overdue(sent int64, took time.Duration) (overdue waits) {
	n, _ := p.Count()
	if !p.Paced() || sent == int64(n) {
		return waits{}
	}
	due := took - lateBy // what was planned later is not late
	if p.Arrivals != Poisson {
		// There may be too many to look at each.
		when := func(i int) time.Duration { return p.when(float64(sent) + float64(i)) }
		late := sort.Search(n-int(sent), func(i int) bool { return when(i) > due })
		return waits{int64(late), took - when(late-1), took - when(0)}
	}
	s := p.Schedule()
	for i := int64(0); ; i++ {
		r, ok := s.Next()
		if !ok || r.Start > due {
			return overdue
		}
		if i >= sent {
			overdue.merge(waits{1, took - r.Start, took - r.Start})
		}
	}
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
