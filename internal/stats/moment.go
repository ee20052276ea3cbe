package stats

import (
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
)

// Snapshot returns what is known at this moment. The caller fills in Listen,
// Stopping and Totals.LinesDropped. The pool knows that a request is over a little before it is among
// the latest ones, so totals may differ by the requests between the two.
func (r *Recorder) Snapshot() Snapshot {
	now := time.Now()
	m := r.moment(now)
	pool := r.pool.Snapshot().Workers
	s := Snapshot{
		Time: now, Started: r.started,
		Clients:    m.connected - m.done - m.noRequest,
		Totals:     m.totals(),
		LastMinute: m.lastMinute.minute(now.Sub(r.started)),
		Spread:     spreads(pool),
		Workers:    m.workers(pool),
		Latest:     m.requests(),
		Durations:  m.histograms(),
		Causes:     m.causes(),
	}
	for _, p := range s.Spread {
		s.Totals.Answered += p.Answered
	}
	return s
}

// A moment is a copy of what a Recorder guards. A snapshot is worked out from
// it, without the lock.
type moment struct {
	counters
	lastMinute recent
	errors     []Failure
	answers    []answers
	history    [][]int
}

func (r *Recorder) moment(now time.Time) *moment {
	m := &moment{
		errors: make([]Failure, len(r.errors)), answers: make([]answers, len(r.answers)), history: make([][]int, len(r.history)),
	}
	for i := range m.history {
		m.history[i] = make([]int, 0, samples)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.counters = r.counters
	r.lastMinute.advance(now.Sub(r.started))
	m.lastMinute = r.lastMinute.recent()
	copy(m.errors, r.errors)
	copy(m.answers, r.answers)
	for i := range r.history {
		for n := max(0, r.sampled-samples); n < r.sampled; n++ {
			m.history[i] = append(m.history[i], int(r.history[i][n%samples]))
		}
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
			Worker: e.worker, Seconds: e.took.Seconds(), Outcome: e.outcome,
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

func (m *moment) workers(pool []balance.Status) []Worker {
	weights := 0
	for _, w := range pool {
		weights += w.Weight
	}
	all := make([]Worker, 0, len(pool))
	for i, w := range pool {
		s := Worker{
			Name: w.Name, Addr: w.Addr, State: stateOf(&pool[i]), Cooling: w.Cooling.Seconds(),
			Weight: w.Weight, FairShare: float64(w.Weight) / float64(weights),
			InFlight: w.InFlight, Peak: w.Peak, History: m.history[i],
			Assigned: w.Assigned, Failed: w.Failed, Withdrawn: w.Withdrawn, Answered: make(map[protocol.Approach]int),
			LastAnswer: m.answers[i].latest, Serving: Serving{m.answers[i].count, m.answers[i].serving.Seconds()},
		}
		for _, a := range protocol.Approaches() {
			s.Answered[a] = w.Answered[a]
		}
		if e := m.errors[i]; e.Text != "" {
			s.Error = &Failure{Time: e.Time, Text: protocol.Printable(e.Text)}
		}
		all = append(all, s)
	}
	return all
}

func spreads(pool []balance.Status) []Spread {
	var all []Spread
	for _, a := range protocol.Approaches() {
		var answered, weights []int
		for _, w := range pool {
			answered = append(answered, w.Answered[a])
			weights = append(weights, w.Weight)
		}
		s := newSpread(answered, weights)
		s.Approach = a
		all = append(all, s)
	}
	return all
}

// newSpread measures how evenly the answers of each worker go with its weight.
func newSpread(answered, weights []int) Spread {
	s := Spread{Shares: make([]float64, len(answered))}
	weight := 0
	for i, n := range answered {
		s.Answered += n
		weight += weights[i]
	}
	if s.Answered == 0 {
		return s
	}
	var sum, squares float64 // of the answers for each unit of weight
	for i, n := range answered {
		s.Shares[i] = float64(n) / float64(s.Answered)
		fair := float64(weights[i]) / float64(weight)
		s.MaxDeviation = max(s.MaxDeviation, s.Shares[i]-fair, fair-s.Shares[i])
		x := float64(n) / float64(weights[i])
		sum += x
		squares += x * x
	}
	s.Evenness = sum * sum / (float64(len(answered)) * squares)
	return s
}
