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

	"balancelab/internal/programs"
	"balancelab/internal/stats"
)

// The client's report and its rows, /status.json, /metrics and the broker's log
// count the same things. In a run with everything that can be counted (failures,
// requests that are handed on, that wait, that give up waiting; clients that
// leave, that send rubbish, that send nothing) they agree to the last request.
func TestOneClock(t *testing.T) {
	t.Parallel()
	requests := 20_000
	if testing.Short() || programs.RaceDetector {
		requests = 4_000
	}
	c := newClock(t)
	c.leaveWorking(2 * len(c.fronts))
	ran := make(chan result, 1)
	go func() {
		r, err := finish("client", "-broker", c.broker.addr, "-n", fmt.Sprint(requests), "-c", "64", "-q", "-csv", "-", "-json",
			"-mix", "Long=1,Short=3", "round_robin,least_connections")
		if err != nil {
			t.Error(err)
		}
		ran <- r
	}()
	run := c.beside(ran)
	if run.code != 1 {
		t.Errorf("the load run: exit %d, want 1, since some failed; standard error %.1000q", run.code, run.stderr)
	}
	snapshot, metrics := c.settled(requests)
	begun := c.workers[0].jobs() // which sends the worker itself an empty line, and the broker nothing
	c.broker.terminate()

	status := statusLedger(&snapshot)
	log, summary := logLedgers(c.broker.events())
	for _, name := range status.inLog() {
		log.add(0, name) // what it does not mention has not happened
	}
	compare(t, []book{
		{"the report and its rows", clientLedger(t, run)},
		{"/status.json", status},
		{"/metrics", metricsLedger(t, metrics)},
		{"the log", log},
		{"its summary", summary},
		{"the test", c.known(requests)},
		{"the worker", ledger{"Worker-1 jobs begun": begun}},
	})
	c.adds(&snapshot)
	for _, name := range happened {
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
	"Worker-1 failed", "Worker-1 withdrawn", "Worker-4 failed", "redispatched", "waited", "refused", "no request",
}

// A clock is a lab in which all that can be counted happens. Its three workers
// fail now and then, and the fourth is not there.
type clock struct {
	*lab
	page   string
	fronts []*front
	beat   chan struct{} // receives a value now and then while the fronts get jobs
	hold   sync.RWMutex  // no front answers while it is held for writing

	leavers, rubbish, probes int // clients that were sent beside the load run
}

// A front is a worker that fails now and then, and a real one may stand behind
// it.
type front struct {
	*fake
	forwarded atomic.Int64 // jobs given to the real worker
}

// mostAtOnce is how many requests a worker gets at once.
const mostAtOnce = 4

func newClock(t *testing.T) *clock {
	t.Helper()
	c := &clock{beat: make(chan struct{}, 1)}
	real := startWorker(t, 1, "127.0.0.1:0", "-long", "2ms", "-short", "0s")
	var addrs []string
	for _, behind := range []string{real.addr, "", ""} {
		f := newFront(t, c, behind)
		c.fronts, addrs = append(c.fronts, f), append(addrs, f.addr)
	}
	c.page = closedPort(t)
	c.lab = newBroker(t, append(addrs, closedPort(t)), "-log", "json", "-status", c.page, "-redispatch",
		"-max-per-worker", fmt.Sprint(mostAtOnce), "-queue-timeout", "500ms") // longer than it takes to see that a client has left
	c.workers = []*program{real}
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
			default:
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
	c.hold.Unlock()
}

// ask sends a request and does not wait for the answer.
func (c *clock) ask(request string) *net.TCPConn {
	c.t.Helper()
	conn := connect(c.t, c.broker.addr)
	send(c.t, conn, request)
	return conn
}

// leave resets the connection of a client.
func (c *clock) leave(conn *net.TCPConn) {
	c.leavers++
	conn.SetLinger(0)
	conn.Close()
}

// beside sends, while the load run lasts, clients that are no good ones. Once it
// holds the workers until requests have given up waiting for them.
func (c *clock) beside(ran <-chan result) result {
	c.t.Helper()
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
			c.leave(c.ask(longLeast))
		case 1:
			c.leave(c.ask(shortRoundRobin))
		case 2:
			c.rubbish++
			isRefusal(c.t, c.say("AppID:Medium:round_robin"))
		case 3:
			c.probes++
			connect(c.t, c.broker.addr).Close()
		}
		if n == 4 {
			c.holdUp()
		}
	}
}

// holdUp holds the workers until requests have given up waiting for them, and
// has clients leave meanwhile that wait, too.
func (c *clock) holdUp() {
	c.t.Helper()
	c.hold.Lock()
	defer c.hold.Unlock()
	for range 20 {
		c.leave(c.ask(shortLeast))
	}
	c.until("requests to give up waiting", func(s *stats.Snapshot) bool {
		for _, cause := range s.Causes {
			if cause.Cause == stats.CausedByQueueTimeout.String() {
				return cause.Requests[0]+cause.Requests[1] > 0
			}
		}
		return false
	})
}

// settled returns what the page's address says when every client that was sent
// is accounted for, or when patience is at its end: then the comparison says what
// is missing.
func (c *clock) settled(requests int) (stats.Snapshot, string) {
	c.t.Helper()
	s := c.until("everything to be counted", func(s *stats.Snapshot) bool {
		return s.Totals.Connected == requests+c.leavers+c.rubbish+c.probes && s.Clients == 0 &&
			s.Totals.ClientsGone+s.Totals.NoRequest == c.leavers+c.probes
	})
	return s, string(c.get("/metrics"))
}

// until asks for the status again and again, until it is as wanted.
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
			c.t.Fatalf("waited in vain for %s: %+v", what, s.Totals)
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

// known is what the test itself knows.
func (c *clock) known(requests int) ledger {
	return ledger{
		"connected":           requests + c.leavers + c.rubbish + c.probes,
		"sent":                requests,
		"refused":             c.rubbish,
		"left":                c.leavers,
		"no request":          c.probes,
		"clients":             0,
		"lines dropped":       0,
		"Worker-1 jobs begun": int(c.fronts[0].forwarded.Load()),
	}
}

// adds checks that the parts of a snapshot add up to the whole.
func (c *clock) adds(s *stats.Snapshot) {
	c.t.Helper()
	assigned, ended, failed := 0, 0, 0
	for i, w := range s.Workers {
		sum := w.Failed + w.Withdrawn
		for _, n := range w.Answered {
			sum += n
		}
		if sum != w.Assigned || w.InFlight != 0 {
			c.t.Errorf("%s: %d assigned, %d over, %d in flight", w.Name, w.Assigned, sum, w.InFlight)
		}
		if i < len(c.fronts) && c.fronts[i].connections() > w.Assigned {
			c.t.Errorf("%s: %d assigned, %d connections", w.Name, w.Assigned, c.fronts[i].connections())
		}
		assigned, ended, failed = assigned+w.Assigned, ended+sum, failed+w.Failed
	}
	over := s.Totals.Answered + s.Totals.Refused + s.Totals.NoRequest
	for a, n := range s.Totals.Failed {
		over += n + s.Totals.Withdrawn[a]
	}
	attempts := 0
	for _, cause := range s.Causes {
		attempts += cause.Attempts
	}
	if over != s.Totals.Connected || attempts != failed || ended != assigned {
		c.t.Errorf("%d connected, %d over; %d attempts failed by cause, %d by worker", s.Totals.Connected, over, attempts, failed)
	}
}
