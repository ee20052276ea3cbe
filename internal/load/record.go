package load

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A Done is a request that has ended.
type Done struct {
	Planned
	Began, Ended time.Duration // from the start of the run
	Outcome      Outcome
	Cause        string // why it failed, as in the report, and safe for a terminal; "" if it did not
	Local        bool   // it failed with a [LocalError]
}

// Latency is measured from the planned start, or without one from the actual
// start.
func (d Done) Latency() time.Duration { return d.late() + d.Ended - d.Began }

// late returns the time from the planned to the actual start.
func (d Done) late() time.Duration {
	if !d.Paced {
		return 0
	}
	return d.Began - d.Start
}

// An Outcome is what became of a request.
type Outcome int

// The outcomes. A request is interrupted if it was in flight when the run was
// stopped.
const (
	Answered Outcome = iota
	Failed
	Interrupted
	numOutcomes = iota
)

// String returns ok, failed or interrupted, as in a report.
func (o Outcome) String() string { return [...]string{"ok", "failed", "interrupted"}[o] }

// lateBy is how late a start must be to be counted as late. Timers alone may be
// late by a millisecond or two.
const lateBy = 10 * time.Millisecond

// A tally counts some of the requests, or all of them.
type tally struct {
	outcomes [numOutcomes]int64
	local    int64                // of those that failed
	latency  *histogram.Histogram // of the answered ones
	waits    waits                // of the interrupted ones
}

// precision makes percentiles exact to 0.4 %.
const precision = 7

// newTallies returns n tallies of nothing.
func newTallies(n int) []tally {
	tallies := make([]tally, n)
	for i := range tallies {
		tallies[i].latency = histogram.New(precision)
	}
	return tallies
}

// sent returns how many requests began.
func (t *tally) sent() (n int64) {
	for _, count := range t.outcomes {
		n += count
	}
	return n
}

func (t *tally) merge(o *tally) {
	for i, n := range o.outcomes {
		t.outcomes[i] += n
	}
	t.local += o.local
	t.latency.Merge(o.latency)
	t.waits.merge(o.waits)
}

// waits says how long n requests had waited when the run was stopped. With n 0
// the other fields mean nothing.
type waits struct {
	n        int64
	min, max time.Duration
}

func (w *waits) merge(o waits) {
	switch {
	case o.n == 0:
	case w.n == 0:
		*w = o
	default:
		*w = waits{w.n + o.n, min(w.min, o.min), max(w.max, o.max)}
	}
}

// starts says when requests began.
type starts struct {
	last    time.Duration // when the last one began, from the start of the run
	planned time.Duration // the latest planned start
	late    int64         // how many were late by more than lateBy
	latest  time.Duration // how late the latest one was
}

func (s *starts) merge(o starts) {
	s.last = max(s.last, o.last)
	s.planned = max(s.planned, o.planned)
	s.late += o.late
	s.latest = max(s.latest, o.latest)
}

// A recorder keeps tallies in several shards, so that senders seldom wait for
// each other. There are few shards, because each takes memory. A tally is of the
// requests of one type under one approach.
type recorder struct {
	kinds  []protocol.Request // each one that the plan has, by type and then by approach
	shards []*shard
	parts  *parts // nil if the rate does not change
}

// A shard is the part of a recorder that some of the senders use.
type shard struct {
	mu     sync.Mutex // guards what follows
	cells  []tally    // one for each of recorder.kinds
	starts starts
}

func newRecorder(p Plan, senders int) *recorder {
	r := &recorder{parts: newParts(p)}
	for _, t := range p.kinds() {
		for _, a := range once(p.Approaches) {
			r.kinds = append(r.kinds, protocol.Request{Type: t, Approach: a})
		}
	}
	for range min(senders, 4*runtime.GOMAXPROCS(0)) {
		r.shards = append(r.shards, &shard{cells: newTallies(len(r.kinds))})
	}
	return r
}

// shard returns the shard of a sender.
func (r *recorder) shard(sender int) *shard { return r.shards[sender%len(r.shards)] }

// cell returns the place of a request's tally.
func (r *recorder) cell(q protocol.Request) int { return slices.Index(r.kinds, q) }

// add records a request in a cell.
func (s *shard) add(cell int, d Done) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.cells[cell]
	t.outcomes[d.Outcome]++
	switch d.Outcome {
	case Answered:
		t.latency.Add(d.Latency())
	case Interrupted:
		t.waits.merge(waits{1, d.Latency(), d.Latency()})
	}
	if d.Local {
		t.local++
	}
	began := starts{last: d.Began, planned: d.Start, latest: d.late()}
	if began.latest > lateBy {
		began.late = 1
	}
	s.starts.merge(began)
}

// sum returns the tally of each kind and of all, as they are now.
func (r *recorder) sum() (cells []tally, all *tally, began starts) {
	cells = newTallies(len(r.kinds))
	for _, s := range r.shards {
		s.mu.Lock()
		for i := range s.cells {
			cells[i].merge(&s.cells[i])
		}
		began.merge(s.starts)
		s.mu.Unlock()
	}
	all = r.only(cells, func(protocol.Request) bool { return true })
	return cells, all, began
}

// only returns the sum of those cells whose kind is one that is asked for.
func (r *recorder) only(cells []tally, asked func(protocol.Request) bool) *tally {
	sum := &newTallies(1)[0]
	for i, kind := range r.kinds {
		if asked(kind) {
			sum.merge(&cells[i])
		}
	}
	return sum
}
