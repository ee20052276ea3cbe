package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"balancelab/internal/protocol"
	"balancelab/internal/runs"
)

// onPage makes a request to the broker's page with headers, each name before its
// value, and returns the status code and the answer.
func (l *lab) onPage(method, path, body string, headers ...string) (code int, text string) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), method, "http://"+l.page()+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer reply.Body.Close()
	all, err := io.ReadAll(reply.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return reply.StatusCode, string(all)
}

// run gives an order for a run, and returns its report.
func (l *lab) run(method, body string) (r runs.Report) {
	l.t.Helper()
	code, text := l.onPage(method, "/run", body)
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != http.StatusOK {
		l.t.Fatalf("%s /run: %d %s: %v", method, code, text, err)
	}
	return r
}

// ended waits for n more answers, and then for the end of the run, which is close.
func (l *lab) ended(n int) runs.Report {
	l.t.Helper()
	l.broker.linesLike("Response from Worker-", n)
	for {
		if r := l.run("GET", ""); !r.Running {
			return r
		}
	}
}

// A comparison: what it says was done agrees with what the broker has counted. And
// each of its command lines is one that the client takes.
func TestRunAgreesWithStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t, "-status", "127.0.0.1:0", "-control", "-max-per-worker", "1")
	if s := l.snapshot(); !s.Control || s.Run != nil {
		t.Errorf("before: control is %v, the run %+v", s.Control, s.Run)
	}
	first := l.run("POST", `{"n":12,"c":6,"types":["Long","Short","Short"],"compare":true}`)
	if !first.Running || first.Planned != 12 {
		t.Errorf("at its start: %+v", first)
	}
	r := l.ended(36)
	s := l.snapshot()
	if len(r.Results) != 3 || r.Results[2].Name != "one queue" || r.Results[2].Most != 1 || r.Sentence == "" || r.Error != "" {
		t.Fatalf("%+v", r)
	}
	counted := map[string]int{}
	for _, a := range protocol.Approaches() {
		counted[a.String()] = s.Answered(a)
	}
	if turns, least := counted["round_robin"], counted["least_connections"]; turns != r.Results[0].Answered+r.Results[2].Answered ||
		least != r.Results[1].Answered || turns+least != 36 {
		t.Errorf("counted are %v, and the results are %+v", counted, r.Results)
	}
	if s.Run == nil || s.Run.ID != 1 || s.Run.Running || s.Run.Part != "one queue" {
		t.Errorf("/status.json has the run %+v", s.Run)
	}
	for _, w := range s.Workers {
		if w.Limit != 1 {
			t.Errorf("%s has a limit of %d, want 1", w.Name, w.Limit)
		}
	}
	for _, result := range r.Results {
		got := run(t, "client", append([]string{"-q"}, strings.Fields(strings.ReplaceAll(result.Command, "'", ""))[1:]...)...)
		if got.code != 0 || !strings.Contains(got.stdout, "12") {
			t.Errorf("%s: %+v", result.Command, got)
		}
	}
}

// A page of another site, or one that has reached this address by a name of its
// own, begins nothing; nor does anything without -control.
func TestForeignRuns(t *testing.T) {
	t.Parallel()
	const order = `{"n":1,"types":["Short"],"approaches":["round_robin"]}`
	l := newLab(t, "-status", "127.0.0.1:0", "-control")
	for _, header := range [][2]string{{"Origin", "http://example.com"}, {"Sec-Fetch-Site", "cross-site"}, {"Host", "example.com"}} {
		for _, method := range []string{"POST", "DELETE"} {
			if code, text := l.onPage(method, "/run", order, header[:]...); code != http.StatusForbidden {
				t.Errorf("%s with %v: %d %s", method, header, code, text)
			}
		}
	}
	if r := l.run("GET", ""); r.ID != 0 || l.snapshot().Run != nil {
		t.Errorf("a run has begun: %+v", r)
	}
	if r := l.run("POST", order); r.ID != 1 {
		t.Errorf("the page's own: %+v", r)
	}
	l.ended(1)

	l = newLab(t, "-status", "127.0.0.1:0")
	if code, text := l.onPage("POST", "/run", order); code != http.StatusForbidden || !strings.Contains(text, "start it with -control") {
		t.Errorf("without -control: %d %s", code, text)
	}
	if s := l.snapshot(); s.Control {
		t.Error("/status.json says that there is control")
	}
}

// A broker that stops does not wait for requests of its own.
func TestStopDuringARun(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, []string{"-long", "1h", "-drain-timeout", "1ms"}, "-status", "127.0.0.1:0", "-control", "-drain-timeout", "1h")
	l.run("POST", `{"n":3,"c":3,"types":["Long"],"approaches":["round_robin"]}`)
	for _, w := range l.workers {
		w.line("Processing long request")
	}
	l.broker.terminate()
}
