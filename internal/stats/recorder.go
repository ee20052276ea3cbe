// Package stats counts what the broker does. It owns the [Snapshot], which has
// everything that there is to know at one moment; package status shows it.
//
// A [Recorder] is a [broker.Observer] that passes everything on to another one,
// such as the terminal's. It counts what the pool does not know: how long
// requests took, how they ended, the latest of them, and each worker's latest
// error. [Recorder.Snapshot] takes the rest, such as which workers are up and
// how many requests they have in flight, from the pool in one step. So what is
// shown is what the selectors use.
//
// # Durations
//
// A request's duration is the time from the moment when the request was whole
// until its worker's answer was read. That is all waiting in the broker's queue,
// all connecting and all serving; a client that is slow to send its request does
// not count. Only answered requests have a duration in the percentiles and in the
// histograms: a broker that fails fast must not look fast.
//
// # Cost
//
// For each request, one lock is taken a few times. It is never held over input or
// output, and nothing is allocated but for the first request of its kind in one
// of 60 slots. Memory is bounded, however long the broker runs: for each approach
// and type the buckets since the start and a histogram for each of the last 60
// seconds, and a ring of the latest requests.
package stats

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

const (
	latestSize = 30  // how many of the latest requests are kept
	detailSize = 200 // how many bytes of a text are kept
	samples    = 60  // how many samples of requests in flight are kept, a second apart
)

// A Recorder is a [broker.Observer] that counts, and then tells the next one.
// All methods may be called at the same time.
type Recorder struct {
	pool    *balance.Pool
	next    broker.Observer
	started time.Time

	mu sync.Mutex // guards what follows; never held over input or output
	counters
	lastMinute window
	workers    map[string]*record // by name
	queue      ring               // how many requests wait
}

// counters count since the start.
type counters struct {
	connected    int // clients
	done         int // requests that are over
	gone         int // clients that left before their answer
	noRequest    int // clients that left without a byte
	refused      int
	redispatched int                                    // attempts, after their jobs were sent
	attempts     [numCauses]int                         // that failed
	failed       [protocol.NumApproaches][numCauses]int // requests
	left         [protocol.NumApproaches]int            // requests withdrawn, since their clients left
	durations    [protocol.NumApproaches][protocol.NumTypes]durations
	queued       durations         // of the requests that waited for a worker
	latest       [latestSize]entry // a ring: request n is at n % latestSize
}

// An entry is one request that is over.
type entry struct {
	at      time.Time
	request protocol.Request
	worker  string
	took    time.Duration
	queued  time.Duration // the part of took that it waited for a worker
	served  time.Duration // the part of took that worker had the job
	tries   int           // how many workers it was assigned to
	outcome Outcome
	cause   Cause // if it failed
	detail  string
}

// New returns a Recorder for a broker that uses pool. It passes everything on
// to next.
func New(pool *balance.Pool, next broker.Observer) *Recorder {
	return &Recorder{pool: pool, next: next, started: time.Now(), workers: make(map[string]*record)}
}

// Connected implements [broker.Observer].
func (r *Recorder) Connected(client net.Addr) {
	r.mu.Lock()
	r.connected++
	r.mu.Unlock()
	r.next.Connected(client)
}

// Unreachable implements [broker.Observer].
func (r *Recorder) Unreachable(worker string, err error) {
	r.attemptFailed(worker, attemptCause(broker.NotSent, err), err)
	r.next.Unreachable(worker, err)
}

// Redispatched implements [broker.Observer].
func (r *Recorder) Redispatched(worker string, err error) {
	r.attemptFailed(worker, attemptCause(broker.MayHaveRun, err), err)
	r.mu.Lock()
	r.redispatched++
	r.mu.Unlock()
	r.next.Redispatched(worker, err)
}

// Done implements [broker.Observer]. A client that left without a byte, as a
// probe of the port does, was no request: it is counted, and that is all.
func (r *Recorder) Done(x *broker.Exchange) {
	if x.Failure != nil && x.Failure.Reason == broker.NoRequest {
		r.mu.Lock()
		r.noRequest++
		r.mu.Unlock()
		r.next.Done(x)
		return
	}
	e := entry{
		at: time.Now(), request: x.Request, worker: x.Worker,
		took: x.Queued + x.Connecting + x.Serving, queued: x.Queued, served: x.LastServing(),
		tries: x.Attempts, outcome: Answered, detail: truncate(x.Answer),
	}
	if x.Failure != nil {
		r.failedEntry(&e, x)
	}
	r.add(&e)
	r.next.Done(x)
}

// failedEntry fills in what is different in an entry without an answer, and
// counts the attempt that was the reason for it, which the recorder was not told
// of before.
func (r *Recorder) failedEntry(e *entry, x *broker.Exchange) {
	f := x.Failure
	e.detail = truncate(f.Error())
	switch {
	case f.Reason == broker.ClientLeft:
		e.outcome = Left
		return
	case f.Unread():
		e.outcome, e.took = Refused, x.Reading
		return
	}
	e.outcome, e.cause = Failed, requestCause(f)
	switch f.Reason {
	case broker.WorkerFailed, broker.Refused, broker.CutOff:
		for _, a := range f.Attempts { // one, or none if it was cut off in the queue
			r.attemptFailed(x.Worker, e.cause, a.Err)
		}
	}
}

// Step implements [broker.Observer].
func (r *Recorder) Step(x *broker.Exchange, s broker.Step) {
	switch s {
	case broker.Assigned:
		r.inFlight(x, 1)
	case broker.Released:
		r.inFlight(x, -1)
	}
	r.next.Step(x, s)
}

func (r *Recorder) inFlight(x *broker.Exchange, more int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record(x.Worker).of[x.Request.Type] += more
}

// ClientGone implements [broker.Observer].
func (r *Recorder) ClientGone(x *broker.Exchange, err error) {
	r.mu.Lock()
	r.gone++
	r.mu.Unlock()
	r.next.ClientGone(x, err)
}

// attemptFailed counts an attempt that failed, and remembers why. A stop of the
// broker is no error of the worker.
func (r *Recorder) attemptFailed(worker string, c Cause, err error) {
	f := Failure{Time: time.Now(), Text: truncate(neterr.Reason(err).Error())}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts[c]++
	if c != CausedByStop {
		r.record(worker).err = f
	}
}

func (r *Recorder) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.latest[r.done%latestSize] = *e
	r.lastMinute.advance(e.at.Sub(r.started))
	if e.queued > 0 {
		r.queued.add(e.queued)
	}
	switch e.outcome {
	case Answered:
		r.durations[e.request.Approach][e.request.Type].add(e.took)
		r.lastMinute.addAnswered(e.request, e.took)
		r.record(e.worker).answer(e)
	case Failed:
		r.failed[e.request.Approach][e.cause]++
		r.lastMinute.addFailed()
	case Left:
		r.left[e.request.Approach]++
	case Refused:
		r.refused++
		r.lastMinute.addFailed()
	}
}

// Watch takes a sample of the requests in flight at each worker, and of those
// that wait, once a second. It returns when ctx is done.
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

func (r *Recorder) sample(pool balance.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range pool.Workers {
		r.record(w.Name).inFlight.add(w.InFlight)
	}
	r.queue.add(pool.Queue.Waiting)
	r.forget(pool.Workers, time.Now())
}

// truncate returns the first bytes of text, so that texts which are kept are
// short.
func truncate(text string) string {
	if len(text) <= detailSize {
		return text
	}
	return strings.ToValidUTF8(text[:detailSize], "") + "…"
}
