package load

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A result is what became of one request.
type result struct {
	outcome outcome
	began   time.Time
	late    time.Duration // from the planned to the actual start; 0 without a rate
	took    time.Duration // from the actual start
}

// latency is measured from the planned start, or without a rate from the actual
// one.
func (r result) latency() time.Duration { return r.late + r.took }

type outcome int

const (
	answered outcome = iota
	failed
	interrupted
	numOutcomes = iota
)

// lateBy is how late a start must be to be counted as late. Timers alone may be
// late by a millisecond or two.
const lateBy = 10 * time.Millisecond

// A tally counts the requests of one type, or all requests.
type tally struct {
	outcomes [numOutcomes]int64
	latency  *histogram.Histogram // of the answered ones
	waits    waits                // of the interrupted ones
}

// newTallies returns n tallies of nothing. A precision of 7 makes percentiles
// exact to 0.4 %.
func newTallies(n int) []tally {
	tallies := make([]tally, n)
	for i := range tallies {
		tallies[i].latency = histogram.New(7)
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
	last   time.Duration // when the last one began, from the start of the run
	late   int64         // how many were late by more than lateBy
	latest time.Duration // how late the latest one was
}

func (s *starts) merge(o starts) {
	s.last = max(s.last, o.last)
	s.late += o.late
	s.latest = max(s.latest, o.latest)
}

// A recorder keeps tallies in several shards, so that senders seldom wait for
// each other. There are few shards, because each takes memory.
type recorder struct {
	types  []protocol.Type // each one once
	rows   []int           // for each turn in [Config].Types, the index in types
	shards []*shard
}

// A shard is the part of a recorder that some of the senders use.
type shard struct {
	mu     sync.Mutex // guards what follows
	rows   []tally    // one for each of recorder.types
	starts starts
}

func newRecorder(turns []protocol.Type, senders int) *recorder {
	r := &recorder{}
	for _, t := range turns {
		row := slices.Index(r.types, t)
		if row < 0 {
			row = len(r.types)
			r.types = append(r.types, t)
		}
		r.rows = append(r.rows, row)
	}
	for range min(senders, 4*runtime.GOMAXPROCS(0)) {
		r.shards = append(r.shards, &shard{rows: newTallies(len(r.types))})
	}
	return r
}

// shard returns the shard of a sender.
func (r *recorder) shard(sender int) *shard { return r.shards[sender%len(r.shards)] }

// add records a result in a row. The request began at offset from the start of
// the run.
func (s *shard) add(row int, offset time.Duration, res result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.rows[row]
	t.outcomes[res.outcome]++
	switch res.outcome {
	case answered:
		t.latency.Add(res.latency())
	case interrupted:
		t.waits.merge(waits{1, res.latency(), res.latency()})
	}
	s.starts.last = max(s.starts.last, offset)
	s.starts.latest = max(s.starts.latest, res.late)
	if res.late > lateBy {
		s.starts.late++
	}
}

// sum returns the tally of each type and of all, as they are now.
func (r *recorder) sum() (rows []tally, all *tally, began starts) {
	rows, all = newTallies(len(r.types)), &newTallies(1)[0]
	for _, s := range r.shards {
		s.mu.Lock()
		for i := range s.rows {
			rows[i].merge(&s.rows[i])
		}
		began.merge(s.starts)
		s.mu.Unlock()
	}
	for i := range rows {
		all.merge(&rows[i])
	}
	return rows, all, began
}
