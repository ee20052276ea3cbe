package load

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"balancelab/internal/protocol"
)

// An outcome is how one request fared.
type outcome struct {
	fate  fate
	began time.Time
	late  time.Duration // from the planned to the actual start; 0 without a plan
	took  time.Duration // from the actual start
}

type fate int

const (
	answered fate = iota
	failed
	interrupted
)

// lateBy is how late a request starts that counts as late. Timers alone may be
// a millisecond or two late.
const lateBy = 10 * time.Millisecond

// A tally is what is known of the requests of one type, or of all.
type tally struct {
	fates   [interrupted + 1]int64
	latency histogram // of the answered ones
}

func (t *tally) sent() int64 {
	return t.fates[answered] + t.fates[failed] + t.fates[interrupted]
}

func (t *tally) merge(o *tally) {
	for f, n := range o.fates {
		t.fates[f] += n
	}
	t.latency.merge(&o.latency)
}

// starts is what is known of when requests began.
type starts struct {
	last   time.Duration // from the start of the run
	late   int64         // how many were late by more than lateBy
	latest time.Duration // how late the latest one was
}

func (s *starts) merge(o starts) {
	s.last = max(s.last, o.last)
	s.late += o.late
	s.latest = max(s.latest, o.latest)
}

// A recorder keeps tallies, in shards so that senders seldom wait for each
// other, and few of them so that many senders do not take much memory.
type recorder struct {
	types  []protocol.AppType // each one once
	rows   []int              // by turn: the place in types
	shards []*shard
}

type shard struct {
	mu     sync.Mutex // guards what follows
	rows   []tally    // by place in recorder.types
	starts starts
}

func newRecorder(turns []protocol.AppType, senders int) *recorder {
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
		r.shards = append(r.shards, &shard{rows: make([]tally, len(r.types))})
	}
	return r
}

// shard returns the shard of a sender.
func (r *recorder) shard(sender int) *shard { return r.shards[sender%len(r.shards)] }

// add records o, which began after the run did by offset.
func (s *shard) add(row int, offset time.Duration, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.rows[row]
	t.fates[o.fate]++
	if o.fate == answered {
		t.latency.add(o.late + o.took)
	}
	s.starts.last = max(s.starts.last, offset)
	s.starts.latest = max(s.starts.latest, o.late)
	if o.late > lateBy {
		s.starts.late++
	}
}

// sum returns the tally of each type and of all, as they are now.
func (r *recorder) sum() (rows []tally, all *tally, began starts) {
	rows, all = make([]tally, len(r.types)), new(tally)
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
