package status

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"balancelab/internal/protocol"
	"balancelab/internal/stats"
)

// MetricsType is the content type of [Metrics].
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// noApproach is the approach label of texts that were no request.
const noApproach = "none"

// Metrics returns s in the Prometheus text format, version 0.0.4. The labels
// are worker, approach and outcome, and le, as every histogram has it: none of
// their values comes from a client.
func Metrics(s stats.Snapshot) []byte {
	var m metrics
	m.requests(&s)
	m.durations(s.Durations)
	m.workers(s.Workers)
	m.single("clients", "gauge", "Clients connected and not answered yet.", float64(s.Clients))
	m.single("connections_total", "counter", "Clients that connected.", float64(s.Totals.Connected))
	m.single("clients_left_total", "counter", "Clients that were gone before their answer.", float64(s.Totals.ClientsGone))
	m.single("clients_without_request_total", "counter", "Clients that left without a byte.", float64(s.Totals.NoRequest))
	m.single("log_lines_dropped_total", "counter", "Lines of the broker's log that could not be written.",
		float64(s.Totals.LinesDropped))
	m.single("start_time_seconds", "gauge", "When the broker started, in seconds since 1970.",
		float64(s.Started.UnixMilli())/1000)
	return m.Bytes()
}

type metrics struct{ bytes.Buffer }

func (m *metrics) requests(s *stats.Snapshot) {
	const name = "requests_total"
	m.family(name, "counter", "Requests that are over, by how they ended.")
	for _, h := range s.Durations {
		approach := label(h.Approach)
		m.sample(name, float64(s.Answered(h.Approach)), "approach", approach, "outcome", string(stats.Answered))
		m.sample(name, float64(s.Totals.Failed[h.Approach]), "approach", approach, "outcome", string(stats.Failed))
		m.sample(name, float64(s.Totals.Withdrawn[h.Approach]), "approach", approach, "outcome", string(stats.Left))
	}
	m.sample(name, float64(s.Totals.Refused), "approach", noApproach, "outcome", string(stats.Refused))
}

func (m *metrics) durations(all []stats.Histogram) {
	const name = "request_duration_seconds"
	m.family(name, "histogram", "From a whole request to its worker's answer, for requests that were answered.")
	for _, h := range all {
		approach := label(h.Approach)
		for _, b := range h.Buckets {
			m.sample(name+"_bucket", float64(b.Count), "approach", approach, "le", number(b.Le))
		}
		m.sample(name+"_bucket", float64(h.Count), "approach", approach, "le", "+Inf")
		m.sample(name+"_sum", h.Sum, "approach", approach)
		m.sample(name+"_count", float64(h.Count), "approach", approach)
	}
}

func (m *metrics) workers(all []stats.Worker) {
	for _, f := range []struct {
		name, kind, help string
		value            func(*stats.Worker) float64
	}{
		{"worker_up", "gauge", "1 if the worker may get any request, 0 if it cools down or is on trial.",
			func(w *stats.Worker) float64 { return boolean(w.Up()) }},
		{"worker_cooling_seconds", "gauge", "How long the worker's cool-down still lasts.",
			func(w *stats.Worker) float64 { return w.Cooling }},
		{"worker_weight", "gauge", "The worker's weight.",
			func(w *stats.Worker) float64 { return float64(w.Weight) }},
		{"worker_requests_in_flight", "gauge", "Requests that the worker has now.",
			func(w *stats.Worker) float64 { return float64(w.InFlight) }},
		{"worker_requests_in_flight_max", "gauge", "The most requests that the worker had at once.",
			func(w *stats.Worker) float64 { return float64(w.Peak) }},
		{"worker_attempts_total", "counter", "Requests assigned to the worker.",
			func(w *stats.Worker) float64 { return float64(w.Assigned) }},
		{"worker_attempts_failed_total", "counter", "Requests assigned to the worker that it did not answer.",
			func(w *stats.Worker) float64 { return float64(w.Failed) }},
		{"worker_attempts_withdrawn_total", "counter", "Requests assigned to the worker whose clients left; no failures.",
			func(w *stats.Worker) float64 { return float64(w.Withdrawn) }},
	} {
		m.family(f.name, f.kind, f.help)
		for i := range all {
			m.sample(f.name, f.value(&all[i]), "worker", all[i].Name)
		}
	}
	m.answered(all)
}

func (m *metrics) answered(all []stats.Worker) {
	const name = "worker_requests_answered_total"
	m.family(name, "counter", "Requests that the worker answered.")
	byLabel := func(a, b protocol.Approach) int { return cmp.Compare(label(a), label(b)) }
	for _, w := range all {
		for _, a := range slices.SortedFunc(maps.Keys(w.Answered), byLabel) {
			m.sample(name, float64(w.Answered[a]), "worker", w.Name, "approach", label(a))
		}
	}
}

// label returns an approach as a label's value.
func label(a protocol.Approach) string { return a.String() }

// prefix is the beginning of every metric's name.
const prefix = "balancelab_"

// family writes the head of one metric. All its samples follow.
func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, helpEscaper.Replace(help), prefix, name, kind)
}

// single writes a metric that has one sample, without labels.
func (m *metrics) single(name, kind, help string, value float64) {
	m.family(name, kind, help)
	m.sample(name, value)
}

// sample writes one line. labels are pairs of a name and a value.
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

// boolean returns 1 for true and 0 for false.
func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
