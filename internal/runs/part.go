package runs

import (
	"context"
	"errors"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/histogram"
	"balancelab/internal/load"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

// A part is one load run: all of a run, or of a comparison what is sent in one
// way.
type part struct {
	way     way
	plan    load.Plan
	open    bool // it goes on until it is stopped
	atOnce  int
	command string
	ask     func(context.Context, protocol.Request) error
	pool    *balance.Pool

	// Set at the end, before anybody reads them.
	stopped error        // why it ended before all of its requests had; nil if it did not
	causes  []load.Cause // of failures

	mu      sync.Mutex // guards what follows
	began   time.Time  // zero before
	took    time.Duration
	ended   bool
	sent    int
	counts  [load.Interrupted + 1]int         // by the outcome
	times   *histogram.Histogram              // of answered requests
	bars    barCounts                         // of the same
	given   map[string][protocol.NumTypes]int // to each worker
	workers []Share                           // what each has come to, at the end
}

// precision is that of a load run's own report. With the sums in it, jobs that all
// take 5 s have a median of 5 s, and not of the middle of a bucket.
const precision = 7

func newPart(o Order, w way, c Config) *part {
	plan := o.plan(w)
	n, _ := o.atOnce(c.MaxAtOnce)
	return &part{
		way: w, plan: plan, open: o.open(), atOnce: n, command: o.command(c.Addr, plan, c.MaxAtOnce), ask: asker(c), pool: c.Pool,
		times: histogram.NewWithSums(precision), given: make(map[string][protocol.NumTypes]int),
	}
}

// asker returns what carries out one request. Its errors are short.
func asker(c Config) func(context.Context, protocol.Request) error {
	return func(ctx context.Context, r protocol.Request) error {
		_, err := protocol.Ask(ctx, c.Dial, r)
		if failed := (*protocol.AskError)(nil); errors.As(err, &failed) {
			return &protocol.AskError{Step: failed.Step, Err: neterr.Reason(failed.Err)}
		}
		return err
	}
}

// carryOut sends the requests, and returns when all have ended, or soon after ctx
// is done.
func (p *part) carryOut(ctx context.Context, r *Runner) {
	p.pool.RestartPeaks()
	p.mu.Lock()
	p.began = time.Now()
	p.mu.Unlock()
	r.counting.Store(p)
	report := load.Run(ctx, load.Config{Plan: p.plan, C: p.atOnce, Do: p.send, Ended: p.counter(ctx)})
	r.counting.Store(nil)
	p.stopped, p.causes = context.Cause(ctx), report.Errors
	p.end()
}

func (p *part) send(ctx context.Context, r protocol.Request) error {
	p.mu.Lock()
	p.sent++
	p.mu.Unlock()
	return p.ask(ctx, r)
}

// counter returns what counts the requests that have ended. If there is no rate it
// also has the sender wait before its next request.
func (p *part) counter(ctx context.Context) func(load.Done) {
	var t throttle
	return func(d load.Done) {
		p.count(d)
		if !p.plan.Paced() {
			t.wait(ctx)
		}
	}
}

func (p *part) count(d load.Done) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[d.Outcome]++
	if d.Outcome == load.Answered {
		p.times.Add(d.Latency())
		p.bars.add(d.Latency())
	}
}

// assigned counts a request that was assigned to a worker.
func (p *part) assigned(worker string, t protocol.Type) {
	p.mu.Lock()
	defer p.mu.Unlock()
	given := p.given[worker]
	given[t]++
	p.given[worker] = given
}

func (p *part) end() {
	pool := p.pool.Snapshot().Workers
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took, p.ended, p.workers = time.Since(p.began), true, p.shares(pool)
}

// shares returns what each worker has come to so far, by the pool.
func (p *part) shares(pool []balance.Status) []Share {
	if p.ended {
		return p.workers
	}
	var all []Share
	for _, w := range pool {
		given := p.given[w.Name]
		all = append(all, Share{Worker: w.Name, Longs: given[protocol.Long], Shorts: given[protocol.Short], Most: w.RecentPeak})
	}
	return all
}

// A moment is what is known of a part at one moment.
type moment struct {
	took            time.Duration
	sent            int
	median, longest time.Duration
	bars            barCounts
	outcome         Outcome
	result          Result // without bars
}

func (p *part) now() moment {
	pool := p.pool.Snapshot().Workers
	p.mu.Lock()
	defer p.mu.Unlock()
	m := moment{
		took: p.took, sent: p.sent, bars: p.bars,
		median: p.times.Percentile(50), longest: p.times.Max(),
		outcome: Outcome{Name: p.way.name, Mean: p.times.Mean(), P95: p.times.Percentile(95), Workers: p.shares(pool)},
	}
	if !p.began.IsZero() && !p.ended {
		m.took = time.Since(p.began)
	}
	m.result = Result{
		Name: p.way.name, Command: p.command, Answered: p.counts[load.Answered], Failed: p.counts[load.Failed],
		Mean: m.outcome.Mean.Seconds(), P50: m.median.Seconds(), P95: m.outcome.P95.Seconds(),
		P99: p.times.Percentile(99).Seconds(), Max: m.longest.Seconds(), Most: m.outcome.busiest().Most,
	}
	return m
}

// planned returns how many requests there are to be; 0 if that is not known.
func (p *part) planned() int {
	if n, known := p.plan.Count(); known && !p.open {
		return n
	}
	return 0
}
