package simulate

import (
	"errors"
	"slices"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/control"
	"balancelab/internal/protocol"
)

// An outcome is what a run has come to.
type outcome struct {
	faults   []string
	history  history
	lasted   time.Duration
	requests int
	troubles int
}

// conclude checks what must hold when all is over.
func (l *lab) conclude() *outcome {
	c := l.checker
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	l.concludeClients()
	l.concludeJobs()
	l.concludePool()
	l.concludePage()
	return &outcome{
		faults: c.faults, history: c.history, lasted: l.net.now(), requests: len(c.requests), troubles: len(l.troubles),
	}
}

func (l *lab) concludeClients() {
	for _, c := range l.all {
		if err := c.check(); err != nil {
			l.wrong("client %d (%s): %v", c.number, behaviourNames[c.behaviour], err)
		}
		if c.conn == nil {
			continue
		}
		r := l.requests[c.conn.local]
		switch {
		case r == nil:
		case r.lost && c.answered:
			l.wrong("%v: its broker crashed, and it read %q", r, c.text)
		case r.lost:
		case r.done && c.ended > r.doneAt+2*time.Second && !c.excused():
			l.wrong("%v: it was over at %v, and the client knew it at %v", r, r.doneAt, c.ended)
		case !r.done:
			l.wrong("%v: its exchange has no end", r)
		case c.answered && (r.failure != nil || c.text != r.answer):
			l.wrong("%v: it read %q, and not %q", r, c.text, r.answer)
		case !c.answered && r.failure != nil && !c.excused() && c.text != protocol.Refusal(r.text) && !errors.Is(r.failure, protocol.ErrHTTP):
			l.wrong("%v: it read %q, and not that %s", r, c.text, r.text)
		case !c.answered && r.failure == nil && !c.excused():
			l.wrong("%v: it was answered, and read %q", r, c.text)
		}
	}
}

// concludeJobs checks that nothing ran twice. With -redispatch it may, but not at
// the same worker, unless the request had waited in between, or the worker had
// become another one.
func (l *lab) concludeJobs() {
	meetOnce := !slices.ContainsFunc(l.workers, func(w workerPlan) bool { return w.Limit > 0 }) &&
		!slices.ContainsFunc(l.troubles, func(t trouble) bool { return t.kind == relimit || t.kind == addRemove })
	for _, r := range l.requests {
		begun, most, total := map[string]int{}, 0, 0
		for _, j := range r.jobs {
			if j.begun {
				begun[j.host]++
				most = max(most, begun[j.host])
				total++
			}
		}
		if total > 1 && !l.plan.broker.redispatch || most > 1 && meetOnce {
			l.wrong("%v: its job was begun %d times: %v", r, total, begun)
		}
	}
}

func (l *lab) concludePool() {
	s := l.life.pool.Snapshot()
	for _, w := range s.Workers {
		if w.InFlight != 0 || w.Assigned != answeredBy(&w)+w.Failed+w.Withdrawn {
			l.wrong("%s has %d in flight at the end, of %d: %+v", w.Name, w.InFlight, w.Assigned, w)
		}
	}
	if s.Queue.Waiting != 0 {
		l.wrong("at the end %d wait", s.Queue.Waiting)
	}
}

// concludePage compares the page's figures with what was counted.
func (l *lab) concludePage() {
	s := l.life.recorder.Snapshot()
	compare := func(what string, page, counted int) {
		if page != counted {
			l.wrong("the page says %d %s, and there were %d", page, what, counted)
		}
	}
	sum := func(of map[protocol.Approach]int) (n int) {
		for _, m := range of {
			n += m
		}
		return n
	}
	compare("clients", s.Totals.Connected, l.connected)
	compare("clients connected now", s.Clients, 0)
	compare("answers", s.Totals.Answered, l.answered)
	compare("answers of workers", s.Answered(protocol.RoundRobin)+s.Answered(protocol.LeastConnections), l.answered)
	compare("failed requests", sum(s.Totals.Failed), l.failed)
	compare("withdrawn requests", sum(s.Totals.Withdrawn), l.withdrawn)
	compare("refused texts", s.Totals.Refused, l.refused)
	compare("clients without a request", s.Totals.NoRequest, l.noRequest)
	for _, w := range s.Workers {
		for t, n := range w.InFlightOf {
			compare(t.String()+" requests in flight at "+w.Name, n, 0)
		}
	}
}

// allUp checks that no worker is left out.
func (l *lab) allUp() {
	for _, w := range l.current().pool.Snapshot().Workers {
		if w.State != balance.Up {
			l.fault("all is well, and %s is %v", w.Name, w.State)
		}
	}
}

// The rest is what the lab tells the checker.

// begins says that a broker is started. Its workers are those of its flags.
func (c *checker) begins(b *brokerLife) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = b
	for _, w := range c.lab.workers {
		c.addrs[w.Name] = w.Addr
	}
}

// current returns the broker that was started last.
func (c *checker) current() *brokerLife {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life
}

// crashed ends a broker's connections. Nothing that is left of it is listened to,
// and nothing is known any more of what it has counted and was ordered.
func (c *checker) crashed(b *brokerLife) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touch()
	c.tally, c.again, c.line = tally{}, 0, nil
	clear(c.resting)
	clear(c.health)
	clear(c.turns)
	clear(c.chosen)
	for _, r := range c.requests {
		r.lost = r.lost || !r.done
	}
	b.gone = true
	b.net.crash(brokerHost)
}

func (c *checker) ordered(w control.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touch()
	c.freed = c.now()
	if w.Name != "" {
		c.addrs[w.Name] = w.Addr
	}
}

func (c *checker) note(who, what, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.add(c.now(), nil, who+": "+what, detail)
}

func (c *checker) stopping(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopAt = at
}

// stoppedWith checks how the broker ended.
func (c *checker) stoppedWith(err error) {
	const more = 10 * time.Second // to tell those that are cut off
	if took := c.now() - c.stopAt; took > c.lab.plan.broker.drain+more {
		c.fault("the stop took %v", took)
	}
	if err != nil && c.lab.plan.broker.drain >= time.Minute {
		c.fault("the broker ended with %v, and there was time", err)
	}
	c.note("broker", "has stopped", "")
}

// drainedWith checks how a worker ended that was told to stop.
func (c *checker) drainedWith(w *workerLife, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong("%s ended with %v, and there was time", w.host, err)
	}
	if w.begun != w.done {
		c.wrong("%s has begun %d jobs, and done %d", w.host, w.begun, w.done)
	}
}

// rest says that a worker has drained, as b knows, and is not asked by b until it no
// longer rests.
func (c *checker) rest(b *brokerLife, host string, resting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.gone {
		c.touch()
		c.resting[host] = resting
	}
}

// begin reports whether a trouble of a program's life may begin: one at a time.
func (c *checker) begin(host string, t trouble) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.kind.passive() {
		return true
	}
	free := !c.busy[host]
	c.busy[host] = true
	return free
}

func (c *checker) finish(host string, t trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.kind.passive() {
		c.busy[host] = false
	}
}

// lastNumber returns the number of one more client.
func (c *checker) lastNumber() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra++
	return 1_000_000 + c.extra
}

// connects says that a client has connected.
func (c *checker) connects(client *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byAddr[client.conn.local] = client
	if r := c.requests[client.conn.local]; r != nil {
		r.client = client
	}
	c.history.add(c.now(), &request{client: client}, "has connected", behaviourNames[client.behaviour])
}

// came says that a client has ended.
func (c *checker) came(client *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client.extra {
		c.all = append(c.all, client)
	}
	detail := client.text
	if client.err != nil {
		detail = client.err.Error()
	}
	c.history.add(c.now(), &request{client: client}, "reads", detail)
}
