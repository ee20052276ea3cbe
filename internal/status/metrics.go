package status

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/process"
	"balancelab/internal/protocol"
	"balancelab/internal/stats"
	"balancelab/internal/version"
)

// MetricsType is the content type of [Metrics].
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// noApproach is the approach label of texts that were no request.
const noApproach = "none"

// Metrics returns s in the Prometheus text format, version 0.0.4. The labels
// are worker, addr, state, approach, type, outcome and cause, and le, as every
// histogram has it: none of their values comes from a client. So there is a
// fixed number of series for the broker, and one for each worker.
func Metrics(s stats.Snapshot) []byte {
	m := metrics{prefix: "balancelab_"}
	m.requests(&s)
	m.failures(&s)
	m.durations(s.Durations)
	m.workers(s.Workers)
	m.states(s.Workers)
	m.single("clients", "gauge", "Clients connected and not answered yet.", float64(s.Clients))
	m.queue(&s.Queue)
	m.single("connections_total", "counter", "Clients that connected.", float64(s.Totals.Connected))
	m.single("clients_left_total", "counter", "Clients that were gone before their answer.", float64(s.Totals.ClientsGone))
	m.single("clients_without_request_total", "counter", "Clients that left without a byte.", float64(s.Totals.NoRequest))
	m.single("log_lines_dropped_total", "counter", "Lines of the broker's log that could not be written.",
		float64(s.Totals.LinesDropped))
	m.single("start_time_seconds", "gauge", "When the broker started, in seconds since 1970.", unix(s.Started))
	return m.Bytes()
}

// A metrics is a text that grows.
type metrics struct {
	bytes.Buffer
	prefix string // the beginning of every metric's name
}

func (m *metrics) requests(s *stats.Snapshot) {
	const name = "requests_total"
	m.family(name, "counter", "Requests that are over, by how they ended.")
	for _, a := range protocol.Approaches() {
		m.sample(name, float64(s.Answered(a)), "approach", a.String(), "outcome", string(stats.Answered))
		m.sample(name, float64(s.Totals.Failed[a]), "approach", a.String(), "outcome", string(stats.Failed))
		m.sample(name, float64(s.Totals.Withdrawn[a]), "approach", a.String(), "outcome", string(stats.Left))
	}
	m.sample(name, float64(s.Totals.Refused), "approach", noApproach, "outcome", string(stats.Refused))
}

func (m *metrics) failures(s *stats.Snapshot) {
	name := "requests_failed_total"
	m.family(name, "counter", "Requests that no worker answered, by why the last attempt failed.")
	for _, c := range s.Causes {
		for _, a := range protocol.Approaches() {
			m.sample(name, float64(c.Requests[a]), "approach", a.String(), "cause", c.Cause)
		}
	}
	name = "attempts_failed_total"
	m.family(name, "counter", "Attempts that failed at all workers together, by why.")
	for _, c := range s.Causes {
		m.sample(name, float64(c.Attempts), "cause", c.Cause)
	}
	m.single("redispatches_total", "counter", "Requests given to the next worker after their jobs were sent.",
		float64(s.Totals.Redispatched))
}

func (m *metrics) durations(all []stats.Histogram) {
	const name = "request_duration_seconds"
	m.family(name, "histogram", "From a whole request to its worker's answer, for requests that were answered.")
	bounds := stats.Bounds()
	for i := range all {
		m.histogram(name, &all[i], bounds, "approach", all[i].Approach.String(), "type", all[i].Type.String())
	}
}

// coarse is how many buckets of the queue's histogram are one here. How long a
// request waited need not be known as well as how long it took.
const coarse = 10

func (m *metrics) queue(q *stats.Queue) {
	m.single("queue_length", "gauge", "Requests that wait in the broker, since no worker is free.", float64(q.Waiting))
	m.single("queue_length_max", "gauge", "The most requests that waited at once.", float64(q.Most))
	m.single("queue_oldest_seconds", "gauge", "How long the request has waited that waits longest.", q.Oldest)
	const name = "queue_seconds"
	m.family(name, "histogram", "How long requests waited for a worker, for those that had to and are over.")
	var bounds []float64
	for i, bound := range stats.Bounds() {
		if i%coarse == 0 {
			bounds = append(bounds, bound)
		}
	}
	m.histogram(name, &q.Waited, bounds)
}

// histogram writes the samples of h with some of its bounds.
func (m *metrics) histogram(name string, h *stats.Histogram, bounds []float64, labels ...string) {
	count, buckets := 0, h.Buckets
	for _, le := range bounds {
		for len(buckets) > 0 && buckets[0].Le <= le {
			count, buckets = buckets[0].Count, buckets[1:]
		}
		m.sample(name+"_bucket", float64(count), append(labels, "le", number(le))...)
	}
	m.sample(name+"_bucket", float64(h.Count), append(labels, "le", "+Inf")...)
	m.sample(name+"_sum", h.Sum, labels...)
	m.sample(name+"_count", float64(h.Count), labels...)
}

func (m *metrics) workers(all []stats.Worker) {
	for _, f := range []struct {
		name, kind, help string
		value            func(*stats.Worker) float64
	}{
		{"worker_up", "gauge", "1 if the worker may get any request, as of the last request; 0 if not.",
			func(w *stats.Worker) float64 { return boolean(w.Up()) }},
		{"worker_last_answer_timestamp_seconds", "gauge", "When the worker last answered, in seconds since 1970; 0 if it never did.",
			func(w *stats.Worker) float64 { return unix(w.LastAnswer) }},
		{"worker_cooling_seconds", "gauge", "How long the worker's cool-down still lasts.",
			func(w *stats.Worker) float64 { return w.Cooling }},
		{"worker_weight", "gauge", "The worker's weight.",
			func(w *stats.Worker) float64 { return float64(w.Weight) }},
		{"worker_limit", "gauge", "The most requests that the worker may have at once; 0 for no limit.",
			func(w *stats.Worker) float64 { return float64(w.Limit) }},
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
	m.info(all)
	m.serving(all)
	m.answered(all)
}

func (m *metrics) info(all []stats.Worker) {
	const name = "worker_info"
	m.family(name, "gauge", "Where the worker is; always 1.")
	for _, w := range all {
		m.sample(name, 1, "worker", w.Name, "addr", w.Addr)
	}
}

func (m *metrics) serving(all []stats.Worker) {
	const name = "worker_serving_seconds"
	m.family(name, "summary", "How long the worker had the jobs that it answered, without connecting.")
	for _, w := range all {
		m.sample(name+"_sum", w.Serving.Sum, "worker", w.Name)
		m.sample(name+"_count", float64(w.Serving.Count), "worker", w.Name)
	}
}

func (m *metrics) answered(all []stats.Worker) {
	const name = "worker_requests_answered_total"
	m.family(name, "counter", "Requests that the worker answered.")
	for _, w := range all {
		for _, a := range protocol.Approaches() {
			m.sample(name, float64(w.Answered[a]), "worker", w.Name, "approach", a.String())
		}
	}
}

// states writes a sample for each state that a worker may be in: 1 for the one
// that it is in. So a query need not know that a series has ended.
func (m *metrics) states(all []stats.Worker) {
	const name = "worker_state"
	m.family(name, "gauge", "1 for the state of the worker, as of the last request; 0 for all others.")
	for _, w := range all {
		for _, state := range stats.States() {
			m.sample(name, boolean(w.State == state), "worker", w.Name, "state", state)
		}
	}
}

// programMetrics returns what is known of the broker as a program, in the same
// format: the metrics that every program has under the same names, and which
// build it is. What the system does not tell is left out.
func programMetrics() []byte {
	var m metrics
	u := process.Read()
	m.known("process_cpu_seconds_total", "counter", "User and system CPU time.", u.CPU.Seconds())
	m.known("process_resident_memory_bytes", "gauge", "Resident memory.", float64(u.Resident))
	m.known("process_open_fds", "gauge", "Open files.", float64(u.OpenFiles))
	m.known("process_max_fds", "gauge", "The limit on open files.", float64(u.MaxFiles))
	m.known("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", unix(u.Started))
	m.single("go_goroutines", "gauge", "Goroutines.", float64(u.Goroutines))
	b := version.Read()
	m.family("go_info", "gauge", "The version of Go; always 1.")
	m.sample("go_info", 1, "version", b.Go)
	const build = "balancelab_build_info"
	m.family(build, "gauge", "Which build this is; always 1.")
	m.sample(build, 1, "version", b.Version, "revision", b.Revision, "dirty", b.Dirty, "goversion", b.Go)
	return m.Bytes()
}

// known is single for a value that is left out if it is 0.
func (m *metrics) known(name, kind, help string, value float64) {
	if value != 0 {
		m.single(name, kind, help, value)
	}
}

// unix returns a time in seconds since 1970, or 0 for the zero time.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// family writes the head of one metric. All its samples follow.
func (m *metrics) family(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s%s %s\n# TYPE %s%s %s\n", m.prefix, name, helpEscaper.Replace(help), m.prefix, name, kind)
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
	m.WriteString(m.prefix + name)
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
