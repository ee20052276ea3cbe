// Package balance decides which worker gets the next request.
//
// A [Pool] holds the workers under one lock. [Pool.Assign] chooses one of them
// and counts the request as in flight in the same critical section. A balancer
// that picks, dials and then counts sends a whole burst to the one worker that
// looked idle. Assign hands out a [Lease], to be released exactly once, with an
// [Outcome].
//
//	const roundRobin, leastConnections = 1, 2 // 0 is no approach
//	pool := balance.NewPool(workers, nil, new(balance.RoundRobin), new(balance.LeastConnections))
//	var request balance.Request
//	lease, ok := pool.Assign(leastConnections, &request)
//	...
//	lease.Release(balance.Answered)
//
// # The two selectors
//
// [RoundRobin] equalises the number of requests, in proportion to the weights.
// [LeastConnections] equalises the requests in flight. Both look at the same
// workers, and every request in flight counts, whichever selector brought it.
// Read leastconnections.go first: it is the shorter one.
//
// # Health
//
// A worker that fails is left out for a while: it cools down. Without that, a
// worker that fails at once always has the fewest requests in flight and
// attracts everything. There are two signs of such a worker:
//
//   - It fails three times in a row.
//   - It fails more than it answers. The pool keeps the excess of each worker:
//     a failure adds one, an answer takes one away, and it is never below 0 or
//     above 12. At 12 the worker cools down. A worker that fails less than half
//     of its requests stays near 0. One that fails more than half gets to 12;
//     the more it fails, the sooner. Answers are not saved up: at 0, one more
//     changes nothing.
//
// The first cool-down lasts a second, each further one twice as long as the one
// before, 30 seconds at most. Once the excess is back at 0 (the answers have
// caught up with the failures), the next one lasts a second again.
//
// When the time is over the worker is due for a trial: it gets one request, and
// nothing more until that one is answered (then the worker is up) or has failed
// (then it cools down again). The field calls this a circuit breaker, and a
// worker on trial half-open. No request waits for a trial, and no probe is ever
// sent. An answer to the trial takes one from the excess, no more. So a worker
// that fails two of three, and is back by luck, is at 11: at its next failure it
// cools down again, for twice as long.
//
// Any answer ends a cool-down, with one exception. When a worker's excess comes
// to 12, it may have other requests in flight, and will answer some of them, as
// it did before. Such an answer, to a request from before the cool-down, does
// not end it, unless the excess is 0 by then.
//
// [Pool.OnChange] is told of every cool-down and every return.
//
// A worker that is not eligible (it cools down, or is on trial) is used all the
// same when a request has no other worker left to try. So a pool whose workers
// are all down needs no restart. Such workers are tried in turn, so one that is
// back is found soon.
//
// # Limits and the queue
//
// A worker with a [Worker.Limit] is full when it has that many requests in
// flight, and is then passed over by both selectors. In a pool in which a worker
// has a limit, a request that finds no place waits: see [Request.Place]. Whoever
// gives a place back hands it on, in the same critical section. First come, first
// served; but requests that have failed at a worker come before the new ones,
// since they have had their turn already. The place of a worker that is not
// eligible is no place, unless that is so of all workers. queue.go has the whole
// of it.
//
// # Workers that come and go
//
// [Pool.Add], [Pool.Drain] and their neighbours in orders.go change the workers
// while requests are served. A worker that drains gets nothing new; what is in
// flight goes on. Nobody has a burst of turns for that: credit is counted in turns.
//
// [Status.Turns] says what each worker was assigned, and what its fair share
// would have been among those that could be chosen each time.
//
// # Further attempts
//
// A request whose worker failed is assigned again with the same [Request], and
// meets each worker at most once, and at most three that are not up: they cool
// down, or are due for a trial, or on trial. So a pool of three tries each of them.
// Without that bound, when all of 10,000 workers are down, each request would have
// 10,000 attempts, and as many timeouts if no machine answers. HAProxy's Configuration
// Manual bounds attempts too (retries, 3 by default), as does nginx's Module
// ngx_http_proxy_module (proxy_next_upstream_tries, without a bound by default).
//
// Attempts at workers that are up are not counted. Each that fails brings its worker
// nearer to a cool-down, so they are made once for an outage, and not again for each
// request. Trials are counted: if they time out, the cool-downs of others are over
// before a request has gone through all of them.
//
// Each attempt gets the worker that the selector would choose now, if the request
// has not met it yet; otherwise the best one of an order that is taken once, and
// kept for its further attempts. Round robin's further attempts have turns of their
// own, so that a worker that fails often shifts nobody's share of new requests.
// So all attempts of a request together look at n log n workers, if there are
// n, and not at all of them again each time. [Request] says what of that order may
// be out of date.
//
// The pool neither dials nor knows the wire.
package balance

import "time"

// A Worker is a member of a pool, as configured.
type Worker struct {
	Name   string
	Addr   string // where to connect; the pool does not look at it
	Weight int    // its share; 0 means 1
	Limit  int    // the most requests in flight; 0 for any number
}

// An Outcome is how a lease ended.
type Outcome int

const (
	// Answered speaks for the worker.
	Answered Outcome = iota
	// Failed counts towards a cool-down.
	Failed
	// NotCounted is a failure that is not the worker's: our own side ran out of
	// something, or gave up. It does not count towards a cool-down. In
	// [Status.Failed] it is included: the request was not answered.
	NotCounted
	// Withdrawn is neither an answer nor a failure: the client has left, and
	// the job was withdrawn before its end was known.
	Withdrawn
)

// A State is what a worker may get.
type State int

const (
	Up          State = iota // any request
	Cooling                  // nothing, unless a request has no other worker left
	DueForTrial              // the cool-down is over: one request
	OnTrial                  // that request is in flight: as Cooling
	Draining                 // nothing, by an order; some are in flight
	Drained                  // nothing, by an order; none is in flight
	Removed                  // it is no worker of the pool any more; only in a Change
)

// String returns the state in words, as a page shows it.
func (s State) String() string {
	return [...]string{"up", "cooling down", "due for a trial", "on trial", "draining", "drained", "removed"}[s]
}

// A Status is one worker at one moment. Assigned is always the sum of InFlight,
// Answered, Failed and Withdrawn.
type Status struct {
	Worker
	State     State
	Cooling   time.Duration // how long the cool-down still lasts; 0 if it does not cool
	InFlight  int
	Peak      int     // the most that were in flight at once
	Assigned  int     // leases handed out
	Answered  []int   // leases answered, by the selector's index in the list of NewPool
	Failed    int     // leases released as Failed or NotCounted
	Withdrawn int     // leases released as Withdrawn
	Turns     []Turns // by the selector's index
	// RecentPeak is Peak since the latest [Pool.RestartPeaks], what was in flight
	// then included.
	RecentPeak int
}
