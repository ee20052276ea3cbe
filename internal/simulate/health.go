package simulate

import (
	"slices"
	"time"

	"balancelab/internal/balance"
)

// A health is what is known of a worker by its counts, since the broker was started.
// Outcomes of the same moment have no order, so what follows from it has bounds.
type health struct {
	answered, failed int // as they were counted latest
	bounds
	most         bounds        // in this moment
	moment       time.Duration // of the latest count
	surely       int           // failures since the latest answer: so many at least
	since, until time.Duration // when the latest cool-down began, and when it ends
	given        time.Duration // when the worker was given a request last
	trial        *request      // of the latest cool-down, as far as it is known
	tried        bool          // there was one since the latest cool-down
	untold       bool          // it has drained meanwhile: then cool-downs are not told
}

// bounds are at most so much.
type bounds struct {
	inARow   int           // failures since the latest answer
	excess   int           // failures less answers, from 0 to excessLimit
	coolDown time.Duration // the latest; 0 if the next one is a first one again
}

// What the broker promises of cool-downs, see its README.
const (
	failuresInARow = 3
	excessLimit    = 12
	firstCoolDown  = time.Second

	longestCoolDown = 30 * time.Second
)

// count counts what came since the latest look. If exact, each failure is the
// worker's. A change that comes from a failure may be told when more has been counted
// in the same moment; most is what it may come from.
func (h *health) count(now time.Duration, answered, failed int, exact bool) {
	if now > h.moment {
		h.moment, h.most = now, h.bounds
	}
	a, f := answered-h.answered, failed-h.failed
	h.answered, h.failed = answered, failed
	h.excess = min(max(h.excess-a, 0)+f, excessLimit)
	if a > 0 {
		h.surely = 0
		if f == 0 {
			h.inARow = 0
		}
	}
	h.inARow += f
	if a == 0 && exact {
		h.surely += f
	}
	if f == 0 && h.excess == 0 {
		h.coolDown = 0
	}
	h.most.inARow, h.most.excess = max(h.most.inARow, h.inARow), max(h.most.excess, h.excess)
}

// healthOf returns what is known of a worker.
func (c *checker) healthOf(name string) *health {
	h := c.health[name]
	if h == nil {
		h = new(health)
		c.health[name] = h
	}
	return h
}

// count counts the outcomes of all workers.
func (c *checker) count(all []balance.Status) {
	for i := range all {
		w := &all[i]
		h := c.healthOf(w.Name)
		h.count(c.now(), answeredBy(w), w.Failed, !c.ownFailures())
		if h.surely >= failuresInARow && w.State == balance.Up {
			c.doubt("%s has failed %d times in a row, and is up", w.Name, h.surely)
		}
	}
}

// ownFailures reports whether there may be failures that are not held against the
// worker: those of idle connections, for want of files, and of a broker that stops.
func (c *checker) ownFailures() bool {
	files := slices.ContainsFunc(c.lab.plan.troubles, func(t trouble) bool { return t.kind == noFiles })
	return c.lab.plan.broker.keepalive || files || c.stopAt > 0
}

// healthChanged takes a change of a worker's state for what is known of its health.
func (c *checker) healthChanged(change balance.Change) {
	c.count(c.life.pool.Snapshot().Workers)
	h := c.healthOf(change.Name)
	if change.Cause == balance.Ordered || change.Cause == balance.Added {
		c.freed = c.now()
	}
	switch {
	case change.State == balance.Draining:
		h.untold = true
	case change.State == balance.Cooling && change.Cause != balance.Ordered:
		c.cools(h, change)
		h.coolDown, h.untold = change.Cooling, false
		h.most.coolDown = change.Cooling
	}
	if change.State == balance.Cooling {
		h.since, h.until = c.now(), c.now()+change.Cooling
		h.trial, h.tried = nil, false
	}
}

// cools checks that a worker cools down with reason, and for how long.
func (c *checker) cools(h *health, change balance.Change) {
	switch {
	case change.Cause == balance.TrialFailed && h.trial != nil && c.leaving != h.trial && c.steps <= 2:
		c.wrong("%s cools down for the trial of %v, when %v has failed", change.Name, h.trial, c.leaving)
	case change.Cause == balance.FailedInARow && h.most.inARow < failuresInARow:
		c.wrong("%s cools down after %d failures in a row", change.Name, h.most.inARow)
	case change.Cause == balance.TooManyFailed && h.most.excess < excessLimit:
		c.wrong("%s cools down after %d failures more than answers", change.Name, h.most.excess)
	}
	again := min(max(2*h.most.coolDown, firstCoolDown), longestCoolDown)
	first := change.Cause != balance.TrialFailed && change.Cooling == firstCoolDown
	if change.Cooling != again && !first && !h.untold {
		c.wrong("%s cools down for %v (%v), after %v", change.Name, change.Cooling, change.Cause, h.most.coolDown)
	}
}

// given notes that a worker was given a request, when that has been checked. The
// first one after a cool-down is the trial. Of two that are given at the same moment
// nobody knows which it is, nor of a trial that is repeated.
func (c *checker) given(r *request, w *balance.Status) {
	h := c.healthOf(r.worker)
	switch {
	case w != nil && w.State == balance.OnTrial && !h.tried:
		h.trial, h.tried = r, true
	case h.trial != nil && !(h.trial.held && h.trial.worker == r.worker):
		h.trial = nil
	}
	if h.given == c.now() {
		h.trial = nil
	}
	h.given = c.now()
}

// onTime checks that a request that had no worker yet, and has waited since a time, is
// not given one that was due for a trial long ago.
func (c *checker) onTime(r *request, waiting time.Duration, w *balance.Status) {
	h := c.healthOf(r.worker)
	if w != nil && w.InFlight == 1 && max(waiting, h.given, c.freed) < h.until && h.until < c.now() {
		c.doubt("%v: it gets its place at %s, which was due for a trial at %v", r, r.worker, h.until)
	}
}

// isBack checks that an answer has brought its worker back, unless the request was
// assigned before the worker was taken out. In this moment there have been the release
// of its own place and one change at most, or else somebody else's failure may have
// followed.
func (c *checker) isBack(r *request) {
	w := find(c.life.pool.Snapshot().Workers, r.worker)
	if w == nil || r.placed <= c.healthOf(r.worker).since || c.steps > 2 {
		return
	}
	switch w.State {
	case balance.Cooling, balance.DueForTrial, balance.OnTrial:
		c.doubt("%v: %s has answered, and is still out: %v", r, r.worker, w.State)
	}
}
