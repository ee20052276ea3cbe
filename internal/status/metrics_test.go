package status

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"balancelab/internal/stats"
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
				!slices.Contains([]string{"counter", "gauge", "histogram"}, word[3]) {
				return nil, fmt.Errorf("line %d: %q is not its place", i+1, line)
			}
			now.kind = word[3]
		default:
			p, err := parseSample(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			base := p.name
			if now != nil && now.kind == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
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
	text := string(Metrics(s))
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
				if !slices.Contains([]string{"worker", "approach", "outcome", "le"}, label) {
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
		var bounds, counts []float64
		sum, count := -1.0, -1.0
		for _, p := range f.samples {
			if p.labels["approach"] != h.Approach.String() {
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
					t.Errorf("%s: infinity is written %q", h.Approach, p.labels["le"])
				}
				bounds, counts = append(bounds, le), append(counts, p.value)
			}
		}
		if !slices.IsSorted(bounds) || !slices.IsSorted(counts) {
			t.Errorf("%s: buckets %v with %v are not in order and cumulative", h.Approach, bounds, counts)
		}
		if last := len(bounds) - 1; !math.IsInf(bounds[last], 1) || counts[last] != count {
			t.Errorf("%s: the last bucket, %v, has %v of %v", h.Approach, bounds[last], counts[last], count)
		}
		if count != float64(h.Count) || sum != h.Sum {
			t.Errorf("%s: %v in %v, want %v in %v", h.Approach, count, sum, h.Count, h.Sum)
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
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "round_robin", "outcome": "answered"}): 14,
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "round_robin", "outcome": "failed"}):   2,
		"balancelab_requests_total" + fmt.Sprint(map[string]string{"approach": "none", "outcome": "refused"}):         1,
		"balancelab_worker_up" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                                  1,
		"balancelab_worker_up" + fmt.Sprint(map[string]string{"worker": odd}):                                         0,
		"balancelab_worker_cooling_seconds" + fmt.Sprint(map[string]string{"worker": odd}):                            1.5,
		"balancelab_worker_requests_in_flight" + fmt.Sprint(map[string]string{"worker": "Worker-1"}):                  3,
		"balancelab_worker_attempts_failed_total" + fmt.Sprint(map[string]string{"worker": odd}):                      3,
		"balancelab_clients" + fmt.Sprint(map[string]string{}):                                                        3,
		"balancelab_clients_without_request_total" + fmt.Sprint(map[string]string{}):                                  5,
		"balancelab_log_lines_dropped_total" + fmt.Sprint(map[string]string{}):                                        1234,
		"balancelab_start_time_seconds" + fmt.Sprint(map[string]string{}):                                             1714564800.25,
	} {
		if got, there := values[key]; !there || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, there, want)
		}
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
