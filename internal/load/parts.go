package load

import (
	"sync"
	"time"

	"balancelab/internal/histogram"
)

// numParts is into how many equal parts the time of a ramp is divided.
const numParts = 10

// parts divides the time of a ramp, so that it can be seen at which rate the
// other side no longer keeps up. An answer counts in the part in which it came:
// answers a second then stop to rise. Its latency counts in the part in which
// the request was to start: it is that of the rate there.
type parts struct {
	length time.Duration // of all parts

	mu      sync.Mutex // guards what follows
	came    [numParts]int64
	latency [numParts]*histogram.Histogram
}

// newParts returns the parts of a plan, or nil if its rate does not change.
func newParts(p Plan) *parts {
	if p.RateTo == 0 || p.RateTo == p.Rate {
		return nil
	}
	all := &parts{length: p.Length()}
	for i := range all.latency {
		all.latency[i] = histogram.New(precision)
	}
	return all
}

// add counts a request if it was answered.
func (p *parts) add(d Done) {
	if p == nil || d.Outcome != Answered {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.at(d.Ended); i < numParts {
		p.came[i]++
	}
	p.latency[min(p.at(d.Start), numParts-1)].Add(d.Latency())
}

// at returns the number of the part at t; numParts is after the last one.
func (p *parts) at(t time.Duration) int {
	if t >= p.length { // which may be 0, if the rate is very high
		return numParts
	}
	return int(numParts * t.Seconds() / p.length.Seconds())
}

// table returns a row for each part; none if p is nil. A part in which the run was
// stopped counts until then.
func (p *parts) table(plan Plan, stopped time.Duration) []Part {
	table := []Part{}
	if p == nil {
		return table
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	step := p.length / numParts
	from, to := plan.ends()
	for i, came := range p.came {
		start := time.Duration(i) * step
		row := Part{
			From: Span(start), To: Span(start + step),
			Asked:    from + (to-from)*(float64(i)+0.5)/numParts,
			Answered: perSecond(came, min(step, stopped-start)),
		}
		if h := p.latency[i]; h.Count() > 0 {
			p99 := Span(h.Percentile(99))
			row.P99 = &p99
		}
		table = append(table, row)
	}
	return table
}
