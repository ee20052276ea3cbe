// Package figures counts what the broker does, for the status page.
//
// A [Recorder] is a [broker.Journal] that stands in front of another one, the
// terminal's. It adds what the pool does not know: how long requests took, how
// they ended, the latest of them, and the worker's latest error. Everything
// else, who is up and who has how many in flight, [Recorder.Snapshot] takes
// from the pool in one step, so what is shown is what the selectors use.
//
// What it costs a request: one small lock, twice, never held over input or
// output, and no allocation. What it keeps is bounded, however long the broker
// runs: a minute of one-second slots with logarithmic buckets, and a ring of
// the latest requests.
//
// A time is taken from the moment the request was whole until its worker's
// answer was read: all connecting and all serving, without the client's own
// slowness in asking. Only answered requests have one in the percentiles and
// the histograms: a broker that fails fast must not look fast.
package figures

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/protocol"
	"balancelab/internal/status"
)

const (
	kept       = 30  // latest requests
	detailSize = 200 // the most bytes of a text that are kept
	samples    = 60  // requests in flight, a second apart
)

// The approaches, in the order of the arrays below.
var approaches = protocol.Approaches()

const nApproaches = 2

// place returns an approach's place in the arrays; a request that was answered
// has one of the two.
func place(a protocol.Approach) int {
	if a == approaches[0] {
		return 0
	}
	return 1
}

// A Recorder is a [broker.Journal] that counts, and then tells the next one.
// All methods may be called at once.
type Recorder struct {
	pool    *balance.Pool
	next    broker.Journal
	started time.Time
	places  map[string]int // of the workers, by name

	mu        sync.Mutex // guards what follows; never held over input or output
	connected int
	done      int
	left      int
	refused   int
	failed    [nApproaches]int
	times     [nApproaches]histogram
	window    window
	latest    [kept]entry       // a ring: request n is at n % kept
	errors    []status.Failure  // for each worker; zero if it had none
	history   [][samples]uint32 // for each worker, a ring
	sampled   int               // how many samples were taken
}

// An entry is one request that is over.
type entry struct {
	at      time.Time
	request protocol.Request
	worker  string
	took    time.Duration
	outcome status.Outcome
	detail  string
}

// New returns a Recorder for a broker that uses pool, whose selectors are in
// the order of [protocol.Approaches]. It passes everything on to next.
func New(pool *balance.Pool, next broker.Journal) *Recorder {
	workers := pool.Snapshot()
	r := &Recorder{
		pool: pool, next: next, started: time.Now(),
		places:  make(map[string]int, len(workers)),
		errors:  make([]status.Failure, len(workers)),
		history: make([][samples]uint32, len(workers)),
	}
	for i, w := range workers {
		r.places[w.Name] = i
	}
	return r
}

// Connected is for [broker.Journal].
func (r *Recorder) Connected(client net.Addr) {
	r.mu.Lock()
	r.connected++
	r.mu.Unlock()
	r.next.Connected(client)
}

// Unreachable is for [broker.Journal].
func (r *Recorder) Unreachable(worker string, err error) {
	r.blame(worker, broker.Reason(err).Error())
	r.next.Unreachable(worker, err)
}

// HandedOn is for [broker.Journal].
func (r *Recorder) HandedOn(worker string, err error) {
	r.blame(worker, broker.Reason(err).Error())
	r.next.HandedOn(worker, err)
}

// Done is for [broker.Journal].
func (r *Recorder) Done(v *broker.Visit) {
	e := entry{
		at: time.Now(), request: v.Request, worker: v.Worker,
		took: v.Connecting + v.Serving, outcome: status.Answered, detail: cut(v.Answer),
	}
	if v.Err != nil {
		text := v.Err.Error()
		e.outcome, e.detail = status.Failed, cut(text)
		if v.Attempts == 0 {
			e.outcome, e.took = status.Refused, v.Reading
		}
		// An error that begins with a worker's name is that worker's; what comes
		// after the reason is advice to the client.
		if why, its := strings.CutPrefix(text, v.Worker+": "); its {
			why, _, _ = strings.Cut(why, "; the job may have run")
			r.blame(v.Worker, why)
		}
	}
	r.add(&e)
	r.next.Done(v)
}

// Left is for [broker.Journal].
func (r *Recorder) Left(v *broker.Visit, err error) {
	r.mu.Lock()
	r.left++
	r.mu.Unlock()
	r.next.Left(v, err)
}

func (r *Recorder) blame(worker, why string) {
	i, known := r.places[worker]
	if !known {
		return
	}
	f := status.Failure{Time: time.Now(), Text: cut(why)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[i] = f
}

func (r *Recorder) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.latest[r.done%kept] = *e
	r.window.advance(e.at.Sub(r.started))
	switch e.outcome {
	case status.Answered:
		r.times[place(e.request.Approach)].add(e.took)
		r.window.answered(e.took)
	case status.Failed:
		r.failed[place(e.request.Approach)]++
		r.window.failed()
	case status.Refused:
		r.refused++
		r.window.failed()
	}
}

// Watch looks once a second how many requests each worker has in flight, until
// ctx is done.
func (r *Recorder) Watch(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.sample(r.pool.Snapshot())
		case <-ctx.Done():
			return
		}
	}
}

func (r *Recorder) sample(workers []balance.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range workers {
		r.history[i][r.sampled%samples] = uint32(w.InFlight)
	}
	r.sampled++
}

// cut returns the beginning of text, so that a ring of texts stays small.
func cut(text string) string {
	if len(text) <= detailSize {
		return text
	}
	return strings.ToValidUTF8(text[:detailSize], "") + "…"
}
