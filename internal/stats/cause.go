package stats

import (
	"errors"

	"balancelab/internal/broker"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

// A Cause says why an attempt at a worker failed, or why a request did: then it
// is that of its last attempt. There is a fixed list of them, so that they can
// be labels of metrics. They are taken from what the errors are, and not from
// their texts.
type Cause int

const (
	CausedByRefusedConnection Cause = iota // no program listens at the worker's address
	CausedByNoConnection                   // no connection for another reason: no such name, no route, no time
	CausedByReset                          // the connection to the worker broke
	CausedByNoAnswer                       // no whole answer came in time, or not the one to this job
	CausedByNotTaken                       // the worker is stopping, and did not take the job
	CausedByRefusal                        // the worker answered that it refuses
	CausedByExhaustion                     // this machine has run out of files, ports or memory
	CausedByStop                           // the broker stopped before the answer came
	CausedByQueueTimeout                   // no worker was free in time
	CausedByNoWorker                       // there is no worker that could be asked
	numCauses
)

var causeNames = [numCauses]string{
	CausedByRefusedConnection: "refused",
	CausedByNoConnection:      "no connection",
	CausedByReset:             "reset",
	CausedByNoAnswer:          "no answer",
	CausedByNotTaken:          "not taken",
	CausedByRefusal:           "refusal",
	CausedByExhaustion:        "exhausted",
	CausedByStop:              "cut off",
	CausedByQueueTimeout:      "queue timeout",
	CausedByNoWorker:          "no worker",
}

// String returns the cause in words, as a page and a label have it.
func (c Cause) String() string { return causeNames[c] }

// attemptCause returns why an attempt failed. job says what had become of the
// job.
func attemptCause(job broker.JobState, err error) Cause {
	var refusal *protocol.RefusalError
	switch {
	case errors.As(err, &refusal):
		return CausedByRefusal
	case errors.Is(err, protocol.ErrNotTaken):
		return CausedByNotTaken
	case neterr.Exhausted(err):
		return CausedByExhaustion
	}
	switch neterr.KindOf(err) {
	case neterr.Refused:
		return CausedByRefusedConnection
	case neterr.Reset, neterr.BrokenPipe, neterr.Aborted:
		return CausedByReset
	}
	if job == broker.NotSent {
		return CausedByNoConnection
	}
	return CausedByNoAnswer
}

// requestCause returns why a request failed that had come whole.
func requestCause(f *broker.Failure) Cause {
	switch last := len(f.Attempts) - 1; {
	case f.Reason == broker.CutOff:
		return CausedByStop
	case f.Reason == broker.QueueTimeout:
		return CausedByQueueTimeout
	case last >= 0:
		return attemptCause(f.Attempts[last].Job, f.Attempts[last].Err)
	}
	return CausedByNoWorker
}
