package simulate

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// A plan is all that happens in a run but for what the programs do. It is drawn
// from a seed, before the run. What is taken out of a plan leaves the rest as it
// was, so that a fault can be narrowed down.
type plan struct {
	seed     uint64
	broker   brokerPlan
	workers  []workerPlan
	clients  []clientPlan
	troubles []trouble
	viewers  []viewerPlan
	coarse   bool          // times are round, and links have no jitter: much happens at the same moment
	stop     time.Duration // when the broker is told to stop; 0: when all is over
}

// A brokerPlan is the broker's flags.
type brokerPlan struct {
	redispatch, keepalive, abortOnClose bool
	request, dial, answer, queue, drain time.Duration
	maxConns, perWorker                 int
}

// A workerPlan is a worker, and its link.
type workerPlan struct {
	balance.Worker
	slots       int
	maxConns    int
	long, short time.Duration
	latency     time.Duration
}

// A behaviour is how a client asks.
type behaviour int

const (
	usual     behaviour = iota // as the original client
	halfClose                  // closes its direction after the request
	bytewise                   // sends one byte after the other
	slow                       // sends the request in two parts
	deaf                       // does not read for a time, then leaves
	leaver                     // closes while it waits
	resetter                   // resets while it waits
	silent                     // sends nothing, and waits
	visitor                    // sends nothing, and leaves
	rubbish                    // sends what is no request
	talker                     // sends more than the request
	crowd                      // a load run: many usual clients
	numBehaviours
)

var behaviourNames = [numBehaviours]string{
	"usual", "half-closing", "bytewise", "slow", "deaf", "leaving", "resetting", "silent", "visiting", "rubbish", "talking", "load run",
}

// A clientPlan is one client's one request.
type clientPlan struct {
	number  int
	at      time.Duration
	request protocol.Request
	behaviour
	pause time.Duration // of the behaviour
	text  string        // of rubbish
	load  load.Plan     // of a crowd
	most  int           // of a crowd's requests at once
}

// A kind is one of the troubles that there are.
type kind int

const (
	lag         kind = iota // a link is slow
	cuts                    // writes on a link are cut at any byte
	resets                  // connections of a link are reset by what is written
	partition               // nothing passes between the broker and a worker
	oneWay                  // nothing passes in one direction
	clientsCut              // nothing passes between the clients and the broker
	crash                   // a worker is killed, and started again
	power                   // a worker's machine vanishes, and comes back
	restart                 // a worker is stopped, drains, and is started again
	brokerCrash             // the broker is killed, and started again
	noFiles                 // the broker, or a worker, can't open files
	unread                  // the broker's output is not read
	drainUp                 // a worker is drained by an order, restarted, and up again
	reweigh                 // a worker gets another weight, and another one back
	relimit                 // a worker gets another limit, and another one back
	addRemove               // a worker is removed, and one is added in its place
	numKinds
)

var kindNames = [numKinds]string{
	"lag", "cuts", "resets", "partition", "one-way", "clients-cut", "crash", "power", "restart", "broker-crash",
	"no-files", "unread", "drain-up", "reweigh", "relimit", "add-remove",
}

// passive reports whether nothing is done to a program: what happens is known from
// the plan, where it happens.
func (k kind) passive() bool { return k < crash || k == noFiles || k == unread }

// A trouble is one thing that happens, and ends.
type trouble struct {
	number int
	kind
	window
	worker int // its index; len(workers) is the broker
	n      int // a weight or a limit; for links which of them, see linksOf
}

func (t trouble) String() string {
	return fmt.Sprintf("trouble %d: %s at worker %d, %v to %v (%d)", t.number, kindNames[t.kind], t.worker+1, t.from, t.to, t.n)
}

// A drawer draws a plan.
type drawer struct{ *rand.Rand }

func (d drawer) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.Int64N(int64(to-from)))
}

func (d drawer) oneOf(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d drawer, all ...T) T { return all[d.IntN(len(all))] }

// draw draws the plan of a seed.
func draw(seed uint64) *plan {
	d := drawer{rand.New(rand.NewPCG(seed, 0))}
	p := &plan{seed: seed}
	d.broker(&p.broker)
	quick := d.oneOf(2)
	for range 1 + d.IntN(6) {
		p.workers = append(p.workers, d.worker(len(p.workers), &p.broker, quick))
	}
	lasts := d.between(20*time.Second, 3*time.Minute)
	d.clients(p, lasts)
	d.troubles(p, lasts)
	if d.oneOf(5) {
		p.stop = d.between(lasts/2, lasts)
		if d.oneOf(3) {
			p.troubles = append(p.troubles, trouble{number: len(p.troubles) + 1, kind: unread, worker: len(p.workers),
				window: window{p.stop - d.between(0, 5*time.Second), p.stop + d.between(0, time.Minute)}})
		}
	}
	if d.oneOf(3) {
		d.viewers(p, lasts)
	}
	if d.oneOf(4) {
		p.round()
	}
	return p
}

// round makes times round, so that what is planned for about the same time
// happens at the same moment.
func (p *plan) round() {
	const unit = 100 * time.Millisecond
	p.coarse = true
	p.stop = p.stop.Round(unit)
	p.broker.answer, p.broker.queue = p.broker.answer.Round(time.Second), p.broker.queue.Round(time.Second)
	for i := range p.workers {
		w := &p.workers[i]
		w.long, w.short, w.latency = w.long.Round(unit), w.short.Round(unit), w.latency.Round(10*time.Millisecond)
	}
	for i := range p.clients {
		c := &p.clients[i]
		c.at, c.pause = c.at.Round(unit), c.pause.Round(unit)
	}
	for i := range p.troubles {
		t := &p.troubles[i]
		t.from, t.to = t.from.Round(unit), t.to.Round(unit)+unit
	}
}

func (d drawer) broker(b *brokerPlan) {
	b.redispatch, b.keepalive, b.abortOnClose = d.oneOf(2), d.oneOf(2), d.oneOf(3)
	b.request, b.dial, b.answer = 5*time.Second, 2*time.Second, 30*time.Second
	b.queue, b.drain = 30*time.Second, 10*time.Minute
	if d.oneOf(2) {
		b.answer, b.queue = d.between(1500*time.Millisecond, 12*time.Second), d.between(time.Second, 20*time.Second)
	}
	if d.oneOf(4) {
		b.drain = d.between(0, 8*time.Second)
	}
	if d.oneOf(2) {
		b.perWorker = 1 + d.IntN(8)
	}
	b.maxConns = pick(d, 0, 0, 1000, 4+d.IntN(30))
}

func (d drawer) worker(i int, b *brokerPlan, quick bool) workerPlan {
	w := workerPlan{
		Worker: balance.Worker{Name: fmt.Sprintf("Worker-%d", i+1), Addr: fmt.Sprintf("worker-%d:%d", i+1, 9002+i), Weight: 1, Limit: b.perWorker},
		long:   5 * time.Second, short: time.Second, latency: d.between(10*time.Microsecond, 20*time.Millisecond),
	}
	if quick {
		w.long, w.short = d.between(0, 500*time.Millisecond), d.between(0, 100*time.Millisecond)
	}
	if d.oneOf(3) {
		w.Weight = 1 + d.IntN(5)
	}
	if d.oneOf(6) {
		w.Limit = d.IntN(6)
	}
	w.slots = pick(d, 0, 0, 1+d.IntN(4))
	w.maxConns = pick(d, 0, 0, 1000, 2+d.IntN(20))
	return w
}

// clients draws clients that come evenly, or in bursts.
func (d drawer) clients(p *plan, lasts time.Duration) {
	odd := pick(d, 0, 5, 20, 60) // percent that behave in another way than usual
	approaches := pick(d, protocol.Approaches(), []protocol.Approach{protocol.RoundRobin}, []protocol.Approach{protocol.LeastConnections})
	mean := d.between(40*time.Millisecond, time.Second)
	bursts := d.oneOf(3)
	for at := time.Duration(0); at < lasts; {
		n := 1
		at += time.Duration(d.ExpFloat64() * float64(mean))
		if bursts && d.oneOf(10) {
			n = 2 + d.IntN(30)
			at += time.Duration(n) * mean
		}
		for range n {
			c := clientPlan{
				number: len(p.clients) + 1, at: at + d.between(1, time.Millisecond),
				request: protocol.Request{Type: pick(d, protocol.Types()...), Approach: pick(d, approaches...)},
				pause:   d.between(time.Millisecond, pick(d, 300*time.Millisecond, 6*time.Second)),
			}
			if d.IntN(100) < odd {
				c.behaviour = behaviour(d.IntN(int(numBehaviours)))
			}
			c.text = pick(d, "AppID:Medium:round_robin", "GET / HTTP/1.1\r\n\r\n", "\n", "AppID:Long:", "\xff\xfe", strings.Repeat("x", 3000), "AppID::")
			if c.behaviour == crowd {
				c.load, c.most = d.load(approaches), 1+d.IntN(20)
			}
			p.clients = append(p.clients, c)
		}
	}
}

// load draws a load run.
func (d drawer) load(approaches []protocol.Approach) load.Plan {
	return load.Plan{
		N: 1 + d.IntN(60), Rate: float64(d.IntN(3)) * (1 + 20*d.Float64()), Arrivals: pick(d, load.Even, load.Poisson),
		Types: protocol.Types(), Approaches: approaches, Seed: d.Uint64(),
	}
}

// troubles draws some kinds of troubles, and then troubles of these kinds only:
// so that rare combinations occur, and each by itself.
func (d drawer) troubles(p *plan, lasts time.Duration) {
	var kinds []kind
	among := 1 + d.IntN(5) // each kind is there in one of so many runs
	for k := range numKinds {
		if d.oneOf(among) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 || d.oneOf(12) {
		return
	}
	if d.oneOf(8) {
		kinds = []kind{pick(d, kinds...)}
	}
	mean := d.between(500*time.Millisecond, 15*time.Second)
	longest := pick(d, time.Second, 5*time.Second, 40*time.Second)
	for at := time.Duration(0); ; {
		at += time.Duration(d.ExpFloat64() * float64(mean))
		if at >= lasts {
			return
		}
		t := trouble{number: len(p.troubles) + 1, kind: pick(d, kinds...), worker: d.IntN(len(p.workers)), n: d.IntN(6)}
		t.window = window{at, at + d.between(time.Millisecond, longest)}
		switch t.kind {
		case noFiles:
			t.worker = d.IntN(len(p.workers) + 1)
		case brokerCrash, unread:
			t.worker = len(p.workers)
		}
		p.troubles = append(p.troubles, t)
	}
}

// viewers draws some that watch the page, for a time or to the end.
func (d drawer) viewers(p *plan, lasts time.Duration) {
	for range 1 + d.IntN(4) {
		v := viewerPlan{pause: pick(d, 0, 50*time.Millisecond, d.between(0, time.Minute), patience)}
		v.from = d.between(0, lasts)
		v.to = pick(d, v.from+d.between(0, lasts), patience)
		p.viewers = append(p.viewers, v)
	}
}

// only leaves the troubles and the clients with these numbers; nil leaves all.
func (p *plan) only(troubles, clients []int) *plan {
	q := *p
	if troubles != nil {
		q.troubles = keep(p.troubles, troubles)
	}
	if clients != nil {
		q.clients = keep(p.clients, clients)
	}
	return &q
}

// What is numbered can be taken out of a plan: a trouble or a client.
type numbered interface{ id() int }

func (t trouble) id() int    { return t.number }
func (c clientPlan) id() int { return c.number }

// keep returns those of all that have one of some numbers.
func keep[T numbered](all []T, numbers []int) (kept []T) {
	for _, one := range all {
		if slices.Contains(numbers, one.id()) {
			kept = append(kept, one)
		}
	}
	return kept
}

func numbersOf[T numbered](all []T) (numbers []int) {
	for _, one := range all {
		numbers = append(numbers, one.id())
	}
	return numbers
}

// has reports whether there is a trouble of a kind at any time of a window.
func (p *plan) has(k kind, from, to time.Duration) bool {
	return slices.ContainsFunc(p.troubles, func(t trouble) bool { return t.kind == k && t.from <= to && from <= t.to })
}

// end returns when the last trouble is over and the last client has come.
func (p *plan) end() (end time.Duration) {
	for _, t := range p.troubles {
		end = max(end, t.to)
	}
	for _, c := range p.clients {
		end = max(end, c.at)
	}
	return end
}

// String describes the plan for a person.
func (p *plan) String() string {
	var b strings.Builder
	f := p.broker
	fmt.Fprintf(&b, "broker: redispatch %v, keepalive %v, abort-on-close %v, answer %v, queue %v, drain %v, max-conns %d\n",
		f.redispatch, f.keepalive, f.abortOnClose, f.answer, f.queue, f.drain, f.maxConns)
	for _, w := range p.workers {
		fmt.Fprintf(&b, "%s: weight %d, limit %d, slots %d, Long %v, Short %v, latency %v\n", w.Name, w.Weight, w.Limit, w.slots, w.long, w.short, w.latency)
	}
	for _, t := range p.troubles {
		fmt.Fprintln(&b, t)
	}
	fmt.Fprintf(&b, "%d clients, coarse %v, stop %v\n", len(p.clients), p.coarse, cmp.Or(p.stop, p.end()))
	return b.String()
}

func hash(texts ...string) uint64 {
	h := fnv.New64a()
	for _, t := range texts {
		h.Write([]byte(t))
	}
	return h.Sum64()
}
