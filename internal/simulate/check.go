package simulate

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// A request is one exchange of the broker as the checker knows it.
type request struct {
	number   int     // in the order of the broker's clients
	client   *client // nil until the client is known
	accepted time.Duration

	queued bool          // it waits in the queue
	held   bool          // it has a place at worker
	sent   bool          // its job was sent there
	since  time.Duration // when the latest of these three came to be
	placed time.Duration // when it got its latest place
	worker string        // the latest
	tries  int           // how many places it had
	jobs   []*job

	lost    bool // its broker crashed before it was done
	done    bool
	doneAt  time.Duration
	answer  string
	failure *broker.Failure // nil if it was answered
	text    string          // of failure
	gone    bool            // its client had left
}

func (r *request) String() string {
	switch {
	case r == nil:
		return "somebody"
	case r.client != nil:
		return fmt.Sprintf("client %d", r.client.number)
	}
	return fmt.Sprintf("connection %d", r.number)
}

// latestJob returns the latest of the jobs that are known to be r's; nil if none is.
func (r *request) latestJob() *job {
	if len(r.jobs) == 0 {
		return nil
	}
	return r.jobs[len(r.jobs)-1]
}

// place is a number to sort by, the same in each replay.
func (r *request) place() int {
	switch {
	case r == nil:
		return 0
	case r.client != nil:
		return r.client.number
	}
	return -r.number
}

// A checker is told of every step of the broker and of the workers. It looks at
// each of them, and writes the history. What is checked in it is exact, since the clock is
// fake: a bound of 5 s is 5 s, and not a little more.
//
// Things that happen at the same nanosecond may be seen in another order than
// they happened. Such a finding is doubtful, and dropped.
type checker struct {
	lab *lab

	mu       sync.Mutex // guards all below; taken before the network's, never after
	all      []*client
	requests map[net.Addr]*request // by the client's address
	byAddr   map[net.Addr]*client
	conns    map[net.Addr]*jobs // of the connections to workers, by the broker's address
	serials  []*job             // all that were written: number n is at n-1
	written  []*job             // those of this moment of which it is not known whose they are
	resting  map[string]bool    // the hosts whose workers have drained by an order
	busy     map[string]bool    // the hosts with a trouble of which there is only one at a time
	addrs    map[string]string  // of the workers, by name
	extra    int                // numbers of clients that are not in the plan
	stopAt   time.Duration
	turns    turns
	health   map[string]*health       // by the worker's name
	chosen   map[string]time.Duration // when least connections chose a worker last
	life     *brokerLife              // the latest

	touched  time.Duration // when the latest step was that concerns the pool
	steps    int           // how many there were at that time
	freed    time.Duration // when a place was given back last, or an order was given
	leaving  *request      // the one that has given back its place last
	doubtful []string      // found at that time
	line     []*request    // those that wait and had no worker yet, in the order in which they came
	again    int           // requests that wait though they had a worker

	tally // since the broker was started

	faults  []string
	history history
}

// A tally counts what the broker's page counts.
type tally struct{ connected, answered, failed, refused, noRequest, withdrawn int }

func newChecker(l *lab) *checker {
	return &checker{
		lab: l, requests: map[net.Addr]*request{}, byAddr: map[net.Addr]*client{}, conns: map[net.Addr]*jobs{},
		resting: map[string]bool{}, busy: map[string]bool{}, addrs: map[string]string{},
		turns: turns{}, health: map[string]*health{}, chosen: map[string]time.Duration{},
	}
}

// fault notes that something is wrong.
func (c *checker) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong(format, args...)
}

// wrong is fault for a caller that holds the lock.
func (c *checker) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.faults = append(c.faults, fmt.Sprintf("at %v: %s", c.now(), text))
	c.history.add(c.now(), nil, "FAULT", text)
}

// doubt notes something that is wrong unless another step is taken at the same
// moment.
func (c *checker) doubt(format string, args ...any) {
	c.doubtful = append(c.doubtful, fmt.Sprintf(format, args...))
}

// touch is called for each step that concerns the pool, and counts those of a moment.
func (c *checker) touch() {
	if now := c.now(); now > c.touched {
		c.settle()
		c.touched, c.steps = now, 0
	}
	c.steps++
	c.doubtful = nil
}

// settle takes what was doubtful for certain: nothing else happened then.
func (c *checker) settle() {
	for _, text := range c.doubtful {
		c.wrong("%s (at %v)", text, c.touched)
	}
	c.doubtful = nil
}

func (c *checker) now() time.Duration { return c.lab.net.now() }

// tell adds to the history what a request comes to. The caller holds the lock.
func (c *checker) tell(r *request, what, detail string) { c.history.add(c.now(), r, what, detail) }

// What follows is told by the broker that has not crashed, with the lock held.

func (c *checker) accepts(client net.Addr) {
	c.connected++
	r := &request{number: len(c.requests) + 1, client: c.byAddr[client], accepted: c.now()}
	c.requests[client] = r
	c.tell(r, "is accepted", "")
}

func (c *checker) unreachable(worker string, err error) {
	c.history.add(c.now(), nil, "could not be asked: "+worker, neterr.Reason(err).Error())
	if c.resting[c.addrs[worker]] {
		c.wrong("%s had drained, and could not be asked: %v", worker, err)
	}
}

func (c *checker) redispatched(worker string, err error) {
	c.history.add(c.now(), nil, "is asked no longer: "+worker, neterr.Reason(err).Error())
	if !c.lab.plan.broker.redispatch {
		c.wrong("handed on without -redispatch, after %s: %v", worker, err)
	}
}

func (c *checker) step(x *broker.Exchange, s broker.Step) {
	r := c.requests[x.Client]
	if r.done {
		c.wrong("%v: a step after the end", r)
	}
	switch s {
	case broker.Queued:
		c.waits(r)
	case broker.Assigned:
		c.assigned(r, x)
	case broker.Sent:
		c.sent(r, x)
	case broker.Released:
		c.released(r, x)
	}
}

func (c *checker) waits(r *request) {
	c.touch()
	c.tell(r, "waits", "")
	if r.held || r.queued {
		c.wrong("%v: it waits, and has a place", r)
	}
	r.queued, r.since = true, c.now()
	if r.tries > 0 {
		c.again++
	} else {
		c.line = append(c.line, r)
	}
	c.look()
}

// leavesQueue checks how long a request has waited.
func (c *checker) leavesQueue(r *request) (waited bool) {
	if !r.queued {
		return false
	}
	r.queued = false
	if r.tries > 0 {
		c.again--
	} else {
		c.line = slices.DeleteFunc(c.line, func(other *request) bool { return other == r })
	}
	if took := c.now() - r.since; took > c.lab.plan.broker.queue {
		c.wrong("%v: it waited for %v", r, took)
	}
	return true
}

func (c *checker) assigned(r *request, x *broker.Exchange) {
	c.touch()
	c.tell(r, "is assigned to", x.Worker)
	if r.held {
		c.wrong("%v: it has two places", r)
	}
	since, waited, again := r.since, c.leavesQueue(r), r.tries > 0
	r.held, r.sent, r.since, r.placed, r.worker = true, false, c.now(), c.now(), x.Worker
	r.tries++
	if c.resting[c.addrs[x.Worker]] {
		c.doubt("%v: assigned to %s, which has drained", r, x.Worker)
	}
	all := c.look()
	chosen := find(all, x.Worker)
	switch {
	case again:
	case waited:
		c.inTurn(r, since)
		c.onTime(r, since, chosen)
	default:
		c.choice(all, chosen, x)
	}
	if c.steps == 1 && !again {
		c.lastResort(all, chosen, r)
	}
	c.given(r, chosen)
	if x.Request.Approach == protocol.LeastConnections {
		c.chosen[x.Worker] = c.now()
	}
}

// inTurn checks that a request that gets its first worker has waited longest.
func (c *checker) inTurn(r *request, since time.Duration) {
	if len(c.line) > 0 && c.line[0].since < since {
		c.doubt("%v: it has a place, and %v has waited for longer", r, c.line[0])
	}
}

func (c *checker) sent(r *request, x *broker.Exchange) {
	c.tell(r, "is sent to", x.Worker)
	now := c.now()
	if took := now - r.since; !r.sent && took > c.lab.plan.broker.dial {
		c.wrong("%v: sent after %v", r, took)
	}
	r.sent, r.since = true, now
	c.claim(r)
}

func (c *checker) released(r *request, x *broker.Exchange) {
	c.touch()
	c.tell(r, "gives back its place at", x.Worker)
	if !r.held {
		c.wrong("%v: it gives back a place that it has not", r)
	}
	r.held, c.freed, c.leaving = false, c.now(), r
	b := c.lab.plan.broker
	limit := b.dial
	switch {
	case r.sent && b.keepalive: // the job was not taken, and the worker could not be connected to again
		limit += b.answer
	case r.sent:
		limit = b.answer
	}
	if took := c.now() - r.since; took > limit {
		c.wrong("%v: %s held it for %v, longer than %v", r, x.Worker, took, limit)
	}
	if j := r.latestJob(); j != nil && j.written == r.since && c.now() == j.written+b.answer && j.overdue() {
		c.wrong("%v: it got no answer in time, and its job has not begun at %s, which had a slot", r, x.Worker)
	}
}

// wrote notes a job that was written. Whose it is will be known in a moment.
func (c *checker) wrote(conn *jobConn) {
	at, left := conn.leftAt()
	c.mu.Lock()
	defer c.mu.Unlock()
	j := &job{serial: len(c.serials) + 1, host: conn.peer.host, written: c.now(), arrives: conn.arrived(), jobs: conn.jobs}
	if left && at < j.written {
		c.wrong("a job is sent on a connection that %s has closed at %v", j.host, at)
	}
	c.serials = append(c.serials, j)
	conn.jobs.all = append(conn.jobs.all, j)
	c.written = append(c.written, j)
}

// claim finds the job that was just written for r. If several were written to its
// worker at this moment, none of them can be told from the others.
func (c *checker) claim(r *request) {
	now, host := c.now(), c.addrs[r.worker]
	var found []*job
	for _, j := range c.written {
		if j.written == now && j.host == host {
			found = append(found, j)
		}
	}
	if len(found) == 1 {
		found[0].request = r
		r.jobs = append(r.jobs, found[0])
	}
	left := c.written[:0]
	for _, j := range c.written {
		if j.written == now && j.host != host || len(found) > 1 && j.written == now {
			left = append(left, j)
		}
	}
	c.written = left
}

func (c *checker) ends(x *broker.Exchange) {
	r := c.requests[x.Client]
	if c.leavesQueue(r) {
		c.touch() // others may have been given their places before it had left
	}
	if r.held || r.done {
		c.wrong("%v: done with a place (%v), or twice (%v)", r, r.held, r.done)
	}
	r.done, r.doneAt, r.answer, r.failure = true, c.now(), x.Answer, x.Failure
	if x.Reading > c.lab.plan.broker.request && c.stopAt == 0 { // a stop gives another deadline
		c.wrong("%v: its request was read for %v", r, x.Reading)
	}
	f := x.Failure
	switch {
	case f == nil:
		c.answered++
		c.tell(r, "has its answer from", x.Worker)
		c.owns(r)
		c.isBack(r)
	case f.Reason == broker.NoRequest:
		c.noRequest++
	case f.Unread():
		c.refused++
	case f.Reason == broker.ClientLeft:
		c.withdrawn++
	default:
		c.failed++
	}
	if f != nil {
		r.text = f.Error()
		c.tell(r, "is refused", r.text)
		c.failedRightly(r, f)
	}
}

// failedRightly checks that a failure may be.
func (c *checker) failedRightly(r *request, f *broker.Failure) {
	switch {
	case f.Reason == broker.CutOff && c.stopAt == 0:
		c.wrong("%v: cut off, and the broker does not stop", r)
	case f.Reason == broker.CutOff && c.lab.plan.broker.drain >= time.Minute:
		c.wrong("%v: cut off, and there was time", r)
	case f.Reason == broker.WorkerFailed && c.resting[c.addrs[r.worker]]:
		c.wrong("%v: %s had drained, and %v", r, r.worker, f)
	case f.Reason == broker.WorkerFailed && strings.Contains(r.text, "no whole answer within") && c.now()-r.since < c.lab.plan.broker.answer:
		c.wrong("%v: given up after %v: %v", r, c.now()-r.since, f)
	case f.Reason == broker.WorkerFailed && c.lab.plan.broker.redispatch:
		c.wrong("%v: not handed on, with -redispatch", r)
	}
}

// owns checks that an answer is that to the request's latest job.
func (c *checker) owns(r *request) {
	serial := serialOf(r.answer)
	switch {
	case serial == 0 || serial > len(c.serials):
		c.wrong("%v: an answer of no job: %q", r, r.answer)
	case c.serials[serial-1].request == nil: // not known
	case c.serials[serial-1].request != r:
		c.wrong("%v: it gets the answer to %v", r, c.serials[serial-1].request)
	case r.latestJob().serial != serial:
		c.wrong("%v: it gets the answer to an earlier attempt", r)
	}
}

func (c *checker) clientGone(x *broker.Exchange, err error) {
	r := c.requests[x.Client]
	if !r.done || r.gone {
		c.wrong("%v: gone before it was done (%v), or twice (%v)", r, !r.done, r.gone)
	}
	r.gone = true
	c.tell(r, "has left", err.Error())
	if r.client != nil && !r.client.excused() && err == server.ErrPeerGone {
		c.wrong("%v: it has not left", r)
	}
}

// look checks the pool as it is after a step, and returns its workers.
func (c *checker) look() []balance.Status {
	s := c.life.pool.Snapshot()
	c.count(s.Workers)
	for i := range s.Workers {
		w := &s.Workers[i]
		if w.Assigned != w.InFlight+w.Failed+w.Withdrawn+answeredBy(w) {
			c.wrong("%s: assigned is not the sum: %+v", w.Name, *w)
		}
		if s.Queue.Waiting > 0 && c.again == 0 && open(w) {
			c.doubt("%d wait, and %s has a place: %+v", s.Queue.Waiting, w.Name, *w)
		}
	}
	return s.Workers
}

// choice checks a first choice, of an exchange that has not waited. Only if it is the
// first step of its moment is it known what was in flight before.
func (c *checker) choice(all []balance.Status, chosen *balance.Status, x *broker.Exchange) {
	if chosen == nil || chosen.State == balance.Cooling || chosen.InFlight == 0 {
		return
	}
	if x.Request.Approach == protocol.RoundRobin {
		c.turns.count(c, all, chosen)
		return
	}
	if c.steps > 1 {
		return
	}
	if chosen.Limit > 0 && chosen.InFlight > chosen.Limit {
		c.doubt("%s has more than its limit: %+v", x.Worker, *chosen)
	}
	before := chosen.InFlight - 1
	for i := range all {
		w := &all[i]
		if !open(w) {
			continue
		}
		switch less := w.InFlight*chosen.Weight - before*w.Weight; {
		case less < 0:
			c.doubt("least connections chose %s (%d by %d) and not %s (%d by %d)",
				chosen.Name, before, chosen.Weight, w.Name, w.InFlight, w.Weight)
		case less == 0 && c.chosen[w.Name] < c.chosen[chosen.Name]:
			c.doubt("least connections chose %s, last at %v, and not %s, last at %v",
				chosen.Name, c.chosen[chosen.Name], w.Name, c.chosen[w.Name])
		}
	}
}

// lastResort checks that a request was not given a worker that cools down for its
// first one, though another one was healthy. That one may be full.
func (c *checker) lastResort(all []balance.Status, chosen *balance.Status, r *request) {
	if chosen == nil || chosen.State != balance.Cooling {
		return
	}
	for i := range all {
		if w := &all[i]; w.State == balance.Up || w.State == balance.DueForTrial {
			c.doubt("%v: assigned to %s, which cools down, and %s is healthy", r, r.worker, w.Name)
		}
	}
}

// open reports whether a worker may be chosen for anything.
func open(w *balance.Status) bool {
	return (w.State == balance.Up || w.State == balance.DueForTrial) && (w.Limit == 0 || w.InFlight < w.Limit)
}

func find(all []balance.Status, name string) *balance.Status {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

func answeredBy(w *balance.Status) (n int) {
	for _, a := range w.Answered {
		n += a
	}
	return n
}

// changed is called for each change of a worker's state.
func (c *checker) changed(change balance.Change) {
	c.touch()
	c.history.add(c.now(), nil, change.Name+": "+change.State.String(), change.Cause.String())
	c.healthChanged(change)
	if change.Cause != balance.Ordered {
		c.turns.renew(change.Name)
	}
}
