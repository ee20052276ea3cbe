// Package load sends many requests and reports what became of them: a load run
// and its [Report]. What is sent, and when, is a [Plan].
//
// # Open loop
//
// With a rate, each request has a planned start, such as i/rate after the start
// of the run for request i, however long the requests before it take. This is called an open loop. A
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
// maximum and mean are exact. Causes are counted in a table of limited length. A
// plan is not a list: each request is worked out when its turn comes.
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
	// Plan says which requests are sent, and when.
	Plan Plan
	// C is the number of requests in flight at once, at most; 0 means 1.
	C int
	// DefaultC says that C is a program's default and not its user's choice. The
	// report names it so.
	DefaultC bool
	// Timeout limits one request, from its actual start; 0 means no limit.
	Timeout time.Duration
	// Do carries out one request, and returns nil when it was answered. The
	// error of a refused one wraps a [protocol.RefusalError], and that of one
	// which failed for want of something on this machine a [LocalError].
	// It must return soon after ctx is done. If that is what ended the request,
	// the error wraps that of ctx. Up to C goroutines call it at the same time.
	// Required.
	Do func(ctx context.Context, r protocol.Request) error
	// Ended, if not nil, is called with each request that has ended, as the report
	// counts it. Up to C goroutines call it at the same time. Each of them sends
	// its next request afterwards, so it should not block.
	Ended func(Done)
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
	n, known := config.Plan.Count()
	config.C = max(1, config.C)
	if known {
		config.C = max(1, min(config.C, n))
	}
	config.Plan = config.Plan.normal()
	return &run{
		Config: config, n: n, known: known,
		start:    time.Now(),
		schedule: config.Plan.Schedule(),
		recorder: newRecorder(config.Plan, config.C),
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
	took := time.Since(r.start)
	stopProgress()
	return r.report(took)
}

// A run is a load run that has started.
type run struct {
	Config
	n        int  // how many requests there are
	known    bool // n is known before the end
	start    time.Time
	inFlight atomic.Int64
	full     atomic.Bool // C requests were in flight at once
	recorder *recorder
	causes   *causes

	mu       sync.Mutex // guards schedule
	schedule *Schedule
}

// send carries out one request after another, in the order of the plan, until
// there are no more, its time is over, or ctx is done. C senders do this at the
// same time.
func (r *run) send(ctx context.Context, s *shard) {
	p := newPacer()
	defer p.stop()
	for ctx.Err() == nil {
		planned, ok := r.next()
		if !ok || !p.wait(ctx, r.start.Add(planned.Start)) || r.tooLate(planned) {
			return
		}
		if r.inFlight.Add(1) == int64(r.C) {
			r.full.Store(true)
		}
		done := r.carryOut(ctx, planned)
		r.inFlight.Add(-1)
		s.add(r.recorder.cell(done.Request), done)
		r.recorder.parts.add(done)
		if r.Ended != nil {
			r.Ended(done)
		}
	}
}

// next returns the next request of the plan, or false if there are no more.
func (r *run) next() (Planned, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schedule.Next()
}

// over reports whether the time of the plan is over.
func (r *run) over() bool { return r.Plan.For > 0 && time.Since(r.start) >= time.Duration(r.Plan.For) }

// tooLate reports whether the time of the plan is over for a request. A timer
// that is a little late does not lose one that was planned in time.
func (r *run) tooLate(q Planned) bool {
	return r.over() && (!q.Paced || time.Since(r.start)-q.Start > lateBy)
}

// carryOut carries out one request now.
func (r *run) carryOut(ctx context.Context, planned Planned) Done {
	done := Done{Planned: planned, Began: time.Since(r.start)}
	err := r.ask(ctx, planned.Request)
	done.Ended = time.Since(r.start)
	switch {
	case err == nil:
		done.Outcome = Answered
	case isStop(ctx, err):
		done.Outcome = Interrupted
	default:
		done.Outcome = Failed
		done.Cause = r.causes.add(err.Error())
		done.Local = errors.As(err, new(*LocalError))
	}
	return done
}

// A LocalError is a failure for want of something on the machine that sends,
// such as a free port: it says nothing about the other side.
type LocalError struct{ Err error }

// Error returns the text of Err.
func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *LocalError) Unwrap() error { return e.Err }

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
