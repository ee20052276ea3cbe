package figures

import (
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/status"
)

// Snapshot returns the figures of this moment. Listen and Stopping are left to
// the caller. A request is over for the pool a little before it is in the
// latest ones, so a moment's totals may differ by those between the two.
func (r *Recorder) Snapshot() status.Snapshot {
	s := status.Snapshot{Time: time.Now(), Started: r.started}
	own := r.copy(s.Time)
	pool := r.pool.Snapshot()
	s.Clients = own.connected - own.done
	s.Totals = own.totals()
	s.LastMinute = own.minute(s.Time.Sub(r.started))
	s.Latest = own.requests()
	s.Durations = own.durations()
	s.Workers = own.workers(pool)
	s.Spread = spreads(pool)
	for _, p := range s.Spread {
		s.Totals.Answered += p.Answered
	}
	return s
}

// figures is a copy of what a Recorder guards.
type figures struct {
	connected, done, left, refused int

	failed    [nApproaches]int
	times     [nApproaches]histogram
	minuteAll buckets
	fails     int
	perSecond []int
	latest    [kept]entry
	errors    []status.Failure
	history   [][]int
}

// copy returns everything at one moment; what is worked out from it is worked
// out without the lock.
func (r *Recorder) copy(now time.Time) *figures {
	f := &figures{errors: make([]status.Failure, len(r.errors)), history: make([][]int, len(r.history))}
	for i := range f.history {
		f.history[i] = make([]int, 0, samples)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.window.advance(now.Sub(r.started))
	f.connected, f.done, f.left, f.refused = r.connected, r.done, r.left, r.refused
	f.failed, f.times, f.latest = r.failed, r.times, r.latest
	f.minuteAll, f.fails, f.perSecond = r.window.all, r.window.fails, r.window.perSecond()
	copy(f.errors, r.errors)
	for i := range r.history {
		for n := max(0, r.sampled-samples); n < r.sampled; n++ {
			f.history[i] = append(f.history[i], int(r.history[i][n%samples]))
		}
	}
	return f
}

func (f *figures) totals() status.Totals {
	t := status.Totals{
		Connected: f.connected, Refused: f.refused, Left: f.left,
		Failed: make(map[protocol.Approach]int),
	}
	for i, a := range approaches {
		t.Failed[a] = f.failed[i]
	}
	return t
}

// minute is about the time from the start of the oldest slot until now.
func (f *figures) minute(age time.Duration) status.Minute {
	length := max(min(age, (slots-1)*time.Second+age%time.Second), time.Second)
	b := &f.minuteAll
	m := status.Minute{
		Seconds: length.Seconds(), Answered: b.total(), Failed: f.fails, PerSecond: f.perSecond,
		P50: b.quantile(.50).Seconds(), P95: b.quantile(.95).Seconds(), P99: b.quantile(.99).Seconds(),
	}
	m.Rate = float64(m.Answered) / m.Seconds
	return m
}

func (f *figures) requests() []status.Request {
	all := make([]status.Request, 0, kept)
	for n := f.done; n > 0 && n > f.done-kept; n-- {
		e := &f.latest[n%kept]
		all = append(all, status.Request{
			Number: n, Time: e.at, Type: e.request.Type, Approach: e.request.Approach,
			Worker: e.worker, Seconds: e.took.Seconds(), Outcome: e.outcome,
			Detail: console.Shown(e.detail),
		})
	}
	return all
}

func (f *figures) durations() []status.Histogram {
	var all []status.Histogram
	for i, a := range approaches {
		t := &f.times[i]
		h := status.Histogram{Approach: a, Count: t.count, Sum: t.sum.Seconds()}
		n := 0
		for j, bound := range bounds {
			n += t.counts[j]
			h.Buckets = append(h.Buckets, status.Bucket{Le: bound.Seconds(), Count: n})
		}
		all = append(all, h)
	}
	return all
}

func (f *figures) workers(pool []balance.Status) []status.Worker {
	weights := 0
	for _, w := range pool {
		weights += w.Weight
	}
	all := make([]status.Worker, 0, len(pool))
	for i, w := range pool {
		s := status.Worker{
			Name: w.Name, Addr: w.Addr, State: w.State.String(), Cooling: w.Cooling.Seconds(),
			Weight: w.Weight, Fair: float64(w.Weight) / float64(weights),
			InFlight: w.InFlight, Most: w.Most, History: f.history[i],
			Assigned: w.Assigned, Failed: w.Failed, Answered: make(map[protocol.Approach]int),
		}
		for j, a := range approaches {
			s.Answered[a] = w.Answered[j]
		}
		if e := f.errors[i]; e.Text != "" {
			s.Error = &status.Failure{Time: e.Time, Text: console.Shown(e.Text)}
		}
		all = append(all, s)
	}
	return all
}

func spreads(pool []balance.Status) []status.Spread {
	var all []status.Spread
	for j, a := range approaches {
		var answered, weights []int
		for _, w := range pool {
			answered = append(answered, w.Answered[j])
			weights = append(weights, w.Weight)
		}
		all = append(all, status.NewSpread(a, answered, weights))
	}
	return all
}
