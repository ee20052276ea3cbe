package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/stats"
	"balancelab/internal/version"
)

// The client's report and its rows, /status.json, /metrics and the broker's log
// count the same things. In a run with everything that can be counted (failures,
// requests that are handed on, that wait, that give up waiting; clients that
// leave, that send rubbish, that send nothing) they agree to the last request.
func TestOneClock(t *testing.T) {
	t.Parallel()
	requests := 20_000
	if testing.Short() || version.RaceDetector {
		requests = 4_000
	}
	status := newClock(t, "-redispatch").run(requests)
	for _, name := range append(happened, "redispatched", "Worker-3 answered round_robin") {
		if status[name] == 0 {
			t.Errorf("%s: there was none", name)
		}
	}
}

// The same, where a failed attempt is the end of its request, and where a worker
// is removed meanwhile.
func TestOneClockAtMostOnce(t *testing.T) {
	t.Parallel()
	c := newClock(t, "-control")
	c.removes = "Worker-3"
	status := c.run(2_000)
	for _, name := range append(happened, "round_robin failed: refusal", "round_robin failed: reset", "removed workers answered round_robin") {
		if status[name] == 0 {
			t.Errorf("%s: there was none", name)
		}
	}
}

// happened are names of what every run must have, for the comparison to mean
// something.
var happened = []string{
	"round_robin Long answered", "round_robin Short answered", "least_connections Long answered", "least_connections Short answered",
	"round_robin failed", "least_connections failed",
	"round_robin left", "least_connections left", // at workers, and in the queue
	"attempts failed: refused", "attempts failed: reset", "attempts failed: no answer", "attempts failed: refusal",
	"Worker-1 failed", "Worker-1 withdrawn", "Worker-4 failed", "waited", "refused", "no request",
}

// run has a load run of that many requests, and all the rest beside it. It
// compares what all places say, and returns what the status says.
func (c *clock) run(requests int) ledger {
	c.t.Helper()
	c.leaveWorking(2 * len(c.fronts))
	ran := make(chan result, 1)
	go func() {
		r, err := finish("client", "-broker", c.broker.addr, "-n", fmt.Sprint(requests), "-c", "64", "-q", "-csv", "-", "-json",
			"-mix", "Long=1,Short=3", "round_robin,least_connections")
		if err != nil {
			c.t.Error(err)
		}
		ran <- r
	}()
	load := c.beside(ran)
	if load.code != 1 {
		c.t.Errorf("the load run: exit %d, want 1, since some failed; standard error %.1000q", load.code, load.stderr)
	}
	snapshot, metrics := c.settled(requests)
	c.broker.terminate()
	forwarded, begun := c.begun()

	status := statusLedger(&snapshot)
	log, summary := logLedgers(c.broker.events(), c.removes)
	for _, name := range status.inLog() {
		log.add(0, name) // what it does not mention has not happened
	}
	compare(c.t, []book{
		{"the report and its rows", clientLedger(c.t, load)},
		{"/status.json", status},
		{"/metrics", metricsLedger(c.t, metrics)},
		{"the log", log},
		{"its summary", summary},
		{"the test", c.known(requests)},
		{"the front", ledger{"Worker-1 jobs": forwarded}},
		{"the worker", ledger{"Worker-1 jobs": begun}},
	})
	c.adds(&snapshot)
	return status
}

// A clock is a lab in which all that can be counted happens. Its three workers
// fail now and then, and the fourth is not there.
type clock struct {
	*lab
	page    string
	removes string // the worker that is removed meanwhile; "" for none
	fronts  []*front
	beat    chan struct{} // receives a value for every 50 jobs of a front, which waits until it is taken
	over    chan struct{} // closed when nobody takes it any more
	hold    sync.RWMutex  // no front answers while it is held for writing

	leavers, rubbish, probes int // clients that were sent beside the load run
}

// A front is a worker that fails now and then, and a real one may stand behind
// it.
type front struct {
	*fake
	forwarded atomic.Int64 // jobs given to the real worker
}

func newClock(t *testing.T, brokerFlags ...string) *clock {
	t.Helper()
	c := &clock{beat: make(chan struct{}), over: make(chan struct{})}
	worker := startWorker(t, 1, "127.0.0.1:0", "-long", "2ms", "-short", "0s")
	var addrs []string
	for _, behind := range []string{worker.addr, "", ""} {
		f := newFront(t, c, behind)
		c.fronts, addrs = append(c.fronts, f), append(addrs, f.addr)
	}
	c.lab = newBroker(t, append(addrs, closedPort(t)), append(brokerFlags, "-log", "json", "-status", "127.0.0.1:0",
		"-max-per-worker", "4", "-queue-timeout", "1s")...) // longer than it takes to see that a client has left
	c.page = c.broker.line(`"msg":"status page","url":"http://([^/"]+)/"`)[1]
	c.workers = []*program{worker}
	return c
}

// newFront starts a front before the worker at an address; if that is "" the
// front answers itself. One of four jobs fails, in one of three ways in turn.
func newFront(t *testing.T, c *clock, behind string) *front {
	t.Helper()
	f := new(front)
	var jobs atomic.Int64
	f.fake = newFake(t, func(_ *fake, conn *net.TCPConn) {
		job := make([]byte, 1024)
		size, err := conn.Read(job)
		if err != nil {
			return
		}
		n := jobs.Add(1)
		if n%50 == 0 {
			select {
			case c.beat <- struct{}{}:
			case <-c.over:
			}
		}
		c.hold.RLock()
		defer c.hold.RUnlock()
		switch n % 12 {
		case 0:
			conn.SetLinger(0)
		case 4: // no answer
		case 8:
			io.WriteString(conn, "Error: busy")
		default:
			answer := response
			if behind != "" {
				f.forwarded.Add(1)
				if answer, err = say(behind, string(job[:size])); err != nil {
					t.Errorf("a worker that does not fail: %v", err)
				}
			}
			io.WriteString(conn, answer)
		}
	})
	return f
}

// leaveWorking has n clients leave while workers have their jobs.
func (c *clock) leaveWorking(n int) {
	c.t.Helper()
	c.hold.Lock()
	defer c.hold.Unlock()
	var clients []*net.TCPConn
	for range n {
		clients = append(clients, c.ask(longRoundRobin))
	}
	c.until("all jobs to be at workers", func(s *stats.Snapshot) bool {
		at := 0
		for _, w := range s.Workers[:len(c.fronts)] {
			at += w.InFlight
		}
		return at == n
	})
	for _, conn := range clients {
		c.leave(conn)
	}
	c.until("all jobs to be withdrawn", func(s *stats.Snapshot) bool { return s.Totals.ClientsGone == n })
}

// ask sends a request and does not wait for the answer.
func (c *clock) ask(request string) *net.TCPConn {
	c.t.Helper()
	conn := connect(c.t, c.broker.addr)
	send(c.t, conn, request)
	return conn
}

// leaveUnanswered has a client leave at once. It leaves before it has its answer,
// which may come, or may not.
func (c *clock) leaveUnanswered(request string) {
	c.t.Helper()
	c.hold.Lock()
	defer c.hold.Unlock()
	c.leave(c.ask(request))
}

// leave resets the connection of a client. The workers must be held: a client
// that has its answer does not leave early.
func (c *clock) leave(conn *net.TCPConn) {
	c.leavers++
	conn.SetLinger(0)
	conn.Close()
}

// beside sends, while the load run lasts, clients that are no good ones. Once it
// holds the workers until requests have given up waiting for them.
func (c *clock) beside(ran <-chan result) result {
	c.t.Helper()
	defer close(c.over)
	for n := 0; ; n++ {
		select {
		case r := <-ran:
			return r
		case <-c.beat:
		case <-time.After(patience):
			c.t.Fatal("the load run does not end")
		}
		switch n % 4 {
		case 0:
			c.leaveUnanswered(longLeast)
		case 1:
			c.leaveUnanswered(shortRoundRobin)
		case 2:
			c.rubbish++
			isRefusal(c.t, c.say("AppID:Medium:round_robin"))
		case 3:
			c.probes++
			connect(c.t, c.broker.addr).Close()
		}
		switch {
		case n == 4:
			c.holdUp()
		case n == 8 && c.removes != "":
			if r := run(c.t, "broker", "workers", "-status", c.page, "remove", c.removes); r.code != 0 {
				c.t.Errorf("removing a worker: %+v", r)
			}
		}
	}
}

// holdUp holds the workers until requests have given up waiting for them, and
// one was withdrawn whose client left while it waited.
func (c *clock) holdUp() {
	c.t.Helper()
	c.hold.Lock()
	defer c.hold.Unlock()
	c.until("requests to give up waiting", func(s *stats.Snapshot) bool {
		c.leave(c.ask(shortLeast))
		late := 0
		for _, cause := range s.Causes {
			if cause.Cause == stats.CausedByQueueTimeout.String() {
				late += cause.Requests[protocol.RoundRobin] + cause.Requests[protocol.LeastConnections]
			}
		}
		return late > 0 && s.Totals.Withdrawn[protocol.LeastConnections] > 0
	})
}

// settled returns what the page's address says when every client that was sent
// is accounted for.
func (c *clock) settled(requests int) (stats.Snapshot, string) {
	c.t.Helper()
	s := c.until("everything to be counted", func(s *stats.Snapshot) bool {
		return s.Totals.Connected == requests+c.leavers+c.rubbish+c.probes && s.Clients == 0 &&
			s.Totals.ClientsGone+s.Totals.NoRequest == c.leavers+c.probes
	})
	return s, string(c.get("/metrics"))
}

// until asks for the status again and again, until it is as wanted. If it never
// is, the test has failed, and goes on: what follows says more.
func (c *clock) until(what string, wanted func(*stats.Snapshot) bool) stats.Snapshot {
	c.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		var s stats.Snapshot
		if err := json.Unmarshal(c.get("/status.json"), &s); err != nil {
			c.t.Fatal(err)
		}
		if wanted(&s) {
			return s
		}
		if time.Now().After(deadline) {
			c.t.Errorf("waited in vain for %s: %+v", what, s.Totals)
			return s
		}
	}
}

func (c *clock) get(path string) []byte {
	c.t.Helper()
	reply, err := http.Get("http://" + c.page + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s, %v", path, reply.Status, err)
	}
	return text
}

// begun returns how many jobs the first front has given to the real worker, and
// how many that has begun. The last of them, whose clients have left, may still be
// on their way.
func (c *clock) begun() (forwarded, begun int) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		forwarded, begun = int(c.fronts[0].forwarded.Load()), c.workers[0].jobs()
		if forwarded == begun || time.Now().After(deadline) {
			return forwarded, begun
		}
	}
}

// known is what the test itself knows.
func (c *clock) known(requests int) ledger {
	return ledger{
		"connected":     requests + c.leavers + c.rubbish + c.probes,
		"sent":          requests,
		"refused":       c.rubbish,
		"left":          c.leavers,
		"no request":    c.probes,
		"clients":       0,
		"lines dropped": 0,
	}
}

// adds checks that the parts of a snapshot add up to the whole.
func (c *clock) adds(s *stats.Snapshot) {
	c.t.Helper()
	gone := stats.Worker{Name: "removed workers", Assigned: s.Removed.Assigned, Answered: s.Removed.Answered, Failed: s.Removed.Failed, Withdrawn: s.Removed.Withdrawn}
	attempts := 0
	for _, w := range append(s.Workers, gone) {
		sum, inFlight := w.Failed+w.Withdrawn, w.InFlight
		for _, n := range w.Answered {
			sum += n
		}
		for _, n := range w.InFlightOf {
			inFlight += n
		}
		if sum != w.Assigned || inFlight != 0 {
			c.t.Errorf("%s: %d assigned, %d over; in flight: %d, %v", w.Name, w.Assigned, sum, w.InFlight, w.InFlightOf)
		}
		attempts += w.Failed
	}
	for _, cause := range s.Causes {
		attempts -= cause.Attempts
	}
	failed, left := 0, 0
	for a, n := range s.Totals.Failed {
		failed, left = failed+n, left+s.Totals.Withdrawn[a]
	}
	if over := s.Totals.Answered + failed + left + s.Totals.Refused + s.Totals.NoRequest; over != s.Totals.Connected || attempts != 0 {
		c.t.Errorf("%d connected, %d over; %d more attempts failed by worker than by cause", s.Totals.Connected, over, attempts)
	}
	m := s.LastMinute
	if s.Time.Sub(s.Started) < 59*time.Second && (m.Answered != s.Totals.Answered || m.Failed != failed+s.Totals.Refused) {
		c.t.Errorf("the last minute, which is all: %d answered, %d failed; in all: %d and %d", m.Answered, m.Failed, s.Totals.Answered, failed+s.Totals.Refused)
	}
}
