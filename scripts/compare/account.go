package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"balancelab/internal/protocol"
)

// workerTotals is what one worker did in a run.
type workerTotals struct {
	name          string
	longs, shorts int
	busy          time.Duration // all slots together
	peak          int           // the most that were in flight at once, as the broker counts
}

func (f workerTotals) requests() int { return f.longs + f.shorts }

// An event is what matters here of a line of the broker's JSON.
type event struct {
	Msg        string
	Time       time.Time
	Worker     string
	Most       int
	Connecting float64 `json:"connecting_seconds"`
	Serving    float64 `json:"serving_seconds"`
}

// events returns the events among the broker's lines.
func events(lines []string) (all []event) {
	for _, line := range lines {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// ended returns how many exchanges have ended, as the broker's lines tell.
func ended(lines []string) (n int) {
	for _, e := range events(lines) {
		switch e.Msg {
		case "answered", "failed", "refused":
			n++
		}
	}
	return n
}

// account returns what each worker did, or how the broker's account of a run
// differs from the workers'. It takes the lines of each.
func account(p plan, broker []string, workerLines [workers][]string) ([]workerTotals, error) {
	told := events(broker)
	var all []workerTotals
	for i, lines := range workerLines {
		f := workerTotals{name: fmt.Sprintf("Worker-%d", i+1), longs: begun(lines, "long"), shorts: begun(lines, "short")}
		f.busy = time.Duration(f.longs)*p.work(i, protocol.Long) + time.Duration(f.shorts)*p.work(i, protocol.Short)
		exchanges := of(told, "answered", f.name)
		f.peak = peakAtOnce(exchanges)
		for _, s := range of(told, "summary", f.name) {
			f.peak = s.Most
		}
		if len(exchanges) != f.requests() {
			return nil, fmt.Errorf("the broker has %d answers from %s, which says that it did %d jobs", len(exchanges), f.name, f.requests())
		}
		all = append(all, f)
	}
	return all, nil
}

// begun returns how many jobs of a type a worker's lines say it has begun.
func begun(lines []string, appType string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, "[Worker] Processing "+appType+" ") {
			n++
		}
	}
	return n
}

// of returns the events of one kind about a worker.
func of(events []event, msg, worker string) (own []event) {
	for _, e := range events {
		if e.Msg == msg && e.Worker == worker {
			own = append(own, e)
		}
	}
	return own
}

// peakAtOnce returns how many exchanges were under way at once, at most.
func peakAtOnce(exchanges []event) (peak int) {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, v := range exchanges {
		took := time.Duration((v.Connecting + v.Serving) * float64(time.Second))
		steps = append(steps, step{v.Time.Add(-took), 1}, step{v.Time, -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	now := 0
	for _, s := range steps {
		now += s.by
		peak = max(peak, now)
	}
	return peak
}
