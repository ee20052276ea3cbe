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

const (
	NotSent    JobState = iota // not a byte of it was written
	NotTaken                   // the worker says that it did not take it
	JobRefused                 // the worker's answer is a refusal
	MayHaveRun                 // the worker may have done it, or may do it still
)

// An AttemptError says why a worker gave no answer, and what became of the job.
type AttemptError struct {
	Worker string
	Job    JobState
	Err    error

	served time.Duration // Exchange.Serving up to here; 0 if the exchange ended with it
}

// Error names the worker and the reason, and not what became of the job.
func (e *AttemptError) Error() string {
	return e.Worker + ": " + e.cause()
}

func (e *AttemptError) cause() string { return neterr.Reason(e.Err).Error() }

// Unwrap returns the reason.
func (e *AttemptError) Unwrap() error { return e.Err }

// untouched reports whether no worker has looked at the job.
func (e *AttemptError) untouched() bool { return e.Job == NotSent || e.Job == NotTaken }

// A Reason says why an exchange has no answer. Up to Stopping there was no
// request.
type Reason uint8

const (
	NoRequest    Reason = iota // the client has left without sending a byte
	Malformed                  // what came is no request
	Incomplete                 // the request did not come whole
	GaveWay                    // the request had not come, and another client needed the place
	Stopping                   // the broker stopped before the request came
	NoWorker                   // no worker could be asked, or no one was left
	Refused                    // the worker's answer is a refusal
	WorkerFailed               // a worker failed that may have done the job
	CutOff                     // the broker stopped before the answer came
	ClientLeft                 // the client has left while its request waited, or its worker worked
	QueueTimeout               // no worker had a place for the request
	AllDrain                   // every worker drains, or was removed
)

// A Failure is why an exchange has no answer.
type Failure struct {
	Reason Reason
	// Err is what was wrong with the request; for NoRequest, Malformed and
	// Incomplete.
	Err error
	// Within is the time that was not enough, for the request to come, for a place
	// to become free, or for the attempts; 0 if that was not the reason.
	Within time.Duration
	// Waiting is how many requests waited for a place then, this one included;
	// for QueueTimeout.
	Waiting int
	// Attempts are the workers that failed: all that were asked for NoWorker,
	// the last one for Refused, WorkerFailed and CutOff. There is none for a CutOff
	// in the queue, unless it was given a place at that moment.
	Attempts []*AttemptError
	// NotAsked is how many more workers there were, all of which had failed before;
	// for NoWorker.
	NotAsked int
}

// Unread reports whether no request was read: what came was none, or did not come
// whole.
func (f *Failure) Unread() bool { return f.Reason <= Stopping }

// Error returns what the client is told.
func (f *Failure) Error() string {
	switch f.Reason {
	case NoRequest, Malformed:
		return f.Err.Error()
	case Refused:
		return f.Attempts[0].Err.Error()
	case GaveWay:
		return "no request had come when another client needed the place; send it at once"
	case Incomplete:
		return f.incomplete()
	case Stopping:
		return "the broker is stopping"
	case WorkerFailed:
		return f.Attempts[0].Error() + "; the job may have run, so it was not sent again (see broker -redispatch)"
	case CutOff:
		return "the broker stopped before the answer came"
	case ClientLeft:
		return errClientLeft.Error()
	case QueueTimeout:
		return fmt.Sprintf("no worker was free within %v (%s)", f.Within, waiting(f.Waiting))
	case AllDrain:
		return "no worker available: all drain or were removed (see broker workers)"
	}
	return "no worker available: " + f.workers()
}

func waiting(n int) string {
	if n == 1 {
		return "1 request waits"
	}
	return fmt.Sprintf("%d requests wait", n)
}

// Bounds of the text that names workers.
const (
	listed    = 5    // how many workers are listed each by itself
	maxListed = 1000 // bytes
)

// workers names the workers that failed, and why, and says how many were not asked.
func (f *Failure) workers() string {
	text := join(f.reasons())
	switch {
	case f.Within > 0:
		return fmt.Sprintf("%s (no more are asked after %v)", text, f.Within)
	case f.NotAsked == 1:
		return text + " (1 more had failed before and was not asked)"
	case f.NotAsked > 1:
		return fmt.Sprintf("%s (%d more had failed before and were not asked)", text, f.NotAsked)
	}
	return text
}

// reasons names the workers that failed, and why: each one, or if there are many
// each reason once, in the order of their first workers.
func (f *Failure) reasons() []string {
	var texts, causes []string
	if len(f.Attempts) <= listed {
		for _, a := range f.Attempts {
			texts = append(texts, a.Error())
		}
		return texts
	}
	first, count := map[string]string{}, map[string]int{}
	for _, a := range f.Attempts {
		cause := a.cause()
		if count[cause]++; count[cause] == 1 {
			first[cause] = a.Worker
			causes = append(causes, cause)
		}
	}
	for _, cause := range causes {
		workers := first[cause]
		if more := count[cause] - 1; more > 0 {
			workers = fmt.Sprintf("%s and %d more", workers, more)
		}
		texts = append(texts, workers+": "+cause)
	}
	return texts
}

// join joins texts, as far as there is room.
func join(texts []string) string {
	all := strings.Join(texts, "; ")
	if len(all) <= maxListed {
		return all
	}
	return strings.ToValidUTF8(all[:maxListed], "") + "…"
}

func (f *Failure) incomplete() string {
	if f.Within > 0 {
		return fmt.Sprintf("%v within %v", f.Err, f.Within)
	}
	return fmt.Sprintf("%v: %v", f.Err, neterr.Reason(errors.Unwrap(f.Err)))
}

// Unwrap returns what was wrong with the request, or nil.
func (f *Failure) Unwrap() error { return f.Err }
