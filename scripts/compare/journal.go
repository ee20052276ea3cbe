package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"balancelab/internal/programs"
	"balancelab/internal/protocol"
)

// figures are what one worker did in a run.
type figures struct {
	name          string
	longs, shorts int
	busy          time.Duration // all slots together
	most          int           // the most that were in flight at once, as the broker counts
}

func (f figures) requests() int { return f.longs + f.shorts }

// A journal gathers what the programs of a lab print.
type journal struct {
	mu        sync.Mutex // guards all below
	want      int        // how many visits are still to end
	visits    []event    // that were answered
	summaries []event
	done      [workers]map[protocol.Type]int // jobs that a worker says it has begun

	complete chan struct{} // closed by broker when all visits have ended
}

// newJournal returns a journal of so many requests.
func newJournal(requests int) *journal {
	j := &journal{want: requests, complete: make(chan struct{})}
	for i := range j.done {
		j.done[i] = map[protocol.Type]int{}
	}
	return j
}

// An event is what matters here of a line of the broker's JSON.
type event struct {
	Msg        string
	Time       time.Time
	Worker     string
	Most       int
	Connecting float64 `json:"connecting_seconds"`
	Serving    float64 `json:"serving_seconds"`
}

// broker takes a line of the broker's. What is no event is not for us.
func (j *journal) broker(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e.Msg {
	case "answered":
		j.visits = append(j.visits, e)
	case "failed", "refused":
	case "summary":
		j.summaries = append(j.summaries, e)
		return
	default:
		return
	}
	if j.want--; j.want == 0 {
		close(j.complete)
	}
}

// worker takes a line of worker i's.
func (j *journal) worker(i int, line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case strings.HasPrefix(line, "[Worker] Processing long "):
		j.done[i][protocol.Long]++
	case strings.HasPrefix(line, "[Worker] Processing short "):
		j.done[i][protocol.Short]++
	}
}

var errBrokerGone = errors.New("the broker ended before it had told what became of all requests")

// await returns when the broker has told how all visits ended: a program that
// is killed tells nothing more.
func (j *journal) await(ctx context.Context, gone <-chan struct{}) error {
	late, cancel := context.WithTimeout(ctx, programs.Patience)
	defer cancel()
	select {
	case <-j.complete:
		return nil
	case <-gone:
		return errBrokerGone
	case <-late.Done():
		return fmt.Errorf("the broker did not say within %v what became of all requests", programs.Patience)
	}
}

// figures returns what each worker did, or how the accounts of the broker and
// the workers differ. It is for when the programs have stopped.
func (j *journal) figures(p plan) ([]figures, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []figures
	for i := range workers {
		name := fmt.Sprintf("Worker-%d", i+1)
		visits := of(j.visits, name)
		f := figures{name: name, longs: j.done[i][protocol.Long], shorts: j.done[i][protocol.Short], most: mostAtOnce(visits)}
		for t, n := range j.done[i] {
			f.busy += time.Duration(n) * p.work(i, t)
		}
		for _, s := range of(j.summaries, name) {
			f.most = s.Most
		}
		if len(visits) != f.requests() {
			return nil, fmt.Errorf("the broker has %d answers from %s, which says that it did %d jobs", len(visits), name, f.requests())
		}
		all = append(all, f)
	}
	return all, nil
}

// of returns a worker's events.
func of(events []event, worker string) (own []event) {
	for _, e := range events {
		if e.Worker == worker {
			own = append(own, e)
		}
	}
	return own
}

// mostAtOnce returns how many visits were under way at once, at most.
func mostAtOnce(visits []event) (most int) {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, v := range visits {
		took := time.Duration((v.Connecting + v.Serving) * float64(time.Second))
		steps = append(steps, step{v.Time.Add(-took), 1}, step{v.Time, -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	now := 0
	for _, s := range steps {
		now += s.by
		most = max(most, now)
	}
	return most
}
