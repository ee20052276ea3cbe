package stats

import (
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
)

// Snapshot returns what is known at this moment. The caller fills in Listen,
// Stopping, Control, Run and Totals.LinesDropped. The pool knows that a request
// is over a little before it is among the latest ones, so totals may differ by the
// requests between the two.
func (r *Recorder) Snapshot() Snapshot {
	now := time.Now()
	m := r.moment(now)
	pool := r.pool.Snapshot()
	s := Snapshot{
		Time: now, Started: r.started,
		Clients:    m.connected - m.done - m.noRequest,
		Totals:     m.totals(),
		LastMinute: m.lastMinute.minute(now.Sub(r.started)),
		Queue:      m.queueOf(pool.Queue),
		Spread:     spreads(&pool),
		Workers:    m.workersOf(pool.Workers),
		Removed:    removed(&pool.Removed),
		Latest:     m.requests(),
		Durations:  m.histograms(),
		Causes:     m.causes(),
	}
	for _, a := range protocol.Approaches() {
		s.Totals.Answered += s.Answered(a)
	}
	return s
}

// A moment is a copy of what a Recorder guards. A snapshot is worked out from
// it, without the lock.
type moment struct {
	counters
	lastMinute recent
	workers    map[string]record
	queue      ring
}

func (r *Recorder) moment(now time.Time) *moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &moment{counters: r.counters, queue: r.queue, workers: make(map[string]record, len(r.workers))}
	r.lastMinute.advance(now.Sub(r.started))
	m.lastMinute = r.lastMinute.recent()
	for name, w := range r.workers {
		m.workers[name] = *w
	}
	return m
}

func (m *moment) totals() Totals {
	t := Totals{
		Connected: m.connected, Refused: m.refused, ClientsGone: m.gone, NoRequest: m.noRequest, Redispatched: m.redispatched,
		Failed: make(map[protocol.Approach]int), Withdrawn: make(map[protocol.Approach]int),
	}
	for _, a := range protocol.Approaches() {
		for _, n := range m.failed[a] {
			t.Failed[a] += n
		}
		t.Withdrawn[a] = m.left[a]
	}
	return t
}

func (m *moment) causes() []CauseCount {
	all := make([]CauseCount, 0, numCauses)
	for c := range numCauses {
		n := CauseCount{Cause: c.String(), Attempts: m.attempts[c], Requests: make(map[protocol.Approach]int)}
		for _, a := range protocol.Approaches() {
			n.Requests[a] = m.failed[a][c]
		}
		all = append(all, n)
	}
	return all
}

// requests returns the latest requests, newest first.
func (m *moment) requests() []Request {
	all := make([]Request, 0, latestSize)
	for n := m.done; n > 0 && n > m.done-latestSize; n-- {
		e := &m.latest[n%latestSize]
		all = append(all, Request{
			Number: n, Time: e.at, Type: e.request.Type, Approach: e.request.Approach,
			Worker: e.worker, Attempts: e.tries, Seconds: e.took.Seconds(), Outcome: e.outcome,
			Detail: protocol.Printable(e.detail),
		})
	}
	return all
}

func (m *moment) histograms() []Histogram {
	var all []Histogram
	for _, a := range protocol.Approaches() {
		for t := protocol.NoType + 1; t < protocol.NumTypes; t++ {
			h := m.durations[a][t].histogram()
			h.Approach, h.Type = a, t
			all = append(all, h)
		}
	}
	return all
}

func (m *moment) queueOf(q balance.Queue) Queue {
	return Queue{
		Waiting: q.Waiting, Oldest: q.Oldest.Seconds(), Most: q.Most,
		History: m.queue.list(), Waited: m.queued.histogram(),
	}
}

func (m *moment) workersOf(pool []balance.Status) []Worker {
	weights := 0
	for _, w := range pool {
		weights += w.Weight
	}
	all := make([]Worker, 0, len(pool))
	for i, w := range pool {
		known := m.workers[w.Name]
		s := Worker{
			Name: w.Name, Addr: w.Addr, State: stateOf(&pool[i]), Cooling: w.Cooling.Seconds(),
			Weight: w.Weight, Limit: w.Limit, FairShare: float64(w.Weight) / float64(weights),
			InFlight: w.InFlight, Peak: w.Peak, History: known.inFlight.list(),
			Assigned: w.Assigned, Answered: byApproach(w.Answered), Failed: w.Failed, Withdrawn: w.Withdrawn,
			InFlightOf: byType(known.of),
			LastAnswer: known.answered, Serving: Serving{known.answers, known.serving.Seconds()},
		}
		if e := known.err; e.Text != "" {
			s.Error = &Failure{Time: e.Time, Text: protocol.Printable(e.Text)}
		}
		all = append(all, s)
	}
	return all
}

func removed(w *balance.Status) Removed {
	return Removed{Assigned: w.Assigned, Answered: byApproach(w.Answered), Failed: w.Failed, Withdrawn: w.Withdrawn}
}

// byApproach returns what is counted by the selectors, whose indices are the
// approaches.
func byApproach(counts []int) map[protocol.Approach]int {
	all := make(map[protocol.Approach]int)
	for _, a := range protocol.Approaches() {
		all[a] = counts[a]
	}
	return all
}

func byType(counts [protocol.NumTypes]int) map[protocol.Type]int {
	all := make(map[protocol.Type]int)
	for _, t := range protocol.Types() {
		all[t] = counts[t]
	}
	return all
}
