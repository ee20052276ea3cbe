package stats

import (
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
)

// A Snapshot is everything that is known of a broker at one moment. Durations
// are in seconds. The JSON field names are those of /status.json, and other
// programs rely on them.
type Snapshot struct {
	Time       time.Time `json:"time"`
	Started    time.Time `json:"started"`
	Listen     string    `json:"listen"`   // the address where clients connect
	Stopping   bool      `json:"stopping"` // no more clients are accepted; requests in flight are finished
	Clients    int       `json:"clients"`  // connected and not answered yet
	Totals     Totals    `json:"totals"`
	LastMinute Minute    `json:"last_minute"`
	Spread     []Spread  `json:"spread"` // one for each approach
	Workers    []Worker  `json:"workers"`
	Latest     []Request `json:"latest"` // newest first

	// Durations counts the requests answered since the start by how long they
	// took, one histogram for each approach.
	Durations []Histogram `json:"durations"`
}

// Answered returns how many requests of an approach the workers answered.
func (s *Snapshot) Answered(a protocol.Approach) (n int) {
	for i := range s.Workers {
		n += s.Workers[i].Answered[a]
	}
	return n
}

// Totals are counts since the start.
type Totals struct {
	Connected int `json:"connected"` // clients
	Answered  int `json:"answered"`  // requests that a worker answered
	// Failed counts the requests that no worker answered, for each approach.
	Failed map[protocol.Approach]int `json:"failed"`
	// Withdrawn counts the requests whose clients left while their workers
	// worked, for each approach.
	Withdrawn   map[protocol.Approach]int `json:"withdrawn"`
	Refused     int                       `json:"refused"`    // texts that were no request
	ClientsGone int                       `json:"left"`       // clients that left before their answer
	NoRequest   int                       `json:"no_request"` // clients that left without a byte; no requests
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
	// P50, P95 and P99 are percentiles of the time that the answered requests
	// took: half of them took no longer than P50. They are 0 if there were none.
	P50 float64 `json:"p50_seconds"`
	P95 float64 `json:"p95_seconds"`
	P99 float64 `json:"p99_seconds"`
	// PerSecond counts the answers of each second, oldest first. The last second
	// is not over.
	PerSecond []int `json:"per_second"`
}

// A Spread says how evenly one approach divided its answered requests among the
// workers, compared with their weights.
type Spread struct {
	Approach protocol.Approach `json:"approach"`
	Answered int               `json:"answered"`
	// Shares has each worker's fraction of Answered. They add up to 1, or are
	// all 0 if there are no answers.
	Shares []float64 `json:"shares"`
	// MaxDeviation is the largest difference between a worker's share and its
	// fair share.
	MaxDeviation float64 `json:"off"`
	// Evenness is Jain's index of the answers for each unit of weight: 1 if all
	// workers had the same, 1/n if one of n workers had everything, 0 if there
	// are no answers.
	Evenness float64 `json:"evenness"`
}

// A Worker is one worker as the pool sees it: what is shown is what the
// selectors use.
type Worker struct {
	Name      string  `json:"name"`
	Addr      string  `json:"addr"`
	State     string  `json:"state"`           // the text of a [balance.State]
	Cooling   float64 `json:"cooling_seconds"` // until the cool-down ends
	Weight    int     `json:"weight"`
	FairShare float64 `json:"fair_share"` // its fraction of all weights
	InFlight  int     `json:"in_flight"`
	Peak      int     `json:"most_in_flight"`
	// History is InFlight of the last minute, once a second, oldest first.
	History  []int                     `json:"in_flight_history"`
	Assigned int                       `json:"assigned"`
	Answered map[protocol.Approach]int `json:"answered"`
	Failed   int                       `json:"failed"` // attempts, not requests
	// Withdrawn counts the attempts whose clients left; they are no failures.
	Withdrawn int      `json:"withdrawn"`
	Error     *Failure `json:"latest_error"` // nil if there was none
}

// Up reports whether any request may be assigned to the worker: it does not
// cool down and is not on trial.
func (w *Worker) Up() bool { return w.State == balance.Up.String() }

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
	Left     Outcome = "left"     // its client left while its worker worked
)

// A Request is one that is over.
type Request struct {
	Number   int               `json:"number"`   // counted from 1
	Time     time.Time         `json:"time"`     // when it was over
	Type     protocol.Type     `json:"type"`     // "" if it was refused
	Approach protocol.Approach `json:"approach"` // "" if it was refused
	Worker   string            `json:"worker"`   // the last one asked; "" if none was
	Seconds  float64           `json:"seconds"`  // connecting and serving; if it was refused, reading
	Outcome  Outcome           `json:"outcome"`
	Detail   string            `json:"detail"` // the answer, or why there is none
}

// A Histogram counts durations under one approach, as Prometheus has it.
type Histogram struct {
	Approach protocol.Approach `json:"approach"`
	Buckets  []Bucket          `json:"buckets"` // in order, cumulative, without the one for +Inf
	Count    int               `json:"count"`
	Sum      float64           `json:"sum_seconds"`
}

// A Bucket counts the durations of at most Le seconds, Le as in "less or
// equal".
type Bucket struct {
	Le    float64 `json:"le"`
	Count int     `json:"count"`
}
