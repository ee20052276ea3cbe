package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/programs"
	"balancelab/internal/protocol"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

var lss = []protocol.Type{protocol.Long, protocol.Short, protocol.Short}

// expect checks that got is want.
func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		slots    int
		slow     float64
		capacity string
		rate     string
		lasts    time.Duration // in turn
	}{
		{1, 1, "12.9", "10.9", 22 * s},
		{2, 1, "25.7", "21.9", 11 * s},
		{0, 1, "12.9", "10.9", 12080 * ms},
		{1, 3, "10", "8.5", 22 * s},
		{1, 6, "9.29", "7.89", 26400 * ms},
	} {
		p := newPlan(lss, 132, test.slots, test.slow, 0)
		what := fmt.Sprintf("%d slots, slow %v: ", test.slots, test.slow)
		expect(t, what+"capacity", fmt.Sprintf("%.3g", p.capacity()), test.capacity)
		expect(t, what+"rate", fmt.Sprintf("%.3g", p.rate), test.rate)
		expect(t, what+"lasts", p.lasts(p.inTurn().types).Round(10*ms), test.lasts)
	}
	expect(t, "a rate that was asked for", newPlan(lss, 1, 1, 1, 3).rate, 3)
}

func TestShuffled(t *testing.T) {
	p := newPlan(lss, 132, 1, 1, 0)
	turn, a, b, other := p.inTurn().types, p.shuffled(1).types, p.shuffled(1).types, p.shuffled(2).types
	if !slices.Equal(a, b) {
		t.Error("the same seed gives another order")
	}
	if slices.Equal(a, other) || slices.Equal(a, turn) {
		t.Error("another seed gives the same order")
	}
	slices.Sort(a)
	slices.Sort(turn)
	if !slices.Equal(a, turn) {
		t.Error("they are not the same requests")
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, test := range []struct {
		times   []time.Duration
		percent int
		want    time.Duration
	}{
		{nil, 50, 0},
		{[]time.Duration{7}, 1, 7},
		{[]time.Duration{7}, 100, 7},
		{[]time.Duration{1, 2}, 50, 1},
		{[]time.Duration{1, 2}, 51, 2},
		{[]time.Duration{1, 2, 3}, 50, 2},
		{hundred, 95, 95},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
	} {
		expect(t, fmt.Sprintf("%d %% of %d", test.percent, len(test.times)), percentile(test.times, test.percent), test.want)
	}
	expect(t, "mean", mean([]time.Duration{1, 2, 6}), 3)
	expect(t, "mean of nothing", mean(nil), 0)
}

// answered returns the broker's event of an exchange.
func answered(worker int) string {
	return fmt.Sprintf(`{"time":"2026-11-24T09:16:34Z","level":"INFO","msg":"answered","worker":"Worker-%d","attempts":1}`, worker)
}

// summed returns the broker's summary of a worker that had most requests in
// flight.
func summed(worker, most int) string {
	return fmt.Sprintf(`{"msg":"summary","worker":"Worker-%d","failed":0,"most":%d,"answered_round_robin":4}`, worker, most)
}

func TestAccount(t *testing.T) {
	p := newPlan(lss, 6, 1, 3, 0)
	broker := []string{
		`{"msg":"listening","address":"127.0.0.1:1"}`,
		answered(1), answered(1), answered(1), answered(1),
		answered(3), "panic: not JSON", answered(3),
		summed(1, 3), summed(2, 0), summed(3, 1),
	}
	var lines [workers][]string
	for i, letters := range []string{"lssl", "", "sl"} {
		lines[i] = []string{"[Worker-1] Listening on port 9002..."}
		for _, letter := range letters {
			kind := map[rune]string{'l': "long", 's': "short"}[letter]
			lines[i] = append(lines[i], "[Worker] Processing "+kind+" request from ('127.0.0.1', 1)")
		}
	}
	got, err := account(p, broker, lines)
	if err != nil {
		t.Fatal(err)
	}
	want := []workerTotals{
		{"Worker-1", 2, 2, 1200 * ms, 3},
		{"Worker-2", 0, 0, 0, 0},
		{"Worker-3", 1, 1, 1800 * ms, 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if _, err := account(p, broker[:len(broker)-1], lines); err == nil || err.Error() != "the broker has 0 summaries of Worker-3, want 1" {
		t.Errorf("without a summary: %v", err)
	}
	lines[1] = append(lines[1], "[Worker] Processing long request from ('127.0.0.1', 1)")
	if _, err := account(p, broker, lines); err == nil || !strings.Contains(err.Error(), "the broker has 0 answers from Worker-2, which says that it did 1 jobs") {
		t.Errorf("accounts that differ: %v", err)
	}
}

// example returns a plan, and outcomes that it might have.
func example() (plan, []outcome) {
	p := newPlan(lss, 6, 1, 1, 6) // for a second
	return p, []outcome{
		{roundRobin, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 500 * ms, 1500 * ms}, 2 * s, []workerTotals{
			{"Worker-1", 2, 0, 2 * s, 2}, {"Worker-2", 0, 2, 200 * ms, 1}, {"Worker-3", 0, 2, 200 * ms, 1},
		}, 0},
		{leastConnections, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 500 * ms, 500 * ms}, s, []workerTotals{
			{"Worker-1", 1, 0, 500 * ms, 1}, {"Worker-2", 1, 1, 600 * ms, 1}, {"Worker-3", 0, 3, 300 * ms, 1},
		}, 3},
	}
}

func TestTable(t *testing.T) {
	const want = `latency            mean   p50    p95    p99    max
round_robin        400ms  100ms  1.5s   1.5s   1.5s
least_connections  233ms  100ms  500ms  500ms  500ms

                   worker    requests       share  busy           most
round_robin        Worker-1  2 (all Long)   33 %   2s (100 %)     2
                   Worker-2  2 (all Short)  33 %   200ms (10 %)   1
                   Worker-3  2 (all Short)  33 %   200ms (10 %)   1
least_connections  Worker-1  1 (all Long)   17 %   500ms (50 %)   1
                   Worker-2  2 (1 Long)     33 %   600ms (60 %)   1
                   Worker-3  3 (all Short)  50 %   300ms (30 %)   1
busy: of the time until the last answer; most: in flight at once, as the broker counts
3 requests under least_connections began more than 10ms late; latency is from when they were due
`
	got := table(example())
	if squeezed(got) != squeezed(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for line := range strings.Lines(got) {
		if len(line) > 100 || strings.HasSuffix(line, " \n") {
			t.Errorf("too long, or blanks at the end: %q", line)
		}
	}
}

// squeezed returns text with single blanks only.
func squeezed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestSentence(t *testing.T) {
	const overload = "Round robin counts turns and not work: it sent every Long to Worker-1, 2s of work in 1s, and up to 2 were there at once while Worker-2 had 200ms of work"
	for _, test := range []struct {
		name   string
		change func(p *plan, o []outcome)
		want   string
	}{
		{"overloaded", func(*plan, []outcome) {}, overload + "; least connections sees which worker is not done yet, and no worker had more than 1 at once; " +
			"the mean was 400ms under round_robin and 233ms under least_connections, a factor of 1.7."},
		{"one Long elsewhere", func(_ *plan, o []outcome) { o[0].workers[1].longs = 1 }, "it sent 2 of the 3 Longs to Worker-1"},
		{"both types at the busiest", func(_ *plan, o []outcome) { o[0].workers[0].shorts = 1 }, "it sent 3 of the 7 requests to Worker-1"},
		{"two slots", func(p *plan, o []outcome) { p.slots = 2; o[0].workers[0].busy = 3 * s }, "1.5s of work for each slot in 1s"},
		{"not overloaded", func(_ *plan, o []outcome) { o[0].workers[0].busy = 900 * ms }, "gave no worker more than it could do"},
		{"little difference", func(_ *plan, o []outcome) { o[0].latencies = o[1].latencies }, "It made little difference"},
		{"round robin ahead", func(_ *plan, o []outcome) { o[0].way, o[1].way = o[1].way, o[0].way }, "Round robin was ahead this time"},
		{"no limit", func(p *plan, _ []outcome) { p.slots = 0 }, "no request waited"},
		{"no limit, one slow", func(p *plan, _ []outcome) { p.slots, p.slow = 0, 3 }, "gave less to the worker that takes longer"},
	} {
		p, o := example()
		test.change(&p, o)
		got := sentences(p, o)
		if !strings.Contains(got, test.want) || strings.Count(got, ". ") > 0 || !strings.HasSuffix(got, ".") {
			t.Errorf("%s: %q, want %q in it, and one sentence", test.name, got, test.want)
		}
	}
}

// What one queue changes, measured by the 95th percentile: of the times of least
// connections it is 500ms.
func TestQueueSentence(t *testing.T) {
	for _, test := range []struct {
		p95  time.Duration
		want string
	}{
		{400 * ms, "first worker that is free: p95 was 500ms under least_connections and 400ms with one queue in the broker, the mean 233ms and "},
		{520 * ms, "One queue made little difference"},
		{600 * ms, "One queue was behind this time"},
	} {
		p, o := example()
		o = append(o, outcome{way: oneQueue, latencies: []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, test.p95}, workers: o[1].workers})
		if got := sentences(p, o); !strings.Contains(got, test.want) || !strings.Contains(got, "Round robin counts turns") {
			t.Errorf("%v: %q, want %q in it", test.p95, got, test.want)
		}
	}
}

// The third way is there where workers have a limit, and has the same one.
func TestWays(t *testing.T) {
	for slots, want := range []int{2, 3, 3} {
		ways := newPlan(lss, 1, slots, 1, 0).ways()
		if len(ways) != want || want == 3 && ways[2].limit != slots {
			t.Errorf("%d slots: %+v", slots, ways)
		}
	}
}

func TestPicture(t *testing.T) {
	p, o := example()
	scenarios := []scenario{p.inTurn(), p.shuffled(1)}
	scenarios[0].name = `<b>&"bold"`
	scenarios[0].outcomes, scenarios[1].outcomes = o, o
	var b bytes.Buffer
	draw(&b, p, scenarios)
	paths, texts := wellFormed(t, b.Bytes())
	for _, want := range []string{
		`<b>&"bold"`, "The same requests in random order (seed 1)", "requests answered", "time until the answer (logarithmic)",
		"100 ms", "2 s", "0 %", "100 %", "round_robin: mean 400ms, p95 1.5s, max 1.5s", "least_connections: mean 233ms, p95 500ms, max 500ms",
	} {
		if !slices.Contains(texts, want) {
			t.Errorf("%q is not in the picture: %q", want, texts)
		}
	}
	// One of six was not answered before 1.5 s.
	curve := "M76.0 312.0H76.0V278.7H76.0V245.3H76.0V212.0H76.0V178.7H428.4V145.3H669.0V112.0"
	if !slices.Contains(paths, curve) {
		t.Errorf("round robin's curve is not\n%s\nbut one of\n%s", curve, strings.Join(paths, "\n"))
	}
	if text := b.String(); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "%!") {
		t.Errorf("a figure is none:\n%s", text)
	}
}

// wellFormed checks that text is XML, and returns all paths and the texts.
func wellFormed(t *testing.T, text []byte) (paths, texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return paths, texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			for _, a := range token.Attr {
				if a.Name.Local == "d" {
					paths = append(paths, a.Value)
				}
			}
		case xml.CharData:
			texts = append(texts, string(token))
		}
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		low, high   time.Duration
		first, last time.Duration
	}{
		{100 * ms, 10 * s, 100 * ms, 10 * s},
		{101 * ms, 10*s + 1, 100 * ms, 20 * s},
		{99 * ms, 9 * s, 50 * ms, 10 * s},
		{s, s, s, 2 * s},
		{0, 0, 1, 2},
		{3 * ms, 100 * time.Hour, 2 * ms, 500_000 * s},
	} {
		x := newScale([]scenario{{outcomes: []outcome{{latencies: []time.Duration{test.low, test.high}}}}})
		first, last := x.Axis[0], x.Axis[len(x.Axis)-1]
		if first != test.first || last != test.last {
			t.Errorf("%v to %v: from %v to %v, want %v to %v", test.low, test.high, first, last, test.first, test.last)
		}
		expect(t, "left end", x.at(first), left)
		expect(t, "right end", x.at(last), width-right)
	}
}

// However many latencies there are, a picture has a bounded size.
func TestPictureIsBounded(t *testing.T) {
	times := make([]time.Duration, 1_000_000)
	for i := range times {
		times[i] = time.Duration(i + 1)
	}
	c := curve(newScale([]scenario{{outcomes: []outcome{{latencies: times}}}}), times, 266)
	if n := strings.Count(c, "V"); n != mostSteps || !strings.HasSuffix(c, "V66.0") {
		t.Errorf("%d steps, ends in %q", n, c[len(c)-20:])
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-pattern Medium", `"Medium"`},
		{"-pattern Long,", `""`},
		{"-rate -1", "-rate"},
		{"-rate NaN", "-rate"},
		{"-rate Inf", "-rate"},
		{"-n 0", "-n"},
		{"-slots -1", "-slots"},
		{"-slow 0", "-slow"},
		{"-seed x", "seed"},
		{"round_robin", "round_robin"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(test.args), &out, &errs); code != cli.Usage || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: exit %d, %q, want %q", test.args, code, errs.String(), test.want)
		}
	}
}

// The usage stands in the doc comment, too.
func TestUsageIsDocumented(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	for line := range strings.Lines(usage) {
		comment := "//\t" + line
		if line == "\n" {
			comment = "//\n"
		}
		if !bytes.Contains(source, []byte(comment)) {
			t.Errorf("the doc comment lacks %q", line)
		}
	}
}

// A whole comparison, of few requests.
func TestCompare(t *testing.T) {
	var out, errs bytes.Buffer
	svg := filepath.Join(t.TempDir(), "latency.svg")
	args := "-n 6 -rate 100 -pattern Short -slots 2 -slow 3 -seed 3 -svg"
	code := run(t.Context(), append(strings.Fields(args), svg), &out, &errs)
	if code != cli.OK || errs.Len() > 0 {
		t.Fatalf("exit %d: %s\n%s", code, errs.String(), out.String())
	}
	// Round robin's shares do not depend on time. Which types they are does: two
	// requests may overtake one another on their way.
	text := squeezed(out.String())
	for _, want := range []string{"Short, in turn", "Worker-1 2 (all Short) 33 % 200ms", "Worker-3 2 (all Short) 33 % 600ms",
		"Three workers with 2 slots each", "Worker-3 takes 3 times as long", "6 come at 100 a second",
		"random order (seed 3)", "The picture is in " + svg} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, picture)
}

// The workers have the plan's slots, and the last one is as slow as planned: it
// gets three jobs of 300 ms within 90 ms and does one after another.
func TestWorkersAreAsPlanned(t *testing.T) {
	bin := t.TempDir()
	if err := programs.Build(t.Context(), bin, "broker", "worker"); err != nil {
		t.Fatal(err)
	}
	p := newPlan([]protocol.Type{protocol.Short}, 9, 1, 3, 100)
	l := lab{plan: p, set: programs.Set{Dir: bin}}
	o, err := l.run(t.Context(), roundRobin, p.inTurn().types)
	if err != nil {
		t.Fatal(err)
	}
	if most := o.latencies[len(o.latencies)-1]; most < 800*ms {
		t.Errorf("the last job took %v", most)
	}
}

// An interrupt in the middle of a run ends all that was started.
func TestInterrupt(t *testing.T) {
	bin := t.TempDir()
	if err := programs.Build(t.Context(), bin, "broker", "worker"); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	p := newPlan(lss, 100, 1, 1, 100)
	l := lab{plan: p, set: programs.Set{Dir: bin}, printed: func(line string) {
		if strings.Contains(line, `"msg":"answered"`) { // the first of them
			interrupt()
		}
	}}
	if _, err := l.run(ctx, roundRobin, p.inTurn().types); err == nil {
		t.Error("an interrupted run has figures")
	}
	started := l.set.Started()
	if len(started) != 4 {
		t.Errorf("%d programs were started", len(started))
	}
	for _, p := range started {
		select {
		case <-p.Gone():
		default:
			t.Errorf("%s is not gone", p.Name)
		}
	}
}
