package main

import (
	"encoding/json"
	"fmt"
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
	Msg    string
	Worker string
	Most   int
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

// account returns what each worker did, or how the broker's account of a run
// differs from the workers'. It takes the lines of each.
func account(p plan, broker []string, workerLines [workers][]string) ([]workerTotals, error) {
	told := events(broker)
	var all []workerTotals
	for i, lines := range workerLines {
		f := workerTotals{name: fmt.Sprintf("Worker-%d", i+1), longs: begun(lines, "long"), shorts: begun(lines, "short")}
		f.busy = time.Duration(f.longs)*p.work(i, protocol.Long) + time.Duration(f.shorts)*p.work(i, protocol.Short)
		exchanges := of(told, "answered", f.name)
		summary := of(told, "summary", f.name)
		if len(summary) != 1 {
			return nil, fmt.Errorf("the broker has %d summaries of %s, want 1", len(summary), f.name)
		}
		f.peak = summary[0].Most
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
