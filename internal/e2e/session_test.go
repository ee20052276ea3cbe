package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var anyPort = regexp.MustCompile(`(port |', )\d+`)

// shows wants exactly these lines on the program's standard output, with N for
// every port.
func (p *program) shows(want ...string) {
	p.t.Helper()
	got := anyPort.ReplaceAllString(p.Stdout.String(), "${1}N")
	if want := strings.Join(want, "\n") + "\n"; got != want {
		p.t.Errorf("%s showed\n%s\nwant\n%s", p.Name, got, want)
	}
}

// The course notes' session: six clients, one after another, and every line
// that any of the programs shows.
func TestCourseNotes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, c := range []struct {
		appType, approach string
		worker            int
	}{
		{"Short", "round_robin", 1},
		{"Long", "least_connections", 1},
		{"Long", "round_robin", 2},
		{"Short", "least_connections", 2},
		{"Short", "round_robin", 3},
		{"Short", "round_robin", 1},
	} {
		l.askFor(c.worker, c.appType, c.approach)
	}
	l.stop()
	const connected = "[Broker] Connected with ('127.0.0.1', N)"
	answer := func(n int) string { return fmt.Sprintf("[Broker] Response from Worker-%d: Response from Worker", n) }
	want := []string{
		"[Broker] Listening on port N...",
		connected, answer(1), connected, answer(1), connected, answer(2),
		connected, answer(2), connected, answer(3), connected, answer(1),
		"[Broker] Worker-1: answered 2 by round_robin, 1 by least_connections; failed 0; at most 1 at once",
		"[Broker] Worker-2: answered 1 by round_robin, 1 by least_connections; failed 0; at most 1 at once",
		"[Broker] Worker-3: answered 1 by round_robin, 0 by least_connections; failed 0; at most 1 at once",
	}
	l.broker.shows(want...)
	const (
		short = "[Worker] Processing short request from ('127.0.0.1', N)"
		long  = "[Worker] Processing long request from ('127.0.0.1', N)"
	)
	l.workers[0].shows("[Worker-1] Listening on port N...", short, long, short)
	l.workers[1].shows("[Worker-2] Listening on port N...", long, short)
	l.workers[2].shows("[Worker-3] Listening on port N...", short)
}

// Both approaches count each other's requests in flight, and round robin keeps
// its place all the same.
func TestMixedApproaches(t *testing.T) {
	t.Parallel()
	l, held := newHeldLab(t)
	for i, step := range []struct {
		request string
		worker  int
	}{
		{longRoundRobin, 1},
		{longLeast, 2},
		{longLeast, 3},
		{longRoundRobin, 2},
		{longRoundRobin, 3},
		{longLeast, 1},
		{longRoundRobin, 1},
		{longLeast, 2},
	} {
		send(t, connect(t, l.broker.addr), step.request)
		await(t, fmt.Sprintf("request %d at Worker-%d", i+1, step.worker), held[step.worker-1].got)
	}
	for _, h := range held {
		close(h.release)
	}
	l.broker.linesLike(`Response from Worker-\d`, 8)
	l.stopWith(8, 0)
}

// The order for weights 5, 1, 1 is the one that nginx publishes for its smooth
// weighted round robin.
func TestWeights(t *testing.T) {
	t.Parallel()
	a, b, c := goodWorker(t), goodWorker(t), goodWorker(t)
	l := newBroker(t, []string{a.addr + "=5", b.addr + "=1", c.addr})
	for range 2 {
		for _, n := range []int{1, 1, 2, 1, 3, 1, 1} {
			l.askFor(n, "Short", "round_robin")
		}
	}
	l.stopWith(14, 0)
}
