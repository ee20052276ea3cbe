// Package monitoring has no code: it tests the files of this directory.
package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"balancelab/internal/balance"
	"balancelab/internal/console"
	"balancelab/internal/stats"
	"balancelab/internal/status"
)

// exported returns what a broker gives at /metrics.
func exported() string {
	pool := balance.NewPool([]balance.Worker{{Name: "Worker-1", Addr: "127.0.0.1:9002"}}, nil, new(balance.RoundRobin), new(balance.LeastConnections))
	w := httptest.NewRecorder()
	status.Handler(status.Site{Snapshot: stats.New(pool, console.Off{}).Snapshot}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

var (
	metric   = regexp.MustCompile(`\b(?:balancelab|process|go)_[a-z_]+`)
	selector = regexp.MustCompile(`\b(up|(?:balancelab|process|go)_[a-z_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z]+)(=~?)"([^"]*)"`)
)

// A broker is what its metrics may have: the labels of each, with their values.
type broker map[string]map[string][]string

func newBroker() broker {
	b := broker{}
	for line := range strings.Lines(exported()) {
		name := metric.FindString(line)
		if strings.HasPrefix(line, "#") || name == "" {
			continue
		}
		if b[name] == nil {
			b[name] = map[string][]string{"job": nil, "instance": nil} // Prometheus adds them
		}
		for _, l := range matcher.FindAllStringSubmatch(line, -1) {
			b[name][l[1]] = append(b[name][l[1]], l[3])
		}
	}
	return b
}

// check compares what text names with what the broker has. It returns how many
// names there are, and what is wrong.
func (b broker) check(text string) (names int, wrong []string) {
	for _, name := range metric.FindAllString(text, -1) {
		names++
		untold := runtime.GOOS != "linux" && strings.HasPrefix(name, "process_") // by the system
		if b[name] == nil && !untold {
			wrong = append(wrong, "a broker has no "+name)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(text, -1) {
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			if labels := b[s[1]]; labels != nil {
				wrong = append(wrong, wrongLabel(s[1], labels, l[1], l[3])...)
			}
		}
	}
	return names, wrong
}

// wrongLabel compares one label of a query, whose value may be several with bars
// between them, with those that the metric has.
func wrongLabel(name string, labels map[string][]string, label, value string) (wrong []string) {
	values, known := labels[label]
	if !known {
		return []string{name + " has no label " + label}
	}
	if !slices.Contains([]string{"state", "outcome", "cause", "approach", "type"}, label) {
		return nil // it has any value
	}
	for one := range strings.SplitSeq(value, "|") {
		if !slices.Contains(values, one) {
			wrong = append(wrong, "no "+name+" has the "+label+" "+one)
		}
	}
	return wrong
}

// mustFit complains of what is wrong in text.
func (b broker) mustFit(t *testing.T, where, text string) {
	t.Helper()
	names, wrong := b.check(text)
	if names == 0 {
		t.Errorf("%s names no metric: %q", where, text)
	}
	for _, what := range wrong {
		t.Errorf("%s: %s", where, what)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	b := newBroker()
	for _, name := range []string{"alerts.yml", "alerts_test.yml", "README.md"} {
		b.mustFit(t, name, read(t, name))
	}
	for alert := range strings.SplitSeq(read(t, "alerts.yml"), "- alert: ") {
		name, _, _ := strings.Cut(alert, "\n")
		if strings.HasPrefix(name, "Balancelab") && !strings.Contains(read(t, "alerts_test.yml"), "alertname: "+name+"\n") {
			t.Errorf("alerts_test.yml does not make %s fire", name)
		}
	}
	if n := strings.Count(read(t, "alerts.yml"), "- alert: "); n != 5 {
		t.Errorf("%d alerts, want 5", n)
	}
}

// A dashboard is what is looked at of Grafana's.
type dashboard struct {
	Templating struct {
		List []struct{ Query any }
	}
	Panels []struct {
		Title, Description string
		Targets            []struct{ Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// A legend names labels too, which a query must leave.
func TestDashboardNamesWhatThereIs(t *testing.T) {
	dashboard := readDashboard(t)
	b := newBroker()
	legend := regexp.MustCompile(`\{\{([a-z]+)\}\}`)
	for _, p := range dashboard.Panels {
		if p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("the panel %q has no description, or no query", p.Title)
		}
		for _, target := range p.Targets {
			b.mustFit(t, p.Title, target.Expr)
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if _, known := b[metric.FindString(target.Expr)][l[1]]; !known {
					t.Errorf("%s: %q has no label %s", p.Title, target.Expr, l[1])
				}
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		if query, ok := v.Query.(map[string]any); ok {
			b.mustFit(t, "a variable", query["query"].(string))
		}
	}
	if len(dashboard.Panels) < 8 {
		t.Errorf("%d panels", len(dashboard.Panels))
	}
}

// The checks above must be able to fail.
func TestCheckIsStrict(t *testing.T) {
	b := newBroker()
	for _, text := range []string{
		"rate(balancelab_nothing_total[1m])", `balancelab_worker_up{colour="red"}`, `balancelab_worker_state{state=~"drained|asleep"}`,
	} {
		if _, wrong := b.check(text); len(wrong) != 1 {
			t.Errorf("of %s is said %q", text, wrong)
		}
	}
}

// promtool runs it, if it is installed.
func promtool(t *testing.T, input string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	if text, err := cmd.CombinedOutput(); err != nil || input != "" && len(text) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

func TestPromtoolMetrics(t *testing.T) { promtool(t, exported(), "check", "metrics") }
func TestPromtoolConfig(t *testing.T)  { promtool(t, "", "check", "config", "prometheus.yml") }
func TestPromtoolAlerts(t *testing.T)  { promtool(t, "", "test", "rules", "alerts_test.yml") }

// To have the dashboard's queries checked they are made rules.
func TestPromtoolDashboard(t *testing.T) {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
			rules = append(rules, rule{fmt.Sprintf("query:%d", len(rules)), expr})
		}
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
