package stats

import (
	"time"

	"balancelab/internal/protocol"
)

// A Snapshot is everything that is known of a broker at one moment. Durations
// are in seconds. The JSON field names are those of /status.json, and other
// programs rely on them.
type Snapshot struct {
	Time       time.Time `json:"time"`
	Started    time.Time `json:"started"`
	Listen     string    `json:"listen"`   // the address where clients connect
	Control    bool      `json:"control"`  // orders are taken
	Run        *Run      `json:"run"`      // the latest that was ordered; nil if none was
	Stopping   bool      `json:"stopping"` // no more clients are accepted; requests in flight are finished
	Clients    int       `json:"clients"`  // connected and not answered yet
	Totals     Totals    `json:"totals"`
	LastMinute Minute    `json:"last_minute"`
	Queue      Queue     `json:"queue"`
	Spread     []Spread  `json:"spread"` // one for each approach
	Workers    []Worker  `json:"workers"`
	Removed    Removed   `json:"removed"`
	Latest     []Request `json:"latest"` // newest first

	// Durations counts the requests answered since the start by how long they
	// took, one histogram for each approach and type.
	Durations []Histogram `json:"durations"`
	// Causes counts since the start why attempts and requests failed, each cause
	// of the fixed list once.
	Causes []CauseCount `json:"causes"`
}

// Answered returns how many requests of an approach the workers answered, those
// that were removed too.
func (s *Snapshot) Answered(a protocol.Approach) int {
	n := s.Removed.Answered[a]
	for i := range s.Workers {
		n += s.Workers[i].Answered[a]
	}
	return n
}

// A Run is what the broker sends to itself: see package runs.
type Run struct {
	ID      int    `json:"id"` // counted from 1
	Running bool   `json:"running"`
	Part    string `json:"part"` // such as "round_robin"
}

// Totals are counts since the start.
type Totals struct {
	Connected int `json:"connected"` // clients
	Answered  int `json:"answered"`  // requests that a worker answered
	// Failed counts the requests that no worker answered, for each approach.
	Failed map[protocol.Approach]int `json:"failed"`
	// Withdrawn counts the requests whose clients left while they waited or their
	// workers worked, for each approach.
	Withdrawn   map[protocol.Approach]int `json:"withdrawn"`
	Refused     int                       `json:"refused"`    // texts that were no request
	ClientsGone int                       `json:"left"`       // clients that left before their answer
	NoRequest   int                       `json:"no_request"` // clients that left without a byte; no requests
	// Redispatched counts the attempts that failed after their jobs were sent, and
	// whose requests were given to the next worker all the same.
	Redispatched int `json:"redispatched"`
	// LinesDropped counts the lines of the broker's log that could not be written.
	LinesDropped int `json:"lines_dropped"`
}

// A Minute is about the last 60 seconds, or about the time since the start if
// that is shorter.
type Minute struct {
	Seconds  float64 `json:"seconds"` // its length
	Answered int     `json:"answered"`
	Failed   int     `json:"failed"` // requests, refused ones included
	Rate     float64 `json:"rate"`   // answered requests a second
	// Latency has for each approach one row for all its types, and one for each
	// of them.
	Latency []Latency `json:"latency"`
	// PerSecond counts the answers of each second, oldest first. The last second
	// is not over.
	PerSecond []int `json:"per_second"`
}

// A Latency says how long the answered requests of one approach and type took:
// half of them took no longer than P50. All is 0 if there were none.
type Latency struct {
	Approach protocol.Approach `json:"approach"`
	Type     protocol.Type     `json:"type"` // "" for all of them
	Answered int               `json:"answered"`
	P50      float64           `json:"p50_seconds"`
	P95      float64           `json:"p95_seconds"`
	P99      float64           `json:"p99_seconds"`
	Max      float64           `json:"max_seconds"`
}

// A Queue is about the requests that find no worker with a place.
type Queue struct {
	Waiting int       `json:"waiting"`
	Oldest  float64   `json:"oldest_seconds"` // how long the one has waited that waits longest
	Most    int       `json:"most"`           // that waited at once
	History []int     `json:"history"`        // Waiting of the last minute, once a second, oldest first
	Waited  Histogram `json:"waited"`         // since the start, how long those waited that are over
}

// A Spread says how evenly one approach assigned requests to the workers. It
// counts assignments and not answers: while requests are in flight, answers say
// as much of how long they take. A further attempt is an assignment like any
// other.
type Spread struct {
	Approach protocol.Approach `json:"approach"`
	Assigned int               `json:"assigned"` // to workers that were removed, too
	// Shares has each worker's fraction of Assigned. They add up to 1 unless
	// workers were removed, or are all 0 if nothing was assigned.
	Shares []float64 `json:"shares"`
	// Fair has each worker's fair share of Assigned. Of each request it is the
	// fraction of the weights of all workers that could be chosen then: one that
	// cooled down, drained or was full has missed nothing.
	Fair []float64 `json:"fair"`
	// MaxDeviation is the largest difference between a share and its fair share.
	MaxDeviation float64 `json:"off"`
	// Evenness is Jain's index of each worker's shares for what was fair: 1 if
	// all had their fair share, 1/n if one of n had everything, 0 if nothing was
	// assigned.
	Evenness float64 `json:"evenness"`
}

// A Worker is one worker as the pool sees it: what is shown is what the
// selectors use.
type Worker struct {
	Name      string  `json:"name"`
	Addr      string  `json:"addr"`
	State     string  `json:"state"`           // one of [States], as of the worker's last request
	Cooling   float64 `json:"cooling_seconds"` // until the cool-down ends
	Weight    int     `json:"weight"`
	Limit     int     `json:"limit"`      // of InFlight; 0 for none
	FairShare float64 `json:"fair_share"` // its fraction of all weights
	InFlight  int     `json:"in_flight"`
	// InFlightOf has the part of InFlight that is of each type. It is counted by
	// itself, so it may be ahead of InFlight by a moment.
	InFlightOf map[protocol.Type]int `json:"in_flight_of"`
	Peak       int                   `json:"most_in_flight"`
	// History is InFlight of the last minute, once a second, oldest first.
	History  []int                     `json:"in_flight_history"`
	Assigned int                       `json:"assigned"`
	Answered map[protocol.Approach]int `json:"answered"`
	Failed   int                       `json:"failed"` // attempts, not requests
	// Withdrawn counts the attempts whose clients left; they are no failures.
	Withdrawn  int       `json:"withdrawn"`
	LastAnswer time.Time `json:"last_answer,omitzero"` // when the latest one came; zero if there was none
	Serving    Serving   `json:"serving"`
	Error      *Failure  `json:"latest_error"` // nil if there was none
}

// Removed are the sums of the workers that were removed.
type Removed struct {
	Assigned  int                       `json:"assigned"`
	Answered  map[protocol.Approach]int `json:"answered"`
	Failed    int                       `json:"failed"`
	Withdrawn int                       `json:"withdrawn"`
}

// A Serving says how long one worker had the jobs that it answered, from the
// sending of a job to its answer.
type Serving struct {
	Count int     `json:"count"`
	Sum   float64 `json:"sum_seconds"`
}

// A Failure is an error of a worker.
type Failure struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// An Outcome is how a request ended.
type Outcome string

const (
	Answered Outcome = "answered" // by a worker
	Failed   Outcome = "failed"   // no worker answered
	Refused  Outcome = "refused"  // it was no request
	Left     Outcome = "left"     // its client left while it waited, or its worker worked
)

// A Request is one that is over.
type Request struct {
	Number   int               `json:"number"`   // counted from 1
	Time     time.Time         `json:"time"`     // when it was over
	Type     protocol.Type     `json:"type"`     // "" if it was refused
	Approach protocol.Approach `json:"approach"` // "" if it was refused
	Worker   string            `json:"worker"`   // the last one asked; "" if none was
	Attempts int               `json:"attempts"` // how many workers it was assigned to
	Seconds  float64           `json:"seconds"`  // waiting for a worker, connecting and serving; if it was refused, reading
	Outcome  Outcome           `json:"outcome"`
	Detail   string            `json:"detail"` // the answer, or why there is none
}

// A Histogram counts durations, of one type under one approach or of all, as
// Prometheus has it.
type Histogram struct {
	Approach protocol.Approach `json:"approach"` // "" for all
	Type     protocol.Type     `json:"type"`     // "" for all
	// Buckets are in order and cumulative. A bucket that would count no more than
	// the one before is left out, and so is the one for +Inf; [Bounds] has all.
	Buckets []Bucket `json:"buckets"`
	Count   int      `json:"count"`
	Sum     float64  `json:"sum_seconds"`
}

// A Bucket counts the durations of at most Le seconds, Le as in "less or
// equal".
type Bucket struct {
	Le    float64 `json:"le"`
	Count int     `json:"count"`
}

// A CauseCount says how many failed for one cause.
type CauseCount struct {
	Cause    string                    `json:"cause"`    // the text of a [Cause]
	Attempts int                       `json:"attempts"` // at workers
	Requests map[protocol.Approach]int `json:"requests"` // that ended so, for each approach
}
