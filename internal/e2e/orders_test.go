package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"balancelab/internal/stats"
)

// page returns the address of the broker's live page.
func (l *lab) page() string {
	l.t.Helper()
	return l.broker.line(`^\[Broker\] Status page on http://([^/]+)/`)[1]
}

// order runs "broker workers", which must exit with code, and returns what it
// prints, on standard error if it fails.
func (l *lab) order(code int, args ...string) string {
	l.t.Helper()
	got := run(l.t, "broker", append([]string{"workers", "-status", l.page()}, args...)...)
	text := got.stdout
	if code != 0 {
		text = got.stderr
	}
	if got.code != code || got.stdout+got.stderr != text {
		l.t.Errorf("broker workers %q: %+v, want exit code %d", args, got, code)
	}
	return strings.TrimSuffix(text, "\n")
}

// orders gives one order after another, each of which has its answer behind it.
func (l *lab) orders(code int, pairs ...string) {
	l.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := l.order(code, strings.Fields(pairs[i])...); got != pairs[i+1] {
			l.t.Errorf("broker workers %s: %q\nwant %q", pairs[i], got, pairs[i+1])
		}
	}
}

// snapshot returns what /status.json says.
func (l *lab) snapshot() stats.Snapshot {
	l.t.Helper()
	s, err := look(l.page())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// look is snapshot for any goroutine.
func look(page string) (s stats.Snapshot, err error) {
	reply, err := http.Get("http://" + page + "/status.json")
	if err != nil {
		return s, err
	}
	defer reply.Body.Close()
	return s, json.NewDecoder(reply.Body).Decode(&s)
}

// Each word of "broker workers" does what it says: what it prints is read, and
// what it has done is seen in where the next requests go, and in the next
// /status.json.
func TestWordsOfBrokerWorkers(t *testing.T) {
	t.Parallel()
	l := newLab(t, "-status", "127.0.0.1:0", "-control", "-keepalive")
	fourth := startWorker(t, 4, "127.0.0.1:0", quick...)
	l.worksBy(shortRoundRobin, 3) // keeps a connection to each
	want := "name address state weight limit in flight"
	for i, w := range l.workers {
		want += fmt.Sprintf("\nWorker-%d %s up 1 none 0", i+1, w.addr)
	}
	if got := regexp.MustCompile(" +").ReplaceAllString(l.order(0), " "); got != want {
		t.Errorf("the list is\n%s\nwant\n%s", got, want)
	}
	l.orders(0, "drain Worker-2", "Worker-2 has drained")
	l.goTo(shortRoundRobin, 1, 3, 1, 3)
	l.goTo(shortLeast, 1, 3, 1, 3)
	if w := l.snapshot().Workers[1]; w.State != "drained" {
		t.Errorf("/status.json says %+v", w)
	}
	l.orders(0, "up Worker-2", "Worker-2 is up", "weight Worker-2 2", "Worker-2 has a weight of 2")
	l.goTo(shortRoundRobin, 2, 1, 3, 2) // as with weights 1, 2, 1 from the beginning
	l.orders(0, "add "+fourth.addr+"=3/4", fmt.Sprintf("Worker-4 is added: %s, weight 3, at most 4 requests at once", fourth.addr),
		"limit Worker-4 1", "Worker-4 gets at most 1 request at once",
		"limit Worker-4 0", "Worker-4 gets any number of requests at once")
	if w := l.snapshot().Workers; len(w) != 4 || w[3].Addr != fourth.addr || w[3].Weight != 3 || w[1].Weight != 2 {
		t.Errorf("/status.json says %+v", w)
	}
	l.orders(0, "remove Worker-1", "Worker-1 is removed", "remove -wait Worker-3", "Worker-3 is removed", "weight Worker-4 2", "Worker-4 has a weight of 2")
	l.goTo(shortRoundRobin, 2, 4, 2, 4)
	l.orders(0, "add "+l.workers[0].addr, fmt.Sprintf("Worker-5 is added: %s, weight 1, no limit", l.workers[0].addr))
	s := l.snapshot()
	if s.Totals.Answered != l.answered || len(s.Workers) != 3 || s.Workers[2].Name != "Worker-5" {
		t.Errorf("/status.json says %d answered, want %d; %+v", s.Totals.Answered, l.answered, s.Workers)
	}

	const reason = "broker workers "
	l.orders(1, "drain Worker-1", reason+"drain: no such worker: Worker-1; there are Worker-2, Worker-4, Worker-5",
		"add "+fourth.addr, reason+"add: there is a worker with this address: Worker-4")
	l.broker.terminate()
	l.broker.line(`^\[Broker\] Removed workers: answered \d+ by round_robin, 4 by least_connections; failed 0$`)
}

// goTo sends requests, one after another, which must go to these workers.
func (l *lab) goTo(request string, workers ...int) {
	l.t.Helper()
	before := len(l.broker.linesLike(anyAnswer, l.answered))
	l.worksBy(request, len(workers))
	var got []int
	for _, m := range l.broker.linesLike(anyAnswer, before+len(workers))[before:] {
		got = append(got, int(m[1][0]-'0'))
	}
	if fmt.Sprint(got) != fmt.Sprint(workers) {
		l.t.Errorf("%d requests %s went to %v, want %v", len(workers), request, got, workers)
	}
}

// A worker that is busy drains when it is told to, and -wait waits for it. Then
// nothing is open to it.
func TestDrainWaits(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"drain", "remove"} {
		w := newHeldWorker(t)
		l := newBroker(t, []string{w.addr, closedPort(t)}, "-status", "127.0.0.1:0", "-control")
		answer := make(chan string, 1)
		go func() {
			text, _ := say(l.broker.addr, shortRoundRobin)
			answer <- text
		}()
		await(t, "the request", w.got)
		page := l.page()
		waits := launch(t, "broker", set.Command("broker", "workers", "-status", page, word, "-wait", "Worker-1"))
		waits.line(`^Worker-1 drains.*; 1 request is in flight there$`)
		l.order(0, word, "Worker-1") // once more, and without -wait
		if state := l.snapshot().Workers[0].State; state != "draining" || waits.exited() {
			t.Errorf("%s: it is %s; -wait has returned: %v", word, state, waits.exited())
		}
		close(w.release)
		if got := <-answer; got != response {
			t.Errorf("%s: the answer is %q", word, got)
		}
		if code := waits.exit(); code != 0 {
			t.Errorf("%s: exit code %d", word, code)
		}
		if _, there := stateOf(l.snapshot(), "Worker-1"); there != (word == "drain") {
			t.Errorf("%s: it is there: %v", word, there)
		}
		l.broker.terminate()
	}
}

func stateOf(s stats.Snapshot, name string) (state string, there bool) {
	for _, w := range s.Workers {
		if w.Name == name {
			return w.State, true
		}
	}
	return "", false
}

// Without a limit, requests of a broker whose workers all drain are refused with
// the cure; with one, they wait until a worker is up.
func TestDrainAll(t *testing.T) {
	t.Parallel()
	l := newLab(t, "-status", "127.0.0.1:0", "-control")
	for i := 1; i <= 3; i++ {
		l.order(0, "drain", fmt.Sprint("Worker-", i))
	}
	if got, want := l.say(shortLeast), "Error: no worker available: all drain or were removed (see broker workers)"; got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	l.order(0, "limit", "Worker-1", "5")
	answer := make(chan string, 1)
	go func() {
		text, _ := say(l.broker.addr, shortLeast)
		answer <- text
	}()
	for l.snapshot().Queue.Waiting == 0 && t.Context().Err() == nil {
		if len(answer) > 0 {
			t.Fatalf("answered with %q, though all drain", <-answer)
		}
	}
	l.order(0, "up", "Worker-1")
	if got := <-answer; got != response {
		t.Errorf("the answer is %q", got)
	}
	l.broker.terminate()
}

// Orders that can't be given say why, and what to do.
func TestOrdersNeedControl(t *testing.T) {
	t.Parallel()
	l := newLab(t, "-status", "127.0.0.1:0")
	if got, want := l.order(1), "broker workers: this broker takes no orders: start it with -control"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	empty := closedPort(t)
	got := run(t, "broker", "workers", "-status", empty, "drain", "Worker-1")
	if want := fmt.Sprintf("broker workers drain: no status page on %s: start the broker with -status %[1]s -control, or name another address with -status\n", empty); got != (result{"", want, 1}) {
		t.Errorf("%+v, want %s", got, want)
	}
}

// -check binds nothing: the addresses of a running broker are no reason against a
// command line.
func TestCheck(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.close()
	_, port, _ := net.SplitHostPort(taken.addr)
	got := run(t, "broker", "-check", "-listen", taken.addr, "-status", taken.addr, "-control", "-workers", "localhost:"+port+",127.0.0.1:9003=3/4")
	if want := "The command line is right, and the hosts of 2 workers are found. Nothing was started.\n"; got != (result{want, "", 0}) {
		t.Errorf("%+v", got)
	}
	got = run(t, "broker", "-check", "-workers", "localhost:9002,no-such-host.invalid:9003")
	if want := `broker: -workers: Worker-2: the host of no-such-host.invalid:9003 is not found: `; got.code != 2 || got.stdout != "" ||
		!strings.HasPrefix(got.stderr, want) || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

// A wrong order is answered with one line that says where the usage is, and the
// broker is not asked.
func TestWrongOrders(t *testing.T) {
	t.Parallel()
	for order, says := range map[string]string{
		"workers -status 8080":            `-status: "8080" is no address: want host:port, such as 127.0.0.1:8080 (see broker workers -h)`,
		"workers stop Worker-1":           `"stop" is no order: want add, drain, up, weight, limit or remove (see broker workers -h)`,
		"workers drain":                   `<name> is missing (see broker workers drain -h)`,
		"workers up -wait Worker-1":       `flag provided but not defined: -wait (see broker workers up -h)`,
		"workers drain Worker-1 -wait":    `flags come before the arguments: put "-wait" before "Worker-1" (see broker workers drain -h)`,
		"workers remove Worker-1 2":       `"2" is one argument too many (see broker workers remove -h)`,
		"workers weight Worker-1":         `<n> is missing (see broker workers weight -h)`,
		"workers weight Worker-1 much":    `"much" is no whole number (see broker workers weight -h)`,
		"workers weight Worker-1 0":       `a weight must be from 1 to 1000: 0 (see broker workers weight -h)`,
		"workers limit Worker-1 1000001":  `a limit must be from 0, which means none, to 1000000: 1000001 (see broker workers limit -h)`,
		"workers add 127.0.0.1":           `"127.0.0.1" is no address: want host:port, such as 127.0.0.1:8001 (see broker workers add -h)`,
		"workers add 127.0.0.1:9005=2/-1": `"127.0.0.1:9005=2/-1" has no limit from 0 to 1000000: want host:port=weight/limit (see broker workers add -h)`,
	} {
		got := run(t, "broker", strings.Fields(order)...)
		if _, line, _ := strings.Cut(got.stderr, ": "); got.code != 2 || got.stdout != "" || line != says+"\n" {
			t.Errorf("broker %s: %+v\nwant %s", order, got, says)
		}
	}
}
