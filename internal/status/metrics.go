package status

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"balancelab/internal/balance"
)

// MetricsType is the content type of [Metrics].
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// noApproach is the approach of what was no request.
const noApproach = "none"

// Metrics returns s in the Prometheus text format, version 0.0.4. The labels
// are worker, approach and outcome: none of their values comes from a client.
func Metrics(s Snapshot) []byte {
	var m metrics
	m.requests(s)
	m.durations(s.Durations)
	m.workers(s.Workers)
	m.family("clients", "gauge", "Clients connected and not answered yet.")
	m.sample("clients", float64(s.Clients))
	m.family("connections_total", "counter", "Clients that connected.")
	m.sample("connections_total", float64(s.Totals.Connected))
	m.family("clients_left_total", "counter", "Clients that were gone before their answer.")
	m.sample("clients_left_total", float64(s.Totals.Left))
	m.family("start_time_seconds", "gauge", "When the broker started, in seconds since 1970.")
	m.sample("start_time_seconds", float64(s.Started.UnixMilli())/1000)
	return m.Bytes()
}

type metrics struct{ bytes.Buffer }

func (m *metrics) requests(s Snapshot) {
	m.family("requests_total", "counter", "Requests that are over, by how they ended.")
	for _, h := range s.Durations {
		answered := 0
		for _, w := range s.Workers {
			answered += w.Answered[h.Approach]
		}
		approach := string(h.Approach)
		m.sample("requests_total", float64(answered), "approach", approach, "outcome", string(Answered))
		m.sample("requests_total", float64(s.Totals.Failed[h.Approach]), "approach", approach, "outcome", string(Failed))
	}
	m.sample("requests_total", float64(s.Totals.Refused), "approach", noApproach, "outcome", string(Refused))
}

func (m *metrics) durations(all []Histogram) {
	const name = "request_duration_seconds"
	m.family(name, "histogram", "From a whole request to its worker's answer, for requests that were answered.")
	for _, h := range all {
		approach := string(h.Approach)
		for _, b := range h.Buckets {
			m.sample(name+"_bucket", float64(b.Count), "approach", approach, "le", number(b.Le))
		}
		m.sample(name+"_bucket", float64(h.Count), "approach", approach, "le", "+Inf")
		m.sample(name+"_sum", h.Sum, "approach", approach)
		m.sample(name+"_count", float64(h.Count), "approach", approach)
	}
}

func (m *metrics) workers(all []Worker) {
	for _, f := range []struct {
		name, kind, help string
		value            func(Worker) float64
	}{
		{"worker_up", "gauge", "1 if the worker may get any request, 0 if it cools down or is on trial.",
			func(w Worker) float64 { return truth(w.State == balance.Up.String()) }},
		{"worker_cooling_seconds", "gauge", "How long the worker's cool-down still lasts.",
			func(w Worker) float64 { return w.Cooling }},
		{"worker_weight", "gauge", "The worker's weight.",
			func(w Worker) float64 { return float64(w.Weight) }},
		{"worker_requests_in_flight", "gauge", "Requests that the worker has now.",
			func(w Worker) float64 { return float64(w.InFlight) }},
		{"worker_requests_in_flight_max", "gauge", "The most requests that the worker had at once.",
			func(w Worker) float64 { return float64(w.Most) }},
		{"worker_attempts_total", "counter", "Requests assigned to the worker.",
			func(w Worker) float64 { return float64(w.Assigned) }},
		{"worker_attempts_failed_total", "counter", "Requests assigned to the worker that it did not answer.",
			func(w Worker) float64 { return float64(w.Failed) }},
	} {
		m.family(f.name, f.kind, f.help)
		for _, w := range all {
			m.sample(f.name, f.value(w), "worker", w.Name)
		}
	}
	m.answered(all)
}

func (m *metrics) answered(all []Worker) {
	m.family("worker_requests_answered_total", "counter", "Requests that the worker answered.")
	for _, w := range all {
		for _, a := range slices.Sorted(maps.Keys(w.Answered)) {
			m.sample("worker_requests_answered_total", float64(w.Answered[a]), "worker", w.Name, "approach", string(a))
		}
	}
}

// prefix begins every name.
const prefix = "balancelab_"

func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, helpEscaper.Replace(help), prefix, name, kind)
}

// sample writes one line; labels are names and values by turns.
func (m *metrics) sample(name string, value float64, labels ...string) {
	var pairs []string
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+labelEscaper.Replace(labels[i+1])+`"`)
	}
	m.WriteString(prefix + name)
	if len(pairs) > 0 {
		m.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	m.WriteString(" " + number(value) + "\n")
}

var (
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
