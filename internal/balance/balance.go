// Package balance decides who gets the next request.
//
// A [Pool] holds the workers under one lock. [Pool.Assign] chooses one of them
// and counts the request as in flight in the same critical section; a balancer
// that picks, dials and then counts sends a whole burst to the one worker that
// looked idle. What Assign hands out is a [Lease], released exactly once, with
// the [Outcome].
//
//	roundRobin := new(balance.RoundRobin)
//	pool := balance.NewPool(workers, roundRobin, new(balance.LeastConnections))
//	var tried balance.Tried
//	lease, ok := pool.Assign(roundRobin, &tried)
//	...
//	lease.Release(balance.Answered)
//
// # The two selectors
//
// [RoundRobin] equalises the number of requests, in proportion to the weights.
// [LeastConnections] equalises the requests in flight. Both look at the same
// workers, and every request in flight counts, whichever selector brought it.
//
// # Health
//
// A worker that fails three times in a row cools down: for a second at first,
// twice as long after each further failure, 30 seconds at most. Without that, a
// worker that fails at once always has the fewest requests in flight and
// attracts everything. When the time is over the worker is on trial: it gets
// one request, and nothing more until that one is answered (then the worker is
// up) or has failed (then it cools down again). Nobody waits for a trial, and
// no probe is ever sent. Any answer ends a cool-down.
//
// A cooling worker is used all the same when a request has no other worker
// left to try. So a pool whose workers are all down needs no restart.
//
// The pool neither dials nor knows the wire.
package balance

import "time"

// A Worker is a member of a pool, as configured.
type Worker struct {
	Name   string
	Addr   string // where to connect; the pool does not look at it
	Weight int    // its share; 0 means 1
}

// An Outcome is how a lease ended.
type Outcome int

const (
	// Answered clears a worker's failures.
	Answered Outcome = iota
	// Failed counts towards a cool-down.
	Failed
	// NotCounted is a failure that is not the worker's: our own side ran out of
	// something, or gave up. It is counted as failed, and not held against it.
	NotCounted
)

// Cool-downs: after failuresInARow, from the first to the longest, doubling.
const (
	failuresInARow  = 3
	firstCoolDown   = 1 * time.Second
	longestCoolDown = 30 * time.Second
)

// A State is what a worker may get.
type State int

const (
	Up      State = iota // any request
	Cooling              // nothing, unless a request has no other worker left
	Trial                // the cool-down is over: one request
	OnTrial              // that request is in flight
)

// String returns the state in words, as a page shows it.
func (s State) String() string {
	return [...]string{"up", "cooling down", "due for a trial", "on trial"}[s]
}

// A Status is one worker at one moment.
type Status struct {
	Worker
	State    State
	Cooling  time.Duration // how long the cool-down still lasts; 0 if it does not cool
	InFlight int
	Peak     int   // the most that were in flight at once
	Assigned int   // leases handed out
	Answered []int // leases answered, for each selector in the order of NewPool
	Failed   int   // leases released as Failed or NotCounted
}
