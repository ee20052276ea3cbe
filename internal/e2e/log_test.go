package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// events returns what a program with -log json has written: nothing but JSON,
// an event a line.
func (p *program) events() (all []map[string]any) {
	p.t.Helper()
	for _, line := range p.Stdout.Lines() {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.t.Fatalf("%s wrote a line that is no JSON: %q", p.Name, line)
		}
		all = append(all, e)
	}
	return all
}

// is checks some fields of an event; want are names and values by turns.
func is(t *testing.T, e map[string]any, want ...any) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := fmt.Sprint(e[want[i].(string)]); got != fmt.Sprint(want[i+1]) {
			t.Errorf("%v is %s, want %v, in %v", want[i], got, want[i+1], e)
		}
	}
}

// With -log json everything on standard output is an event, and an exchange's
// says whose it was, where it went, how long each part took, and how it ended.
func TestLogJSON(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-log", "json", "-short", "50ms")
	rude := newFake(t, func(f *fake, conn *net.TCPConn) { f.job(conn) })
	l := newBroker(t, []string{closedPort(t), w.addr, rude.addr}, "-log", "json")
	start := time.Now()
	l.say("AppID:Short:round_robin") // Worker-1 is not there
	took := time.Since(start).Seconds()
	l.say("AppID:Short:round_robin")
	isRefusal(t, l.say("AppID:Short:round_robin"), "closed without an answer")
	isRefusal(t, l.say("AppID:Medium:round_robin"), "Medium")
	l.broker.terminate()
	var msgs []string
	all := l.broker.events()
	for _, e := range all {
		msgs = append(msgs, fmt.Sprint(e["msg"]))
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["time"]))
		if err != nil || at.Before(start.Add(-patience)) || at.After(time.Now()) {
			t.Errorf("the time is %v (%v)", e["time"], err)
		}
	}
	if got, want := strings.Join(msgs, " "), "listening unreachable answered answered failed refused summary summary summary"; got != want {
		t.Fatalf("the events are %s, want %s", got, want)
	}
	is(t, all[1], "worker", "Worker-1")
	is(t, all[2], "type", "Short", "approach", "round_robin", "worker", "Worker-2", "attempts", 2, "answer", "Response from Worker")
	is(t, all[4], "type", "Short", "approach", "round_robin", "worker", "Worker-3", "attempts", 1)
	is(t, all[5], "type", "", "approach", "", "worker", "", "attempts", 0)
	serving, sum := all[2]["serving_seconds"].(float64), 0.0
	for _, part := range []string{"waiting_seconds", "connecting_seconds", "serving_seconds"} {
		sum += all[2][part].(float64)
	}
	if serving < .05 || sum > took {
		t.Errorf("a job of 50 ms: %v s of serving, %v s in all; its client waited %v s", serving, sum, took)
	}
	is(t, w.events()[1], "msg", "processing", "type", "Short")
}

// With -log off nothing is printed, whatever happens, but errors at start.
func TestLogOff(t *testing.T) {
	t.Parallel()
	here, there := freePort(t), freePort(t)
	w := launch(t, "worker", set.Command("worker", "-log", "off", "-listen", there, "-short", "5ms", "1"))
	accepts(t, there)
	b := launch(t, "broker", set.Command("broker", "-log", "off", "-listen", here, "-workers", closedPort(t)+","+there, "-status", "127.0.0.1:0"))
	accepts(t, here)
	for _, r := range volley(here, "AppID:Short:round_robin", 3) {
		if r.text != "Response from Worker" {
			t.Errorf("got %+v", r)
		}
	}
	for _, args := range [][]string{{"broker", "-log", "off", "-listen", here}, {"worker", "-log", "off", "-listen", here, "1"}} {
		if got := run(t, args[0], args[1:]...); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "in use") {
			t.Errorf("%s on a port that is taken: %+v", args[0], got)
		}
	}
	if answer, err := say(here, "AppID:Medium:round_robin"); err != nil || !strings.HasPrefix(answer, "Error: ") {
		t.Errorf("got %q, %v", answer, err)
	}
	for _, p := range []*program{b, w} {
		p.terminate()
		if text := p.Stdout.String() + p.complaints(); text != "" {
			t.Errorf("%s printed %q", p.Name, text)
		}
	}
}
