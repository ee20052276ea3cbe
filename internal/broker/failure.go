package broker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"balancelab/internal/neterr"
)

// A JobState is what is known of a job whose attempt failed.
type JobState uint8

// The states.
const (
	NotSent    JobState = iota // not a byte of it was written
	NotTaken                   // the worker says that it did not take it
	MayHaveRun                 // the worker may have done it, or may do it still
)

// An AttemptError says why a worker gave no answer, and what became of the job.
type AttemptError struct {
	Worker string
	Job    JobState
	Err    error
}

// Error names the worker and the reason, and not what became of the job.
func (e *AttemptError) Error() string {
	return fmt.Sprintf("%s: %v", e.Worker, neterr.Reason(e.Err))
}

// Unwrap returns the reason.
func (e *AttemptError) Unwrap() error { return e.Err }

// A Reason says why an exchange has no answer.
type Reason uint8

// The reasons.
const (
	Malformed    Reason = iota // what came is no request
	Incomplete                 // the request did not come whole
	Stopping                   // the broker stopped before the request came
	NoWorker                   // no worker could be asked, or no one was left
	WorkerFailed               // a worker failed that may have done the job
	CutOff                     // the broker stopped before the answer came
)

// A Failure is why an exchange has no answer.
type Failure struct {
	Reason Reason
	// Err is what was wrong with the request; for Malformed and Incomplete.
	Err error
	// Within is the time that was not enough for the request; 0 if that was not
	// the reason.
	Within time.Duration
	// Attempts are the workers that failed: all that were asked for NoWorker,
	// the last one for WorkerFailed.
	Attempts []*AttemptError
}

// Error returns what the client is told.
func (f *Failure) Error() string {
	switch f.Reason {
	case Malformed:
		return f.Err.Error()
	case Incomplete:
		return f.incomplete()
	case Stopping:
		return "the broker is stopping"
	case WorkerFailed:
		return f.Attempts[0].Error() + "; the job may have run, so it was not sent again (see broker -redispatch)"
	case CutOff:
		return "the broker stopped before the answer came"
	}
	workers := make([]string, 0, len(f.Attempts))
	for _, a := range f.Attempts {
		workers = append(workers, a.Error())
	}
	return "no worker available: " + strings.Join(workers, "; ")
}

func (f *Failure) incomplete() string {
	if f.Within > 0 {
		return fmt.Sprintf("%v within %v", f.Err, f.Within)
	}
	return fmt.Sprintf("%v: %v", f.Err, neterr.Reason(errors.Unwrap(f.Err)))
}

// Unwrap returns what was wrong with the request, or nil.
func (f *Failure) Unwrap() error { return f.Err }
