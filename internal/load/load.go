// Package load sends many requests and tells the truth about how they fared:
// a load run, and its report.
//
// # Open loop
//
// With a rate, request i has a planned start, i/rate after the beginning,
// whatever became of the requests before it. A generator that waits for each
// answer before it sends the next request slows down together with what it
// measures, and leaves out just the requests that would have suffered: that is
// called coordinated omission. Here the plan stands. At most C requests are in
// flight; when all of them are busy at a planned start, the request begins
// late, and its latency is still measured from its planned start: that is how
// long a user who came at that moment has waited. The report then says that
// the rate was not kept.
//
//	planned   0    1    2    3         rate 1/s, C = 1, the first answer takes 3 s
//	request 0 |=============>|         latency 3 s
//	request 1      |         |==>|     latency 2 s and its own time
//	request 2           |        |==>| latency 1 s, the time of request 1, and its own
//
// Timers are not exact: a sender may wake a millisecond after its plan, and
// this is in the latency too. The report says how late the latest start was.
//
// Without a rate there is no plan: C requests are kept in flight, and latency
// is measured from the actual start. Such figures say what the other side can
// do at most; they do not say what a user would have seen.
//
// # What counts
//
// A request is answered (ok), failed, or interrupted: in flight when the run
// was stopped. An answer that is a refusal ("Error: ...") is a failure, and
// its reason the cause. Only answered requests are in the latency figures: an
// error that comes fast must not make a service look fast.
//
// Memory does not grow with the number of requests: latencies are counted in
// the buckets of a histogram, whose percentiles are off by less than 1 %,
// while minimum, maximum and mean are exact; causes are counted in a table of
// bounded length.
//
// The package opens no connection: [Config].Do does.
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
	// N is how many requests there are in all, exactly; 0 means none.
	N int
	// C is how many are in flight at once, at most; 0 means 1.
	C int
	// Rate is how many are started a second, over all; 0 means as fast as C
	// allows.
	Rate float64
	// Types are the types of the requests, in turn, again and again; at least
	// one.
	Types []protocol.AppType
	// Approach is the approach of all requests.
	Approach protocol.Approach
	// Timeout is how long one request may take, from its actual start; 0 means
	// for ever.
	Timeout time.Duration
	// Do carries out one request and returns the answer, or why there is none.
	// It returns soon after ctx is done, and is called by up to C goroutines
	// at once. Required.
	Do func(ctx context.Context, r protocol.Request) (answer string, err error)
	// Answered, if not nil, is told the latency of each answered request, as
	// the report counts it. It is called by up to C goroutines at once.
	Answered func(t protocol.AppType, latency time.Duration)
	// Progress, if not nil, is told every interval how far the run is, and
	// once more at its end, by one goroutine at a time.
	Progress func(Progress)
	// Every is the interval of Progress; 0 means a second.
	Every time.Duration
}

// Run carries out a load run and returns its report. It ends when all requests
// have been carried out, or soon after ctx is done: then no more are started
// and those in flight are interrupted. When it returns, nothing that it
// started is running.
func Run(ctx context.Context, config Config) Report {
	config.C = max(1, min(config.C, config.N))
	r := &run{
		Config: config,
		plan:   plan{time.Now(), config.Rate},
		record: newRecorder(config.Types, config.C),
		causes: newCauses(),
	}
	stopWatching := r.watch()
	var senders sync.WaitGroup
	for i := range config.C {
		senders.Go(func() { r.send(ctx, r.record.shard(i)) })
	}
	senders.Wait()
	took := time.Since(r.plan.start)
	stopWatching()
	return r.report(took)
}

// run is a load run under way.
type run struct {
	Config
	plan     plan
	next     atomic.Int64 // the number of the next request
	inFlight atomic.Int64
	record   *recorder
	causes   *causes
}

// send carries out one request after another, in the order of the plan, until
// none is left or ctx is done.
func (r *run) send(ctx context.Context, s *shard) {
	alarm := newAlarm()
	defer alarm.stop()
	for ctx.Err() == nil {
		i := r.next.Add(1) - 1
		if i >= int64(r.N) {
			return
		}
		planned, paced := r.plan.at(i)
		if paced && !alarm.wait(ctx, planned) {
			return
		}
		turn := int(i % int64(len(r.Types)))
		r.inFlight.Add(1)
		o := r.carryOut(ctx, r.Types[turn])
		r.inFlight.Add(-1)
		if paced {
			o.late = o.began.Sub(planned)
		}
		s.add(r.record.rows[turn], o.began.Sub(r.plan.start), o)
		if r.Answered != nil && o.fate == answered {
			r.Answered(r.Types[turn], o.late+o.took)
		}
	}
}

// carryOut carries out one request now.
func (r *run) carryOut(ctx context.Context, t protocol.AppType) outcome {
	began := time.Now()
	answer, err := r.ask(ctx, protocol.Request{Type: t, Approach: r.Approach})
	o := outcome{began: began, took: time.Since(began)}
	reason, refused := protocol.CutRefusal(answer)
	switch {
	case err == nil && !refused:
		o.fate = answered
	case err == nil:
		o.fate = failed
		r.causes.add(reason)
	case ctx.Err() != nil:
		o.fate = interrupted
	default:
		o.fate = failed
		r.causes.add(err.Error())
	}
	return o
}

func (r *run) ask(ctx context.Context, request protocol.Request) (string, error) {
	if r.Timeout <= 0 {
		return r.Do(ctx, request)
	}
	within, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	answer, err := r.Do(within, request)
	if err != nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		return "", fmt.Errorf("no answer within %v", r.Timeout)
	}
	return answer, err
}
