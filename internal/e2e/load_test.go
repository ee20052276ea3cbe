package e2e

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
)

// A load run with all that a plan can have: its report, its rows and the
// requests that were asked for agree.
func TestLoadRun(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-long", "10ms", "-short", "0s")
	b := start(t, "broker", "-listen", "127.0.0.1:0", "-workers", w.addr)
	ran := run(t, "client", "-broker", b.addr, "-n", "300", "-rate", "200..1000", "-arrivals", "poisson", "-mix", "Long=1,Short=2",
		"-seed", "7", "-q", "-csv", "-", "-json", "round_robin,least_connections")
	if ran.code != 0 {
		t.Fatalf("%+v", ran)
	}
	type row struct {
		Type, Approach string
		OK             int
	}
	var report struct {
		Requests          struct{ OK int }
		Types, Approaches []row
		Parts             []struct{}
		Plan              struct{ Seed int }
	}
	if err := json.Unmarshal([]byte(ran.stderr), &report); err != nil {
		t.Fatalf("%v in %q", err, ran.stderr)
	}
	rows, err := csv.NewReader(strings.NewReader(ran.stdout)).ReadAll()
	if err != nil || len(rows) != 301 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	counts := map[string]int{}
	for _, row := range rows[1:] {
		for _, word := range row[3:6] {
			counts[word]++
		}
	}
	for word, want := range map[string]int{"Long": 100, "Short": 200, "round_robin": 150, "least_connections": 150, "ok": 300} {
		if counts[word] != want {
			t.Errorf("%d rows are %s, want %d", counts[word], word, want)
		}
	}
	for _, row := range append(report.Types, report.Approaches...) {
		if name := row.Type + row.Approach; row.OK != counts[name] {
			t.Errorf("the report has %d of %s, the rows %d", row.OK, name, counts[name])
		}
	}
	if report.Requests.OK != 300 || len(report.Parts) != 10 || report.Plan.Seed != 7 {
		t.Errorf("the report: %+v", report)
	}
}
