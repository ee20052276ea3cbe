package simulate

import (
	"context"
	"encoding/json"
	"time"

	"balancelab/internal/events"
)

// A viewerPlan is when somebody watches the events of the broker's page, and how: a
// viewer may read at once, or seldom, or not before it leaves.
type viewerPlan struct {
	window
	pause time.Duration // before each reading
}

// view watches the broker as planned, but not longer than until ctx is done, which
// is the broker's end.
func (b *brokerLife) view(ctx context.Context, plan viewerPlan) {
	sleep(ctx, plan.from-b.net.now())
	if ctx.Err() != nil || b.net.now() >= plan.to {
		return
	}
	viewer, err := b.feed.Watch()
	if err != nil {
		b.fault("a viewer: %v", err)
		return
	}
	defer viewer.Close()
	here, cancel := context.WithTimeout(ctx, plan.to-b.net.now())
	defer cancel()
	seen := dots{brokerLife: b, latest: map[uint64]events.Event{}}
	for here.Err() == nil {
		sleep(here, plan.pause)
		all, more := viewer.Read()
		seen.look(all)
		if more != nil {
			select {
			case <-more:
			case <-here.Done():
			}
		}
	}
	if ctx.Err() != nil && !b.isGone() {
		all, _ := viewer.Read()
		seen.look(all)
		seen.allEnded()
	}
}

// sleep waits for d, or until ctx is done. It starts no timer that is over at
// once: with the race detector, fake ones crash (go.dev/issue/78156).
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// dots are the requests that a viewer has seen, each with its latest event.
type dots struct {
	*brokerLife
	latest map[uint64]events.Event
	at     float64 // of the latest event
}

// look checks that each request's events are in order.
func (d *dots) look(all [][]byte) {
	for _, text := range all {
		var e events.Event
		if err := json.Unmarshal(text, &e); err != nil {
			d.fault("a viewer reads %s: %v", text, err)
		}
		if e.Kind == events.Lost {
			clear(d.latest) // what is missing may be their ends
			continue
		}
		if e.At < d.at {
			d.fault("a viewer reads %s after what happened at %v", text, d.at)
		}
		d.at = e.At
		if e.ID == 0 {
			continue
		}
		if before, known := d.latest[e.ID]; known && !follows(before, e) {
			d.fault("a viewer reads %s after %+v", text, before)
		}
		d.latest[e.ID] = e
	}
}

// follows reports whether e may be the next event of a request.
func follows(before, e events.Event) bool {
	switch e.Kind {
	case events.Queued:
		return !ended(before) && before.Kind != events.Queued
	case events.Assigned:
		return !ended(before) && e.Attempt == before.Attempt+1 || before.Kind == events.Queued
	case events.Sent, events.Answered:
		return !ended(before) && e.Attempt == before.Attempt && e.Worker == before.Worker
	}
	return !ended(before)
}

func ended(e events.Event) bool {
	return e.Kind == events.Answered || e.Kind == events.Failed || e.Kind == events.Left || e.Kind == events.Refused
}

// allEnded checks that no request is shown as under way when the broker has stopped.
func (d *dots) allEnded() {
	for _, e := range d.latest {
		if !ended(e) {
			d.fault("a viewer has never read how a request ended: %+v", e)
		}
	}
}
