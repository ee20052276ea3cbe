package stats

import (
	"maps"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A record is what the recorder knows of one worker, and the pool does not.
type record struct {
	err      Failure       // the latest; zero if there was none
	answers  int           // how many jobs it answered
	answered time.Time     // the latest of them
	serving  histogram.Sum // how long it had the jobs that it answered
	inFlight ring
	of       [protocol.NumTypes]int // in flight, of each type
}

func (w *record) answer(e *entry) {
	w.answers++
	w.answered = e.at
	w.serving.Add(e.served)
}

// record returns the record of a worker, a new one if it has none. The caller
// holds the lock.
func (r *Recorder) record(worker string) *record {
	w := r.workers[worker]
	if w == nil {
		w = new(record)
		r.workers[worker] = w
	}
	return w
}

// forget removes the records of workers that are in the pool no more, a minute
// after the last event: what has ended may be told a little later.
func (r *Recorder) forget(pool []balance.Status, now time.Time) {
	if len(r.workers) <= len(pool) {
		return
	}
	there := make(map[string]bool, len(pool))
	for _, w := range pool {
		there[w.Name] = true
	}
	old := now.Add(-time.Minute)
	maps.DeleteFunc(r.workers, func(name string, w *record) bool {
		return !there[name] && w.answered.Before(old) && w.err.Time.Before(old)
	})
}

// A ring keeps the latest samples of a number.
type ring struct {
	latest [samples]uint32 // sample n is at n % samples
	n      int             // how many samples were taken
}

func (r *ring) add(value int) {
	r.latest[r.n%samples] = uint32(value)
	r.n++
}

// list returns what is kept, oldest first.
func (r *ring) list() []int {
	all := make([]int, 0, min(r.n, samples))
	for n := max(0, r.n-samples); n < r.n; n++ {
		all = append(all, int(r.latest[n%samples]))
	}
	return all
}
