package status

import (
	"time"

	"balancelab/internal/protocol"
)

// A Snapshot is what there is to see of a broker at one moment. Durations are
// in seconds. Its JSON form is /status.json.
type Snapshot struct {
	Time       time.Time `json:"time"`
	Started    time.Time `json:"started"`
	Listen     string    `json:"listen"`   // where clients connect
	Stopping   bool      `json:"stopping"` // takes no more clients; finishes what is in flight
	Clients    int       `json:"clients"`  // connected, and not answered yet
	Totals     Totals    `json:"totals"`
	LastMinute Minute    `json:"last_minute"`
	Spread     []Spread  `json:"spread"` // one for each approach
	Workers    []Worker  `json:"workers"`
	Latest     []Request `json:"latest"` // newest first

	// Durations are of the requests answered since the start, one for each
	// approach.
	Durations []Histogram `json:"durations"`
}

// Totals count since the start.
type Totals struct {
	Connected int `json:"connected"` // clients
	Answered  int `json:"answered"`  // requests that a worker answered
	// Failed counts the requests that no worker answered, for each approach.
	Failed  map[protocol.Approach]int `json:"failed"`
	Refused int                       `json:"refused"` // what was no request
	Left    int                       `json:"left"`    // clients gone before their answer
}

// A Minute is about the last 60 seconds, or about the time since the start if
// that is shorter.
type Minute struct {
	Seconds  float64 `json:"seconds"` // how long it is
	Answered int     `json:"answered"`
	Failed   int     `json:"failed"` // requests, refused ones included
	Rate     float64 `json:"rate"`   // answered in a second
	// The times that requests took that were answered: half of them took no
	// longer than P50, and so on. 0 if there were none.
	P50 float64 `json:"p50_seconds"`
	P95 float64 `json:"p95_seconds"`
	P99 float64 `json:"p99_seconds"`
	// PerSecond counts answers, oldest second first. The last one is not over.
	PerSecond []int `json:"per_second"`
}

// A Spread says how evenly one approach shared its answered requests out,
// measured against the weights.
type Spread struct {
	Approach protocol.Approach `json:"approach"`
	Answered int               `json:"answered"`
	// Shares are the workers' parts of Answered, 1 in all; 0 if there are none.
	Shares []float64 `json:"shares"`
	// Off is the most that a share is above or below the worker's fair one.
	Off float64 `json:"off"`
	// Evenness is Jain's index of the answers for each unit of weight: 1 if all
	// workers had the same, 1/n if one of n had everything; 0 without answers.
	Evenness float64 `json:"evenness"`
}

// A Worker is one worker as the pool sees it: the state shown is the state
// used.
type Worker struct {
	Name     string  `json:"name"`
	Addr     string  `json:"addr"`
	State    string  `json:"state"`           // as balance.State says it
	Cooling  float64 `json:"cooling_seconds"` // how long the cool-down still lasts
	Weight   int     `json:"weight"`
	Fair     float64 `json:"fair_share"` // its weight's part of all weights
	InFlight int     `json:"in_flight"`
	Most     int     `json:"most_in_flight"`
	// History is InFlight, once a second for the last minute, oldest first.
	History  []int                     `json:"in_flight_history"`
	Assigned int                       `json:"assigned"`
	Answered map[protocol.Approach]int `json:"answered"`
	Failed   int                       `json:"failed"` // attempts, not requests
	Error    *Failure                  `json:"latest_error"`
}

// A Failure is the latest of a worker; a pointer to one is nil if there was
// none.
type Failure struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// An Outcome is how a request ended.
type Outcome string

// The outcomes.
const (
	Answered Outcome = "answered" // by a worker
	Failed   Outcome = "failed"   // no worker answered
	Refused  Outcome = "refused"  // it was no request
)

// A Request is one that is over.
type Request struct {
	Number   int               `json:"number"` // counted from 1
	Time     time.Time         `json:"time"`   // when it was over
	Type     protocol.AppType  `json:"type"`   // "" if it was refused
	Approach protocol.Approach `json:"approach"`
	Worker   string            `json:"worker"` // "" if nobody was asked
	Seconds  float64           `json:"seconds"`
	Outcome  Outcome           `json:"outcome"`
	Detail   string            `json:"detail"` // the answer, or why there was none
}

// A Histogram counts durations under one approach.
type Histogram struct {
	Approach protocol.Approach `json:"approach"`
	Buckets  []Bucket          `json:"buckets"` // in order, cumulative, without +Inf
	Count    int               `json:"count"`
	Sum      float64           `json:"sum_seconds"`
}

// A Bucket counts the durations of at most Le seconds.
type Bucket struct {
	Le    float64 `json:"le"`
	Count int     `json:"count"`
}

// NewSpread measures how evenly answered, a count for each worker, goes with
// the weights.
func NewSpread(a protocol.Approach, answered, weights []int) Spread {
	s := Spread{Approach: a, Shares: make([]float64, len(answered))}
	var weight int
	for i, n := range answered {
		s.Answered += n
		weight += weights[i]
	}
	if s.Answered == 0 {
		return s
	}
	var sum, squares float64
	for i, n := range answered {
		s.Shares[i] = float64(n) / float64(s.Answered)
		fair := float64(weights[i]) / float64(weight)
		s.Off = max(s.Off, s.Shares[i]-fair, fair-s.Shares[i])
		x := float64(n) / float64(weights[i])
		sum += x
		squares += x * x
	}
	s.Evenness = sum * sum / (float64(len(answered)) * squares)
	return s
}
