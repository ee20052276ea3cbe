// Package load sends many requests and reports what became of them: a load run
// and its [Report].
//
// # Open loop
//
// With a rate, request i has a planned start: i/rate after the start of the run,
// however long the requests before it take. This is called an open loop. A
// generator that waits for each answer before it sends the next request (a
// closed loop) slows down together with what it measures. It then leaves out the
// very requests that would have been slow, which is called coordinated omission.
//
// At most C requests are in flight. If C are in flight at a planned start, that
// request starts late. Its latency is still measured from its planned start,
// because a user who came at that moment would have waited that long.
//
//	planned   0    1    2    3         rate 1/s, C = 1, the first answer takes 3 s
//	request 0 |=============>|         latency 3 s
//	request 1      |         |==>|     latency 2 s and its own time
//	request 2           |        |==>| latency 1 s, the time of request 1, and its own
//
// Timers are not exact: a sender may start a request a millisecond late, and
// that is part of the latency too. The report says how late the latest start
// was, and whether the rate was kept; see [Rate].Kept. If it was not, the report
// says what to change: the limit C if that was reached, and otherwise nothing,
// because then the machine that sends was too busy to start requests in time.
//
// Without a rate there are no planned starts. C requests are kept in flight, and
// latency is measured from the actual start. Such a report says how much the
// other side can do at most; it does not say what a user would have seen.
//
// # Outcomes
//
// A request is answered (ok), failed, or interrupted: in flight when the run
// was stopped. An answer that is a refusal ("Error: ...") is a failure, and the
// reason in it is the cause. A failure that has come before the stop stays a
// failure. Only answered requests have a latency in the report: errors that come
// fast must not make a service look fast.
//
// A run is often stopped because answers do not come. So the report says how
// many requests were waiting at the stop, and for how long: those that were
// interrupted, and those that had not begun although their planned start was
// past. See [Waiting].
//
// # Memory
//
// Memory does not grow with the number of requests. Latencies are counted in a
// histogram, whose percentiles are off by less than 1 % and whose minimum,
// maximum and mean are exact. Causes are counted in a table of limited length.
//
// The package opens no connections: [Config].Do does.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"balancelab/internal/protocol"
)

// A Config says what a load run does.
type Config struct {
	// N is the number of requests, exactly; 0 means none.
	N int
	// C is the number of requests in flight at once, at most; 0 means 1.
	C int
	// DefaultC says that C is a program's default and not its user's choice. The
	// report names it so.
	DefaultC bool
	// Rate is the number of requests started in a second, by all senders
	// together; 0 means as fast as C allows.
	Rate float64
	// Types are the types of the requests, in turn: request i has the type
	// i modulo their number. At least one is required.
	Types []protocol.Type
	// Approach is the approach of all requests.
	Approach protocol.Approach
	// Timeout limits one request, from its actual start; 0 means no limit.
	Timeout time.Duration
	// Do carries out one request, and returns nil when it was answered. The
	// error of a refused one wraps a [protocol.RefusalError].
	// It must return soon after ctx is done. If that is what ended the request,
	// the error wraps that of ctx. Up to C goroutines call it at the same time.
	// Required.
	Do func(ctx context.Context, r protocol.Request) error
	// Answered, if not nil, is called with the latency of each answered request,
	// as the report counts it. Up to C goroutines call it at the same time.
	Answered func(t protocol.Type, latency time.Duration)
	// Progress, if not nil, is called in intervals and once more at the end of
	// the run, by one goroutine at a time. No request waits for it, but the end of
	// the run does: it must not block.
	Progress func(Progress)
	// Every is the interval of Progress; 0 means a second.
	Every time.Duration
}

// Run carries out a load run and returns its report. It ends when all requests
// have been carried out, or soon after ctx is done: then no more are started,
// and those in flight are interrupted. When it returns, nothing that it started
// is running.
func Run(ctx context.Context, config Config) Report { return newRun(config).carryOutAll(ctx) }

// newRun returns a run whose plan starts now.
func newRun(config Config) *run {
	config.C = max(1, min(config.C, config.N))
	return &run{
		Config:   config,
		plan:     plan{time.Now(), config.Rate},
		recorder: newRecorder(config.Types, config.C),
		causes:   newCauses(),
	}
}

// carryOutAll carries out the requests and returns the report; see [Run].
func (r *run) carryOutAll(ctx context.Context) Report {
	stopProgress := r.startProgress()
	var senders sync.WaitGroup
	for i := range r.C {
		senders.Go(func() { r.send(ctx, r.recorder.shard(i)) })
	}
	senders.Wait()
	took := time.Since(r.plan.start)
	stopProgress()
	return r.report(took)
}

// A run is a load run that has started.
type run struct {
	Config
	plan     plan
	next     atomic.Int64 // the number of the next request
	inFlight atomic.Int64
	full     atomic.Bool // C requests were in flight at once
	recorder *recorder
	causes   *causes
}

// send carries out one request after another, in the order of the plan, until
// there are no more or ctx is done. C senders do this at the same time.
func (r *run) send(ctx context.Context, s *shard) {
	p := newPacer()
	defer p.stop()
	for ctx.Err() == nil {
		i := r.next.Add(1) - 1
		if i >= int64(r.N) {
			return
		}
		planned, paced := r.plan.at(i)
		if paced && !p.wait(ctx, planned) {
			return
		}
		turn := int(i % int64(len(r.Types)))
		if r.inFlight.Add(1) == int64(r.C) {
			r.full.Store(true)
		}
		res := r.carryOut(ctx, r.Types[turn])
		r.inFlight.Add(-1)
		if paced {
			res.late = res.began.Sub(planned)
		}
		r.record(s, turn, res)
	}
}

// record puts one result into everything that reports it.
func (r *run) record(s *shard, turn int, res result) {
	s.add(r.recorder.rows[turn], res.began.Sub(r.plan.start), res)
	if r.Answered != nil && res.outcome == answered {
		r.Answered(r.Types[turn], res.latency())
	}
}

// carryOut carries out one request now.
func (r *run) carryOut(ctx context.Context, t protocol.Type) result {
	began := time.Now()
	err := r.ask(ctx, protocol.Request{Type: t, Approach: r.Approach})
	res := result{began: began, took: time.Since(began)}
	switch {
	case err == nil:
		res.outcome = answered
	case isStop(ctx, err):
		res.outcome = interrupted
	default:
		res.outcome = failed
		r.causes.add(err.Error())
	}
	return res
}

// isStop reports whether err says that the end of ctx ended a request. A
// failure that came first is none, even if it is looked at after the stop.
func isStop(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// ask calls Do, with the timeout if there is one.
func (r *run) ask(ctx context.Context, request protocol.Request) error {
	if r.Timeout <= 0 {
		return r.Do(ctx, request)
	}
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	err := r.Do(limited, request)
	if errors.Is(err, context.DeadlineExceeded) && !isStop(ctx, err) {
		return fmt.Errorf("no answer within %v", r.Timeout)
	}
	return err
}
