package status

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"balancelab/internal/balance"
	"balancelab/internal/console"
	"balancelab/internal/stats"
	"balancelab/internal/version"
)

// A family is what the text says of one metric.
type family struct {
	help, kind string
	samples    []point
}

type point struct {
	name   string
	labels map[string]string
	value  float64
}

// key tells a sample from all others.
func (p point) key() string { return p.name + fmt.Sprint(p.labels) }

var (
	nameForm   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	sampleForm = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelForm  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)`)
)

// suffixes are what the samples of a metric's kind may have after its name.
var suffixes = map[string][]string{"histogram": {"_bucket", "_sum", "_count"}, "summary": {"_sum", "_count"}}

// parseMetrics reads the text format strictly: one HELP and one TYPE for each
// family, before its samples, which stand together.
func parseMetrics(text string) (map[string]*family, error) {
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line does not end")
	}
	all := map[string]*family{}
	var now *family
	var nowName string
	seen := map[string]bool{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		word := strings.SplitN(line, " ", 4)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			nowName = word[2]
			if all[nowName] != nil || len(word) < 4 || !nameForm.MatchString(nowName) {
				return nil, fmt.Errorf("line %d: %q is wrong or there twice", i+1, line)
			}
			now = &family{help: word[3]}
			all[nowName] = now
		case strings.HasPrefix(line, "# TYPE "):
			if now == nil || word[2] != nowName || now.kind != "" || len(now.samples) > 0 ||
				!slices.Contains([]string{"counter", "gauge", "histogram", "summary"}, word[3]) {
				return nil, fmt.Errorf("line %d: %q is not its place", i+1, line)
			}
			now.kind = word[3]
		default:
			p, err := parseSample(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			base := p.name
			if now != nil {
				for _, suffix := range suffixes[now.kind] {
					base = strings.TrimSuffix(base, suffix)
				}
			}
			if now == nil || now.kind == "" || base != nowName || seen[p.key()] {
				return nil, fmt.Errorf("line %d: %q is not its place, or there twice", i+1, line)
			}
			seen[p.key()] = true
			now.samples = append(now.samples, p)
		}
	}
	return all, nil
}

func parseSample(line string) (point, error) {
	m := sampleForm.FindStringSubmatch(line)
	if m == nil {
		return point{}, fmt.Errorf("%q is no sample", line)
	}
	p := point{name: m[1], labels: map[string]string{}}
	for rest := m[2]; rest != ""; {
		l := labelForm.FindStringSubmatch(rest)
		if l == nil || p.labels[l[1]] != "" {
			return point{}, fmt.Errorf("%q is no label", rest)
		}
		p.labels[l[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(l[2])
		rest = rest[len(l[0]):]
	}
	var err error
	p.value, err = strconv.ParseFloat(m[3], 64)
	return p, err
}

func parsed(t *testing.T, s stats.Snapshot) map[string]*family {
	t.Helper()
	return parsedText(t, string(Metrics(s)))
}

func parsedText(t *testing.T, text string) map[string]*family {
	t.Helper()
	all, err := parseMetrics(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return all
}

func TestMetricsForm(t *testing.T) {
	for name, f := range parsed(t, sample()) {
		if !strings.HasPrefix(name, "balancelab_") || f.help == "" || f.kind == "" || len(f.samples) == 0 {
			t.Errorf("%s: %+v", name, f)
		}
		if total := strings.HasSuffix(name, "_total"); total != (f.kind == "counter") {
			t.Errorf("%s is a %s", name, f.kind)
		}
		for _, bad := range []string{"milli", "_ms", "minute", "percent"} {
			if strings.Contains(name, bad) {
				t.Errorf("%s is not in base units", name)
			}
		}
		for _, p := range f.samples {
			for label := range p.labels {
				if !slices.Contains([]string{"worker", "addr", "state", "approach", "type", "outcome", "cause", "le"}, label) {
					t.Errorf("%s has the label %s", name, label)
				}
			}
			if p.value < 0 || math.IsNaN(p.value) {
				t.Errorf("%s is %v", p.key(), p.value)
			}
		}
	}
}

func TestMetricsHistograms(t *testing.T) {
	s := sample()
	f := parsed(t, s)["balancelab_request_duration_seconds"]
	for _, h := range s.Durations {
		name := fmt.Sprintf("%s, %s", h.Approach, h.Type)
		var bounds, counts []float64
		sum, count := -1.0, -1.0
		for _, p := range f.samples {
			if p.labels["approach"] != h.Approach.String() || p.labels["type"] != h.Type.String() {
				continue
			}
			switch {
			case strings.HasSuffix(p.name, "_sum"):
				sum = p.value
			case strings.HasSuffix(p.name, "_count"):
				count = p.value
			default:
				le, err := strconv.ParseFloat(p.labels["le"], 64)
				if err != nil {
					t.Fatal(err)
				}
				if math.IsInf(le, 1) && p.labels["le"] != "+Inf" {
					t.Errorf("%s: infinity is written %q", name, p.labels["le"])
				}
				bounds, counts = append(bounds, le), append(counts, p.value)
			}
		}
		if want := append(stats.Bounds(), math.Inf(1)); !slices.Equal(bounds, want) || !slices.IsSorted(counts) {
			t.Errorf("%s: buckets %v with %v are not all of them, or not cumulative", name, bounds, counts)
		}
		for _, b := range h.Buckets {
			i := slices.Index(bounds, b.Le)
			if counts[i] != float64(b.Count) || counts[i-1] == counts[i] {
				t.Errorf("%s: %v took at most %v s, and %v at most the bound before; want %v, and fewer", name, counts[i], b.Le, counts[i-1], b.Count)
			}
		}
		if last := len(bounds) - 1; counts[last] != count {
			t.Errorf("%s: the last bucket, %v, has %v of %v", name, bounds[last], counts[last], count)
		}
		if count != float64(h.Count) || sum != h.Sum {
			t.Errorf("%s: %v in %v, want %v in %v", name, count, sum, h.Count, h.Sum)
		}
	}
}

func TestMetricsValues(t *testing.T) {
	values := map[string]float64{}
	for _, f := range parsed(t, sample()) {
		for _, p := range f.samples {
			values[p.key()] = p.value
		}
	}
	odd := `odd "\` + "\n" // a name that must be escaped
	for key, want := range map[string]float64{
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "round_robin", "outcome": "answered"}):     16,
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "round_robin", "outcome": "failed"}):       2,
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "none", "outcome": "refused"}):             1,
		"balancelab_worker_up" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                                      1,
		"balancelab_worker_up" + fmt.Sprint(map[string]string{"worker": odd}):                                             0,
		"balancelab_worker_cooling_seconds" + fmt.Sprint(map[string]string{"worker": odd}):                                1.5,
		"balancelab_worker_requests_in_flight" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                      3,
		"balancelab_worker_attempts_failed_total" + fmt.Sprint(map[string]string{"worker": odd}):                          3,
		"balancelab_requests_failed_total" + fmt.Sprint(map[string]string{"approach": "round_robin", "cause": "refused"}): 2,
		"balancelab_attempts_failed_total" + fmt.Sprint(map[string]string{"cause": "refused"}):                            3,
		"balancelab_redispatches_total" + fmt.Sprint(map[string]string{}):                                                 6,
		"balancelab_queue_length" + fmt.Sprint(map[string]string{}):                                                       2,
		"balancelab_worker_info" + fmt.Sprint(map[string]string{"worker": odd, "addr": "127.0.0.1:9003"}):                 1,
		"balancelab_worker_serving_seconds_sum" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                     12.25,
		"balancelab_worker_serving_seconds_count" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                   9,
		"balancelab_worker_last_answer_timestamp_seconds" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):           1714564850.25,
		"balancelab_worker_last_answer_timestamp_seconds" + fmt.Sprint(map[string]string{"worker": odd}):                  0,
		"balancelab_worker_limit" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                                   5,
		"balancelab_worker_state" + fmt.Sprint(map[string]string{"worker": odd, "state": "cooling down"}):                 1,
		"balancelab_worker_state" + fmt.Sprint(map[string]string{"worker": odd, "state": "up"}):                           0,
		"balancelab_clients" + fmt.Sprint(map[string]string{}):                                                            3,
		"balancelab_clients_without_request_total" + fmt.Sprint(map[string]string{}):                                      5,
		"balancelab_log_lines_dropped_total" + fmt.Sprint(map[string]string{}):                                            1234,
		"balancelab_start_time_seconds" + fmt.Sprint(map[string]string{}):                                                 1714564800.25,
	} {
		if got, there := values[key]; !there || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, there, want)
		}
	}
}

// The queue's histogram has a bound of ten.
func TestMetricsOfTheQueue(t *testing.T) {
	var got []string
	for _, p := range parsed(t, sample())["balancelab_queue_seconds"].samples {
		if le := p.labels["le"]; le == "" || le == "0.389" || le == "0.6166" || le == "0.9772" || le == "1.549" || le == "+Inf" {
			got = append(got, fmt.Sprint(strings.TrimPrefix(p.name, "balancelab_queue_seconds"), " ", le, " ", p.value))
		}
	}
	want := []string{"_bucket 0.389 0", "_bucket 0.6166 1", "_bucket 0.9772 1", "_bucket 1.549 2", "_bucket +Inf 3", "_sum  4.5", "_count  3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSeries counts the series that monitoring has to keep of a broker. The
// README says the same numbers.
func TestSeries(t *testing.T) {
	count := func(n int) (series int) {
		var workers []balance.Worker
		for i := range n {
			workers = append(workers, balance.Worker{Name: fmt.Sprintf("Worker-%d", i+1)})
		}
		s := stats.New(balance.NewPool(workers, nil, new(balance.RoundRobin), new(balance.LeastConnections)), console.Off{}).Snapshot()
		for _, f := range parsed(t, s) {
			series += len(f.samples)
		}
		return series
	}
	const histograms = 2 * 2 * (302 + 3) // approaches and types; bounds, +Inf, _sum and _count
	const queue = 31 + 3                 // a bound of ten, +Inf, _sum and _count
	const others, each = 47, 22
	if got := count(0); got != histograms+queue+others {
		t.Errorf("%d series without a worker, want %d", got, histograms+queue+others)
	}
	if got := count(10) - count(0); got != 10*each {
		t.Errorf("%d series more with ten workers, want %d for each", got, each)
	}
}

// The README lists the causes, and says how many series there are.
func TestReadmeOfMetrics(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{" 1,301 time series ", " 22 more "}
	for _, c := range stats.New(balance.NewPool(nil, nil, new(balance.RoundRobin), new(balance.LeastConnections)), console.Off{}).Snapshot().Causes {
		wanted = append(wanted, "| `"+c.Cause+"` |")
	}
	for _, want := range wanted {
		if !strings.Contains(string(text), want) {
			t.Errorf("README.md does not have %q", want)
		}
	}
}

// Every program has these metrics, under the same names.
func TestProgramMetrics(t *testing.T) {
	text := get(Handler(Site{Snapshot: sample}), "GET", "/metrics").Body.String()
	all := parsedText(t, text)
	want := map[string]string{
		"process_cpu_seconds_total": "counter", "process_start_time_seconds": "gauge",
		"go_goroutines": "gauge", "go_info": "gauge", "balancelab_build_info": "gauge",
	}
	if runtime.GOOS == "linux" {
		for _, name := range []string{"process_resident_memory_bytes", "process_open_fds"} {
			want[name] = "gauge"
		}
	}
	for name, kind := range want {
		if f := all[name]; f == nil || f.kind != kind || len(f.samples) != 1 || f.samples[0].value <= 0 {
			t.Errorf("%s is %+v, want one positive %s", name, f, kind)
		}
	}
	b := version.Read()
	labels := map[string]string{"version": b.Version, "revision": b.Revision, "dirty": b.Dirty, "goversion": b.Go}
	if got := all["balancelab_build_info"].samples[0].labels; !maps.Equal(got, labels) {
		t.Errorf("the build is %v, want %v", got, labels)
	}
	if got := all["go_info"].samples[0].labels["version"]; got != runtime.Version() {
		t.Errorf("the version of Go is %q", got)
	}
	if !strings.HasPrefix(text, string(Metrics(sample()))) {
		t.Error("the broker's own metrics are not before them")
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	var m metrics
	if m.known("a", "gauge", "A.", 0); m.Len() > 0 {
		t.Errorf("got %q", &m)
	}
	if m.known("a", "gauge", "A.", 2); m.String() != "# HELP a A.\n# TYPE a gauge\na 2\n" {
		t.Errorf("got %q", &m)
	}
}

// TestParserIsStrict sees that the parser above would notice.
func TestParserIsStrict(t *testing.T) {
	const head = "# HELP a_total A.\n# TYPE a_total counter\n"
	if _, err := parseMetrics(head + "a_total{x=\"1\"} 1\n"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		head + "a_total 1", head + head, "a_total 1\n", head + "b_total 1\n", head + "a_total 1\na_total 1\n",
		"# TYPE a_total counter\n# HELP a_total A.\n", head + "a_total{x=\"1\"\"} 1\n", head + "a_total{x=\"\\x\"} 1\n",
		head + "a_total  1\n", head + "\n",
	} {
		if _, err := parseMetrics(text); err == nil {
			t.Errorf("the parser accepts %q", text)
		}
	}
}
