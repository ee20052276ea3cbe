package stats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

// call is an error as the network has it.
func call(name string, k neterr.Kind) error {
	return &net.OpError{Op: name, Net: "tcp", Err: os.NewSyscallError(name, neterr.Errno(k))}
}

// The errors are those that the broker makes.
func TestAttemptCause(t *testing.T) {
	for _, test := range []struct {
		job  broker.JobState
		err  error
		want Cause
	}{
		{broker.NotSent, call("connect", neterr.Refused), CausedByRefusedConnection},
		{broker.NotSent, call("connect", neterr.HostUnreachable), CausedByNoConnection},
		{broker.NotSent, call("connect", neterr.TimedOut), CausedByNoConnection},
		{broker.NotSent, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nowhere"}}, CausedByNoConnection},
		{broker.NotSent, errors.New("no connection within 2s"), CausedByNoConnection},
		{broker.NotSent, call("socket", neterr.ProcessFiles), CausedByExhaustion},
		{broker.NotSent, call("connect", neterr.NoPort), CausedByExhaustion},
		{broker.NotSent, call("write", neterr.BrokenPipe), CausedByReset},
		{broker.NotTaken, protocol.ErrNotTaken, CausedByNotTaken},
		{broker.NotSent, protocol.ErrNotTaken, CausedByNotTaken}, // Unreachable does not say what became of the job
		{broker.JobRefused, &protocol.RefusalError{Reason: "too many open files"}, CausedByRefusal},
		{broker.MayHaveRun, call("read", neterr.Reset), CausedByReset},
		{broker.MayHaveRun, fmt.Errorf("after %d bytes of the job: %w", 3, call("write", neterr.Reset)), CausedByReset},
		{broker.MayHaveRun, call("read", neterr.TimedOut), CausedByNoAnswer},
		{broker.MayHaveRun, errors.New("no whole answer within 30s"), CausedByNoAnswer},
		{broker.MayHaveRun, protocol.ErrNoAnswer, CausedByNoAnswer},
		{broker.MayHaveRun, protocol.ErrTooLong, CausedByNoAnswer},
		{broker.MayHaveRun, io.ErrUnexpectedEOF, CausedByNoAnswer},
	} {
		if got := attemptCause(test.job, test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}

// Each failed attempt and each failed request counts once, under one cause.
func TestCauses(t *testing.T) {
	l := newLab(t, console.Off{})
	refusedAt := refused("Worker-1")
	late := &broker.AttemptError{Worker: "Worker-2", Job: broker.MayHaveRun, Err: errors.New("no whole answer within 30s")}
	refusal := &broker.AttemptError{Worker: "Worker-2", Job: broker.JobRefused, Err: &protocol.RefusalError{Reason: "busy"}}
	x := broker.Exchange{Attempts: 1, Worker: "Worker-2", Request: protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}}

	l.Unreachable("Worker-1", refusedAt.Err) // then Worker-2 answers
	l.answer(protocol.RoundRobin, 0)
	l.Unreachable("Worker-1", refusedAt.Err) // then Worker-2 does not
	l.fail(x, broker.Failure{Reason: broker.WorkerFailed, Attempts: []*broker.AttemptError{late}})
	l.Redispatched("Worker-2", late.Err)
	l.Unreachable("Worker-1", refusedAt.Err)
	l.fail(x, broker.Failure{Reason: broker.NoWorker, Attempts: []*broker.AttemptError{late, refusedAt}})
	l.fail(x, broker.Failure{Reason: broker.Refused, Attempts: []*broker.AttemptError{refusal}})
	l.fail(x, broker.Failure{Reason: broker.CutOff, Attempts: []*broker.AttemptError{late}})
	l.fail(x, broker.Failure{Reason: broker.CutOff}) // in the queue, after an attempt that is counted above
	l.fail(x, broker.Failure{Reason: broker.ClientLeft})
	x.Attempts, x.Worker = 0, ""
	x.Request.Approach = protocol.LeastConnections
	l.fail(x, broker.Failure{Reason: broker.NoWorker})
	l.fail(broker.Exchange{}, malformed("no request"))
	l.fail(broker.Exchange{}, broker.Failure{Reason: broker.Stopping})
	l.fail(broker.Exchange{}, broker.Failure{Reason: broker.Incomplete, Err: fmt.Errorf("incomplete: %w", context.DeadlineExceeded)})
	l.fail(broker.Exchange{}, broker.Failure{Reason: broker.GaveWay})

	s := l.Snapshot()
	want := map[string][3]int{ // attempts, requests by round robin, by least connections
		"refused": {3, 1, 0}, "no answer": {2, 1, 0}, "refusal": {1, 1, 0}, "cut off": {1, 2, 0}, "no worker": {0, 0, 1},
	}
	var names []string
	for _, c := range s.Causes {
		got := [3]int{c.Attempts, c.Requests[protocol.RoundRobin], c.Requests[protocol.LeastConnections]}
		if got != want[c.Cause] {
			t.Errorf("%s: got %v, want %v", c.Cause, got, want[c.Cause])
		}
		if c.Cause == "" || slices.Contains(names, c.Cause) {
			t.Errorf("%q is no cause, or there twice", c.Cause)
		}
		names = append(names, c.Cause)
	}
	if e := s.Workers[1].Error; e == nil || e.Text != "busy" {
		t.Errorf("the latest error of Worker-2 is %v; a stop is none", e)
	}
	if len(names) != int(numCauses) || s.Totals.Redispatched != 1 || s.Totals.Refused != 4 {
		t.Errorf("%d causes, %+v", len(names), s.Totals)
	}
	if s.Totals.Failed[protocol.RoundRobin] != 5 || s.Totals.Failed[protocol.LeastConnections] != 1 {
		t.Errorf("failed: %v", s.Totals.Failed)
	}
}

func TestStates(t *testing.T) {
	for _, test := range []struct {
		pool balance.Status
		want string
		up   bool
	}{
		{balance.Status{}, "not asked yet", true},
		{balance.Status{Assigned: 1, InFlight: 1}, "up", true},
		{balance.Status{Assigned: 3, State: balance.Cooling}, "cooling down", false},
		{balance.Status{Assigned: 3, State: balance.DueForTrial}, "due for a trial", false},
		{balance.Status{Assigned: 4, State: balance.OnTrial}, "on trial", false},
		{balance.Status{Assigned: 4, State: balance.Draining}, "draining", false},
		{balance.Status{State: balance.Drained}, "drained", false},
	} {
		w := Worker{State: stateOf(&test.pool)}
		if w.State != test.want || w.Up() != test.up || !slices.Contains(States(), w.State) {
			t.Errorf("%+v: %q, up: %v; want %q, %v", test.pool, w.State, w.Up(), test.want, test.up)
		}
	}
}

// What a request ended for: that of the whole request before that of an attempt.
func TestRequestCause(t *testing.T) {
	reset := []*broker.AttemptError{{Job: broker.NotSent, Err: call("connect", neterr.Refused)}, {Job: broker.MayHaveRun, Err: call("read", neterr.Reset)}}
	for _, test := range []struct {
		failure broker.Failure
		want    Cause
	}{
		{broker.Failure{Reason: broker.WorkerFailed, Attempts: reset}, CausedByReset},
		{broker.Failure{Reason: broker.NoWorker, Attempts: reset[:1]}, CausedByRefusedConnection},
		{broker.Failure{Reason: broker.AllDrain}, CausedByNoWorker},
		{broker.Failure{Reason: broker.QueueTimeout, Attempts: reset}, CausedByQueueTimeout},
		{broker.Failure{Reason: broker.CutOff, Attempts: reset}, CausedByStop},
	} {
		if got := requestCause(&test.failure); got != test.want {
			t.Errorf("reason %d: %v, want %v", test.failure.Reason, got, test.want)
		}
	}
}
