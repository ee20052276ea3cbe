package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// loadTimeout is how long one run of the client may take.
const loadTimeout = 2 * time.Minute

// A Report is what the benchmarks need of the report of "client -json".
type Report struct {
	Requests struct {
		Sent int64 `json:"sent"`
	} `json:"requests"`
	Rate struct {
		Achieved float64 `json:"achieved"`
		Answered float64 `json:"answered"`
	} `json:"rate"`
	Seconds float64  `json:"duration_seconds"`
	Latency *Latency `json:"latency"` // nil when none was answered
	Errors  []struct {
		Cause string `json:"cause"`
		Count int64  `json:"count"`
	} `json:"errors"`
}

// A Latency is that of all answered requests, in seconds.
type Latency struct {
	P50 float64 `json:"p50_seconds"`
	P99 float64 `json:"p99_seconds"`
}

// Load runs "client -json" against addr, with more arguments. That requests
// fail, or that fewer are sent than were asked for, is no error of Load: see
// [Report.Failed].
func (l *Lab) Load(ctx context.Context, addr string, args ...string) (r Report, err error) {
	late, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	client, err := l.Run(late, "client", l.Command("client", append([]string{"-broker", addr, "-json"}, args...)...))
	switch {
	case late.Err() != nil:
		return Report{}, fmt.Errorf("the load run was cut off: %w", late.Err())
	case err != nil:
		return Report{}, err
	}
	if err := json.Unmarshal([]byte(client.Stdout.String()), &r); err != nil {
		return Report{}, fmt.Errorf("the client's report: %w (%s)\n%s", err, client.State(), client.Said())
	}
	return r, nil
}

// Failed returns an error if a request was not answered, or there was none:
// figures of a server that fails compare with nothing.
func (r *Report) Failed() (err error) {
	for _, e := range r.Errors {
		err = errors.Join(err, fmt.Errorf("%d of %d requests: %s", e.Count, r.Requests.Sent, e.Cause))
	}
	if err == nil && r.Latency == nil {
		return errors.New("the client's report has no latency")
	}
	return err
}
