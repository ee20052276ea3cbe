package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"balancelab/internal/stats"
)

// A ledger has the counts of one place under names that are the same for all.
type ledger map[string]int

func (l ledger) add(n int, words ...string) { l[strings.Join(words, " ")] += n }

// A book is a ledger and the place that it is from.
type book struct {
	place string
	ledger
}

// compare wants all books to have the same number under each name that they
// have, and each name in two of them at least.
func compare(t *testing.T, books []book) {
	t.Helper()
	names := map[string]bool{}
	for _, b := range books {
		for name := range b.ledger {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		var said []string
		values := map[int]bool{}
		for _, b := range books {
			if n, ok := b.ledger[name]; ok {
				said = append(said, fmt.Sprintf("%s %d", b.place, n))
				values[n] = true
			}
		}
		switch {
		case len(values) > 1:
			t.Errorf("%s: %s", name, strings.Join(said, ", "))
		case len(said) < 2 && !values[0]:
			t.Errorf("%s: only one place tells it: %s", name, said[0])
		}
	}
}

// clientLedger is what a load run says, in its report on standard error and in its
// rows on standard output, which must agree.
func clientLedger(t *testing.T, run result) ledger {
	t.Helper()
	var r struct {
		Requests          struct{ Sent, OK, Failed, Interrupted int }
		Histogram         []struct{ Count int }
		Types, Approaches []struct {
			Type, Approach   string
			Sent, OK, Failed int
		}
		Errors []struct {
			Cause string
			Count int
		}
	}
	if err := json.Unmarshal([]byte(run.stderr), &r); err != nil {
		t.Fatalf("%v in %.1000q", err, run.stderr)
	}
	report, rows := ledger{}, rowLedger(t, run.stdout)
	put := func(name string, sent, ok, failed int) {
		report[name+" sent"], report[name+" ok"], report[name+" failed"] = sent, ok, failed
	}
	put("client", r.Requests.Sent, r.Requests.OK, r.Requests.Failed)
	for _, row := range slices.Concat(r.Types, r.Approaches) {
		put("client "+row.Type+row.Approach, row.Sent, row.OK, row.Failed)
	}
	inBars, failed := 0, 0
	for _, b := range r.Histogram {
		inBars += b.Count
	}
	for _, e := range r.Errors {
		failed += e.Count
		if name := "client failed: " + e.Cause; e.Cause != "other causes" && rows[name] != e.Count {
			t.Errorf("%s: the report has %d, the rows %d", name, e.Count, rows[name])
		}
	}
	if inBars != report["client ok"] || failed != report["client failed"] || r.Requests.Interrupted > 0 {
		t.Errorf("the report does not add up: %+v, %d in the histogram, %d in the table of errors", r.Requests, inBars, failed)
	}
	for name, n := range report {
		if rows[name] != n {
			t.Errorf("%s: the report has %d, the rows %d", name, n, rows[name])
		}
	}
	rows["sent"] = report["client sent"]
	return rows
}

// rowLedger is what the rows say.
func rowLedger(t *testing.T, text string) ledger {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	l := ledger{}
	for _, row := range rows[1:] {
		l.client(1, row[3], row[4], row[5], row[6])
	}
	return l
}

// client counts what a client of a load run was told, n times.
func (l ledger) client(n int, kind, approach, outcome, cause string) {
	for _, of := range []string{"", " " + kind, " " + approach, " " + kind + " " + approach} {
		l.add(n, "client"+of, "sent")
		l.add(n, "client"+of, outcome)
	}
	if outcome == "failed" {
		l.add(n, "client failed:", cause)
	}
}

// statusLedger is what /status.json says.
func statusLedger(s *stats.Snapshot) ledger {
	l := ledger{
		"connected": s.Totals.Connected, "refused": s.Totals.Refused, "left": s.Totals.ClientsGone, "no request": s.Totals.NoRequest,
		"redispatched": s.Totals.Redispatched, "answered": s.Totals.Answered, "clients": s.Clients, "lines dropped": s.Totals.LinesDropped,
		"waiting": s.Queue.Waiting, "waited": s.Queue.Waited.Count, "waited at once": s.Queue.Most,
	}
	for a, n := range s.Totals.Failed {
		l[a.String()+" failed"], l[a.String()+" left"], l[a.String()+" answered"] = n, s.Totals.Withdrawn[a], s.Answered(a)
	}
	for _, spread := range s.Spread {
		l[spread.Approach.String()+" assigned"] = spread.Assigned
	}
	for _, h := range s.Durations {
		l.add(h.Count, h.Approach.String(), h.Type.String(), "answered")
	}
	for _, c := range s.Causes {
		l["attempts failed: "+c.Cause] = c.Attempts
		for a, n := range c.Requests {
			l[a.String()+" failed: "+c.Cause] = n
		}
	}
	for _, w := range s.Workers {
		l[w.Name+" assigned"], l[w.Name+" failed"], l[w.Name+" withdrawn"] = w.Assigned, w.Failed, w.Withdrawn
		l[w.Name+" in flight"], l[w.Name+" at once"], l[w.Name+" served"] = w.InFlight, w.Peak, w.Serving.Count
		for a, n := range w.Answered {
			l[w.Name+" answered "+a.String()] = n
		}
	}
	if s.Removed.Assigned > 0 {
		l["removed workers failed"], l["removed workers withdrawn"] = s.Removed.Failed, s.Removed.Withdrawn
		for a, n := range s.Removed.Answered {
			l["removed workers answered "+a.String()] = n
		}
	}
	return l
}

// metricsLedger is what /metrics says.
func metricsLedger(t *testing.T, text string) ledger {
	t.Helper()
	l := ledger{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		series, ours := strings.CutPrefix(line, "balancelab_")
		if !ours {
			continue
		}
		name, number, _ := strings.Cut(series, " ")
		var labels []string
		if at := strings.IndexByte(series, '{'); at >= 0 {
			end := strings.LastIndexByte(series, '}')
			name, number = series[:at], series[end+2:]
			labels = strings.FieldsFunc(series[at+1:end], func(r rune) bool { return r == '=' || r == ',' || r == '"' })
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		l.series(t, int(value), name, labels)
	}
	for name := range inMetrics {
		if !strings.Contains(text, "\nbalancelab_"+name) {
			t.Errorf("there is no %s", name)
		}
	}
	return l
}

// inMetrics are the names of counts. $1, $2 and $3 stand for the values of labels,
// in their order.
var inMetrics = map[string]string{
	"requests_total":                  "$1 $2",
	"requests_failed_total":           "$1 failed: $2",
	"attempts_failed_total":           "attempts failed: $1",
	"redispatches_total":              "redispatched",
	"request_duration_seconds_count":  "$1 $2 answered",
	"queue_length":                    "waiting",
	"queue_length_max":                "waited at once",
	"queue_seconds_count":             "waited",
	"worker_requests_in_flight":       "$1 in flight",
	"worker_requests_in_flight_max":   "$1 at once",
	"worker_attempts_total":           "$1 assigned",
	"worker_attempts_failed_total":    "$1 failed",
	"worker_attempts_withdrawn_total": "$1 withdrawn",
	"worker_requests_answered_total":  "$1 answered $2",
	"worker_serving_seconds_count":    "$1 served",
	"clients":                         "clients",
	"connections_total":               "connected",
	"clients_left_total":              "left",
	"clients_without_request_total":   "no request",
	"log_lines_dropped_total":         "lines dropped",
}

// series counts one series.
func (l ledger) series(t *testing.T, value int, name string, labels []string) {
	t.Helper()
	form, known := inMetrics[name]
	if bucket, ok := strings.CutSuffix(name, "_bucket"); ok && labels[len(labels)-1] == "+Inf" {
		form, known = inMetrics[bucket+"_count"], true
	}
	if !known {
		return
	}
	var pairs []string
	for i := 1; i < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("$%d", i/2+1), labels[i])
	}
	said := strings.NewReplacer(pairs...).Replace(form)
	said = strings.TrimPrefix(said, "none ") // what was no request has no approach
	if before, twice := l[said]; twice && before != value {
		t.Errorf("%s%v: %d, and %d elsewhere in the metrics", name, labels, value, before)
	}
	l[said] = value
}

// logLedgers are what the broker's events say, and what its summary says.
// removed is the worker that was removed; "" if none was.
func logLedgers(events []map[string]any, removed string) (log, summary ledger) {
	r := logReader{log: ledger{"lines dropped": 0}, summary: ledger{}, over: map[string]map[string]any{}}
	for _, e := range events {
		if e["worker"] == removed && removed != "" {
			e["worker"] = "removed workers"
		}
		r.read(e)
	}
	return r.log, r.summary
}

// A logReader counts events.
type logReader struct {
	log, summary ledger
	over         map[string]map[string]any // how each exchange has ended
}

func (r logReader) read(e map[string]any) {
	word := func(name string) string { return e[name].(string) }
	number := func(name string) int { return int(e[name].(float64)) }
	switch msg := word("msg"); msg {
	case "not shown":
		r.log.add(number("lines"), "lines dropped")
	case "unreachable", "handed on":
		r.log.add(1, word("worker"), "failed")
		r.log.add(1, "attempts failed:", causeOf(word("error")))
		if msg == "handed on" {
			r.log.add(1, "redispatched")
		}
	case "answered", "failed", "refused", "left":
		r.exchange(msg, word("type"), word("approach"), e)
	case "summary":
		r.summed(word("worker"), e)
		r.summary.add(number("most"), word("worker"), "at once")
	case "summary of removed workers":
		r.summed("removed workers", e)
	case "queue":
		r.summary.add(number("most"), "waited at once")
	}
}

// summed counts what the summary says of a worker.
func (r logReader) summed(worker string, e map[string]any) {
	for field, name := range map[string]string{
		"failed": "failed", "withdrawn": "withdrawn",
		"answered_round_robin": "answered round_robin", "answered_least_connections": "answered least_connections",
	} {
		r.summary.add(int(e[field].(float64)), worker, name)
	}
}

// exchange counts an exchange once. The event of a client that has left may
// follow that of the end: then the client of the load run was not told of it.
func (r logReader) exchange(msg, kind, approach string, e map[string]any) {
	which := fmt.Sprint(e["client"], e["waiting_seconds"], e["queued_seconds"], e["connecting_seconds"], e["serving_seconds"])
	before, ended := r.over[which]
	r.over[which] = e
	if msg == "left" {
		r.log.add(1, "left")
	}
	if ended {
		r.told(-1, before)
		return
	}
	r.told(1, e)
	r.log.add(int(e["attempts"].(float64)), approach, "assigned")
	if e["queued_seconds"].(float64) > 0 {
		r.log.add(1, "waited")
	}
	switch msg {
	case "answered":
		r.log.add(1, "answered")
		r.log.add(1, approach, kind, "answered")
		r.log.add(1, e["worker"].(string), "answered", approach)
	case "failed":
		text, worker := e["error"].(string), e["worker"].(string)
		r.log.add(1, approach, "failed:", causeOf(text))
		if !strings.HasPrefix(text, "no worker") { // it failed by its attempt, which no event has told
			r.log.add(1, worker, "failed")
			r.log.add(1, "attempts failed:", causeOf(text))
		}
	case "refused":
		r.log.add(1, "refused")
		return
	}
	r.log.add(1, approach, msg)
}

// told counts n times what a client was told by the end of its exchange.
func (r logReader) told(n int, e map[string]any) {
	kind, approach := e["type"].(string), e["approach"].(string)
	switch e["msg"] {
	case "answered":
		r.log.client(n, kind, approach, "ok", "")
	case "failed":
		r.log.client(n, kind, approach, "failed", inRow(e["error"].(string)))
	}
}

// aCount is a number in an error, which rows do not tell.
var aCount = regexp.MustCompile(`([ (])[0-9]+ `)

// inRow returns an error as the row of a request has it.
func inRow(text string) string {
	cause := []rune(aCount.ReplaceAllString(text, "${1}N "))
	if len(cause) > 160 {
		return string(cause[:160]) + "..."
	}
	return string(cause)
}

// causes are words of errors and the causes that they stand for.
var causes = []struct{ text, cause string }{
	{"no worker was free", "queue timeout"},
	{"connection refused", "refused"},
	{"reset", "reset"},
	{"broken pipe", "reset"},
	{"without an answer", "no answer"},
	{"busy", "refusal"},
}

// causeOf returns the cause of the last error that a text tells, or the text.
func causeOf(text string) string {
	text, _, _ = strings.Cut(text, "; the job may have run")
	last := text[strings.LastIndex(text, "; ")+1:]
	for _, c := range causes {
		if strings.Contains(last, c.text) {
			return c.cause
		}
	}
	return text
}

// inLog returns the names of l that the log's events tell, too.
func (l ledger) inLog() (names []string) {
	for name := range l {
		_, what, _ := strings.Cut(name, " ")
		ofWorker := strings.HasPrefix(name, "Worker-") || strings.HasPrefix(name, "removed workers")
		what = strings.TrimPrefix(what, "workers ")
		switch {
		case slices.Contains([]string{"connected", "no request", "clients", "waiting", "waited at once"}, name):
		case ofWorker && what != "failed" && !strings.HasPrefix(what, "answered"):
		default:
			names = append(names, name)
		}
	}
	return names
}
