package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// A way is one way to divide the requests among the workers.
type way struct {
	name     string
	approach protocol.Approach
	limit    int // of the broker's -max-per-worker; 0 for none
}

// The ways that are compared. The limit of oneQueue is that of the workers.
var (
	roundRobin       = way{name: protocol.RoundRobin.String(), approach: protocol.RoundRobin}
	leastConnections = way{name: protocol.LeastConnections.String(), approach: protocol.LeastConnections}
	oneQueue         = way{name: "one queue in the broker", approach: protocol.RoundRobin}
)

// ways returns those that are to be compared. Where a worker does any number of
// jobs at once nothing waits, so there is no queue.
func (p plan) ways() []way {
	if p.slots == 0 {
		return []way{roundRobin, leastConnections}
	}
	queue := oneQueue
	queue.limit = p.slots
	return []way{roundRobin, leastConnections, queue}
}

// class is what the picture calls it.
func (w way) class() string { return strings.ReplaceAll(w.name, " ", "-") }

// An outcome is what became of a scenario in one way.
type outcome struct {
	way       way
	latencies []time.Duration // in order of length; of every request
	took      time.Duration   // until the last answer
	workers   []workerTotals  // of Worker-1, Worker-2, ...
	late      int64           // how many requests did not begin as planned, if that matters
}

// measureAll measures all ways at the same time. The first failure ends them
// all.
func measureAll(ctx context.Context, bin string, p plan, types []protocol.Type) ([]outcome, error) {
	ways := p.ways()
	outcomes := make([]outcome, len(ways))
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var runs sync.WaitGroup
	for i, w := range ways {
		runs.Go(func() {
			l := lab{plan: p, set: programs.Set{Dir: bin}}
			o, err := l.run(all, w, types)
			if err != nil {
				cancel(err) // only the first one counts
			}
			outcomes[i] = o
		})
	}
	runs.Wait()
	if ctx.Err() != nil {
		return nil, programs.ErrInterrupted
	}
	return outcomes, context.Cause(all)
}

// A lab is three workers and a broker.
type lab struct {
	plan plan
	set  programs.Set // the workers, and then the broker
	// printed, if not nil, is called with each line of the broker.
	printed func(line string)
}

// run starts the programs, sends the requests, stops the programs, and returns
// the outcome. When it returns, nothing that it started is running.
func (l *lab) run(ctx context.Context, w way, types []protocol.Type) (outcome, error) {
	o, err := l.perform(ctx, w, types)
	err = cmp.Or(err, l.set.Stop())
	if err != nil {
		return outcome{}, err
	}
	var lines [workers + 1][]string
	for i, p := range l.set.Started() {
		lines[i] = p.Stdout.Lines()
	}
	o.workers, err = account(l.plan, lines[workers], [workers][]string(lines[:workers]))
	return o, err
}

func (l *lab) perform(ctx context.Context, w way, types []protocol.Type) (outcome, error) {
	broker, err := l.start(ctx, w)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{way: w}
	var mu sync.Mutex // guards o.latencies
	report := load.Run(ctx, load.Config{
		Plan: load.Plan{N: l.plan.n, Rate: l.plan.rate, Types: types, Approaches: []protocol.Approach{w.approach}},
		C:    l.plan.n, Do: requester(broker.Addr()),
		Ended: func(d load.Done) {
			mu.Lock()
			defer mu.Unlock()
			o.latencies = append(o.latencies, d.Latency())
		},
	})
	if !report.Complete() {
		return o, fmt.Errorf("%d of %d requests were answered under %s: %s",
			report.Requests.OK, l.plan.n, w.name, causes(report.Errors))
	}
	slices.Sort(o.latencies)
	o.took = time.Duration(report.Duration)
	if !report.Rate.Kept {
		o.late = report.Rate.Late
	}
	return o, nil
}

// start starts the workers and the broker, and returns the broker.
func (l *lab) start(ctx context.Context, w way) (*programs.Program, error) {
	const drain = "-drain-timeout=1s" // nothing is in flight, unless all is to end
	var addrs []string
	for i := range workers {
		id := strconv.Itoa(i + 1)
		cmd := l.set.Command("worker", "-listen", "127.0.0.1:0", "-slots", strconv.Itoa(l.plan.slots),
			"-long", l.plan.work(i, protocol.Long).String(), "-short", l.plan.work(i, protocol.Short).String(), drain, id)
		worker, err := l.set.Serve(ctx, "worker-"+id, cmd)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, worker.Addr())
	}
	cmd := l.set.Command("broker", "-listen", "127.0.0.1:0", "-workers", strings.Join(addrs, ","),
		"-max-per-worker", strconv.Itoa(w.limit), "-queue-timeout", "1h", "-answer-timeout", "1h", "-log", "json", drain)
	return l.set.Serve(ctx, "broker", programs.Joined(cmd, l.printed))
}

func causes(all []load.Cause) string {
	var texts []string
	for _, c := range all {
		texts = append(texts, fmt.Sprintf("%d times %s", c.Count, c.Cause))
	}
	return strings.Join(texts, "; ")
}

// requester returns what carries out one request, for a load run.
func requester(addr string) func(context.Context, protocol.Request) error {
	dial := func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, addr, 0) }
	return func(ctx context.Context, r protocol.Request) error {
		_, err := protocol.Ask(ctx, dial, r)
		return err
	}
}
