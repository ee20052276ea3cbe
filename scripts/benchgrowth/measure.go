package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/control"
	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

// Figures are what was measured of a case. What was not measured is NaN.
type figures struct {
	rate   float64 // requests a second
	p99    float64 // seconds, without the time of the job
	cpu    float64 // CPU seconds of the broker for a request
	memory float64 // bytes: the most that was resident in the broker
}

func medians(rounds []figures) figures {
	of := func(get func(figures) float64) float64 {
		var values []float64
		for _, f := range rounds {
			values = append(values, get(f))
		}
		return bench.Median(values)
	}
	return figures{
		rate: of(func(f figures) float64 { return f.rate }), p99: of(func(f figures) float64 { return f.p99 }),
		cpu: of(func(f figures) float64 { return f.cpu }), memory: of(func(f figures) float64 { return f.memory }),
	}
}

// A lab has the programs and the ports.
type lab struct {
	bench.Lab
	front, page int    // of the broker
	behind      [3]int // of the workers' processes
	nobody      int    // nothing listens there
}

// newLab builds the programs. The caller closes the lab.
func newLab(ctx context.Context) (*lab, error) {
	p, err := bench.FreePorts(6)
	if err != nil {
		return nil, err
	}
	l := &lab{front: p[0], page: p[1], behind: [3]int(p[2:5]), nobody: p[5]}
	return l, l.Open(ctx, "benchgrowth")
}

// measure measures one case. When it returns, nothing that it started is running.
func (l *lab) measure(ctx context.Context, s setting, e effort) (f figures, err error) {
	defer func() { err = errors.Join(err, l.Stop()) }()
	broker, err := l.start(ctx, s, e.listSize)
	if err != nil {
		return f, err
	}
	watched, err := watch(ctx, bench.Address(l.page), s.viewers)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, watched.end()) }()
	if _, err := l.load(ctx, s, closedLoop(e.warmUp, s.warmUpLoop(), protocol.Short)); err != nil {
		return f, fmt.Errorf("warm up: %w", err)
	}
	before, err := broker.CPU()
	if err != nil {
		return f, err
	}
	r, err := l.load(ctx, s, s.requests(e.d))
	if err != nil {
		return f, err
	}
	after, err := broker.CPU()
	if err != nil {
		return f, err
	}
	peak, err := broker.PeakResident()
	sent := float64(r.Requests.Sent)
	f = figures{rate: s.rate(r), p99: math.NaN(), cpu: (after - before).Seconds() / sent, memory: float64(peak)}
	if r.Latency != nil {
		f.p99 = r.Latency.P99 - s.work().Seconds()
	}
	return f, err
}

// load runs the client. A request that fails is an error, unless all must. On a
// busy machine a short time may be over before the first request: then it runs
// again.
func (l *lab) load(ctx context.Context, s setting, args []string) (r bench.Report, err error) {
	args = append(args, protocol.LeastConnections.String())
	for range 10 {
		r, err = l.Load(ctx, bench.Address(l.front), args...)
		switch {
		case err != nil:
			return r, err
		case r.Requests.Sent == 0:
			continue
		case s.allDown():
			return r, nil
		}
		return r, r.Failed()
	}
	return r, errors.New("the client had no time to send anything")
}

func closedLoop(d time.Duration, atOnce int, t protocol.Type) []string {
	return []string{"-d", d.String(), "-c", strconv.Itoa(atOnce), t.String()}
}

// warmUpLoop returns how many requests at once warm the broker up. If all
// workers are down a request may take long, and after three they cool down.
func (s setting) warmUpLoop() int {
	if s.allDown() {
		return 1
	}
	return loop
}

// requests returns the client's arguments for the requests that are measured.
// They are Longs, so that the Shorts of the warm-up never take time. They are
// sent for d, and before that until as many are in flight as there should be.
func (s setting) requests(d time.Duration) []string {
	if s.atOnce == 0 {
		return closedLoop(d, loop, protocol.Long)
	}
	return []string{
		"-d", (s.work() + d).String(), "-rate", strconv.Itoa(calls),
		"-c", strconv.Itoa(s.atOnce + s.atOnce/20 + loop), protocol.Long.String(),
	}
}

// rate returns the requests a second of a load run. Refusals count too. If they
// come evenly, their jobs go on after the last one has come, so that it is
// when they came that counts.
func (s setting) rate(r bench.Report) float64 {
	if s.atOnce > 0 {
		return r.Rate.Achieved
	}
	return float64(r.Requests.Sent) / r.Seconds
}

func (s setting) allDown() bool { return s.down == len(lab{}.behind) }

// start starts the workers, and the broker with all of them, of which listSize
// bytes are in its command line.
func (l *lab) start(ctx context.Context, s setting, listSize int) (*programs.Program, error) {
	for i, port := range l.behind {
		id := strconv.Itoa(i + 1)
		_, err := l.StartReady(ctx, "Worker-"+id,
			l.Command("worker", "-listen", fmt.Sprintf("0.0.0.0:%d", port), "-short", "0s", "-long", s.work().String(),
				"-drain-timeout", "0s", "-log", "off", id),
			bench.Answers(bench.Address(port)))
		if err != nil {
			return nil, err
		}
	}
	list, rest := split(l.workers(s), listSize)
	args := []string{"-listen", bench.Address(l.front), "-workers", list, "-drain-timeout", "0s", "-log", cmp.Or(s.log, "off")}
	if s.page {
		args = append(args, "-status", bench.Address(l.page), "-control")
	}
	log, err := os.Create(filepath.Join(l.Dir, "broker.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the broker has it, too
	cmd := l.Command("broker", args...)
	cmd.Stdout = log
	ready := bench.Answers
	if s.allDown() {
		ready = bench.Replies
	}
	broker, err := l.StartReady(ctx, "broker", cmd, ready(bench.Address(l.front)))
	if err != nil {
		return nil, err
	}
	orders := control.Client{Addr: bench.Address(l.page)}
	for _, addr := range rest {
		if _, err := orders.Add(ctx, control.New{Addr: addr}); err != nil {
			return nil, fmt.Errorf("add worker %s: %w", addr, err)
		}
	}
	return broker, nil
}

// workers returns the workers' addresses. Of each three in a row as many as the
// setting says are down, and each of the processes has as many as the others.
func (l *lab) workers(s setting) (addrs []string) {
	const inRow = 250 // addresses that differ in their last byte only
	for i := range cmp.Or(s.workers, len(l.behind)) {
		port := l.behind[(i+i/3)%3]
		if i%3 >= 3-s.down {
			port = l.nobody
		}
		addrs = append(addrs, fmt.Sprintf("127.0.%d.%d:%d", i/inRow, 1+i%inRow, port))
	}
	return addrs
}

// split joins as many of addrs as fit into size bytes, at least the first, and
// returns the others.
func split(addrs []string, size int) (list string, rest []string) {
	for i, addr := range addrs {
		size -= len(addr) + len(",")
		if size < 0 && i > 0 {
			return strings.Join(addrs[:i], ","), addrs[i:]
		}
	}
	return strings.Join(addrs, ","), nil
}
