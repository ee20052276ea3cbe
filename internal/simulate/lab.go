package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/events"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/stats"
	"balancelab/internal/worker"
)

// The hosts, besides one for each worker.
const (
	brokerHost  = "broker"
	clientsHost = "clients"
)

// A lab is one run: the real programs' parts, put together as cmd/broker and
// cmd/worker do it, on a network in memory.
type lab struct {
	*plan
	*checker
	net      *network
	broker   *broker.Broker
	recorder *stats.Recorder
	log      *console.Broker
	hosts    []*host
	running  sync.WaitGroup // what goes on beside the broker
	served   chan error     // how the broker's server ended
	stopped  context.CancelFunc
}

// run plays a plan. It is called in a bubble, and leaves nothing running.
func run(p *plan) *outcome {
	l := &lab{plan: p, net: newNetwork(p.seed), served: make(chan error, 1)}
	l.checker = newChecker(l)
	l.lay()
	for i := range p.workers {
		h := &host{lab: l, workerPlan: p.workers[i], name: p.workers[i].Name}
		l.hosts = append(l.hosts, h)
		h.start()
	}
	endBroker := l.startBroker()
	for _, t := range p.troubles {
		l.running.Go(func() { l.trouble(t) })
	}
	asked := l.startClients()
	if p.stop > 0 {
		l.sleepUntil(p.stop)
		l.stopBroker()
	}
	asked.Wait()
	l.running.Wait()
	if p.stop == 0 {
		l.recover()
		l.stopAtRest()
	}
	endBroker()
	for _, h := range l.hosts {
		h.stop()
		h.ended()
	}
	return l.conclude()
}

func (l *lab) sleepUntil(t time.Duration) { time.Sleep(t - l.net.now()) }

// lay lays the links, with all that will happen to them.
func (l *lab) lay() {
	d := drawer{rand.New(rand.NewPCG(l.seed, 1))}
	both := func(a, b string, latency time.Duration) (there, back *link) {
		jitter := max(time.Microsecond, d.between(0, latency+1))
		if l.coarse {
			latency, jitter = max(latency.Round(10*time.Millisecond), time.Microsecond), 0
		}
		there, back = &link{latency: latency, jitter: jitter}, &link{latency: latency, jitter: jitter}
		l.net.links[route{a, b}], l.net.links[route{b, a}] = there, back
		return there, back
	}
	in, out := both(clientsHost, brokerHost, d.between(10*time.Microsecond, 30*time.Millisecond))
	for _, w := range l.workers {
		both(brokerHost, w.Addr, w.latency)
	}
	for _, t := range l.troubles {
		l.harm(t, in, out)
	}
}

// harm notes at the links what a trouble does to them.
func (l *lab) harm(t trouble, in, out *link) {
	if t.kind == noFiles {
		host := l.hostOf(t)
		l.net.noFiles[host] = append(l.net.noFiles[host], t.window)
	}
	for _, k := range l.linksOf(t, in, out) {
		switch t.kind {
		case lag:
			k.lags = append(k.lags, t.window)
		case cuts:
			k.cuts = append(k.cuts, t.window)
		case resets:
			k.resets = append(k.resets, t.window)
		case partition, oneWay, power, clientsCut:
			k.outages = append(k.outages, t.window)
		}
	}
}

// linksOf returns the links of a trouble: those of its worker, or of the clients;
// both directions, or one of them.
func (l *lab) linksOf(t trouble, in, out *link) []*link {
	host := l.hostOf(t)
	links := []*link{l.net.links[route{brokerHost, host}], l.net.links[route{host, brokerHost}]}
	switch t.kind {
	case clientsCut:
		return []*link{in, out}[:1+t.n%2]
	case lag, cuts, resets:
		if t.n%3 == 0 {
			links = []*link{in, out}
		}
	}
	switch t.kind {
	case oneWay, lag, resets:
		return links[t.n%2 : t.n%2+1]
	}
	return links
}

// hostOf returns the host at which a trouble is.
func (l *lab) hostOf(t trouble) string {
	if t.worker == len(l.workers) {
		return brokerHost
	}
	return l.workers[t.worker].Addr
}

// newBroker puts a broker together, with all that is told what it does: the
// checker, the page's events and figures, and the log.
func (l *lab) newBroker() {
	var workers []balance.Worker
	for _, w := range l.workers {
		workers = append(workers, w.Worker)
		l.addrs[w.Name] = w.Addr
	}
	f := l.plan.broker
	l.pool = balance.NewPool(workers, selectors()...)
	l.log = console.NewBroker(&output{l.net, l.troubles})
	l.recorder = stats.New(l.pool, l.log)
	feed := events.New(l.recorder)
	l.next = feed
	l.broker = &broker.Broker{
		Pool: l.pool, Dial: l.dialWorker,
		RequestTimeout: f.request, DialTimeout: f.dial, AnswerTimeout: f.answer, QueueTimeout: f.queue,
		Redispatch: f.redispatch, Observer: l.checker,
		Watch: &socket.Watch{EndIsGone: f.abortOnClose},
	}
	if f.keepalive {
		l.broker.Idle = broker.NewIdlePool(128)
	}
	l.pool.OnChange = func(c balance.Change) {
		if c.State == balance.Draining || c.State == balance.Drained {
			l.broker.Idle.Drop(c.Index)
		}
		l.changed(c)
		feed.Changed(c)
		l.log.Changed(c)
	}
}

// startBroker does what cmd/broker does. The function that it returns ends all
// but the server, which has been stopped before.
func (l *lab) startBroker() (end func()) {
	l.newBroker()
	stopping, stop := context.WithCancel(context.Background())
	beside, cancel := context.WithCancel(context.Background())
	l.stopped = stop
	var watching sync.WaitGroup
	watching.Go(func() { l.broker.Watch.Run(beside) })
	watching.Go(func() { l.recorder.Watch(beside) })
	s := server.Server{
		Handle: l.broker.Handle, DrainTimeout: l.plan.broker.drain, MaxConns: l.plan.broker.maxConns,
		Paused: l.log.Paused, Panicked: l.panicked,
	}
	listener := l.net.listen(brokerHost)
	go func() { l.served <- s.Serve(stopping, listener) }()
	return func() {
		if l.broker.Idle != nil {
			l.broker.Idle.Close()
		}
		l.log.Summary(l.pool.Snapshot())
		cancel()
		watching.Wait()
		l.log.Close()
	}
}

// selectors returns the selector of each approach, at its place.
func selectors() []balance.Selector {
	return []balance.Selector{
		protocol.RoundRobin:       new(balance.RoundRobin),
		protocol.LeastConnections: new(balance.LeastConnections),
	}
}

// output is where the broker's lines go. While it is not read, a write waits.
type output struct {
	net      *network
	troubles []trouble
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	for _, t := range o.troubles {
		if now := o.net.now(); t.kind == unread && t.has(now) {
			time.Sleep(t.to - now)
		}
	}
	return len(p), nil
}

// dialWorker is the broker's Dial.
func (l *lab) dialWorker(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
	e, err := l.net.dial(ctx, route{brokerHost, addr}, 0, within)
	if err != nil {
		return nil, err
	}
	return &jobConn{e, l.checker}, nil
}

// stopBroker tells the broker to stop, and waits until it has.
func (l *lab) stopBroker() {
	l.note("broker", "is told to stop", "")
	l.stopping(l.net.now())
	l.stopped()
	l.stoppedWith(<-l.served)
}

// A host is a worker's machine, on which the worker is started again and again.
type host struct {
	*lab
	workerPlan
	name    string // in the pool
	cancel  context.CancelFunc
	done    chan error
	life    *life
	crashed bool
}

// start starts the worker.
func (h *host) start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.life = &life{checker: h.checker, host: h.Addr, few: h.maxConns > 0 && h.maxConns < 1000}
	w := worker.Worker{
		Work:  [protocol.NumTypes]time.Duration{protocol.Long: h.long, protocol.Short: h.short},
		Slots: h.slots, Observer: h.life,
	}
	s := server.Server{Handle: w.Handle, MaxConns: h.maxConns, Panicked: h.panicked}
	s.Stopping = func(int) time.Duration {
		if h.crashed {
			return 0
		}
		return 10 * time.Minute
	}
	l := h.net.listen(h.Addr)
	life := h.life
	l.wrap = func(e *end) net.Conn {
		life.accepted(e)
		return &answerConn{e, life}
	}
	h.cancel, h.done, h.crashed = cancel, make(chan error, 1), false
	done := h.done
	go func() { done <- s.Serve(ctx, l) }()
}

// stop tells the worker to stop.
func (h *host) stop() { h.cancel() }

// ended waits until the worker has ended after a stop. All that it has begun is
// done then.
func (h *host) ended() {
	h.drainedWith(h.life, <-h.done)
}

// kill ends the worker at once. f ends its connections.
func (h *host) kill(f func(host string)) {
	h.life.kill()
	h.crashed = true
	h.cancel()
	f(h.Addr)
	<-h.done
}

// trouble plays one trouble. What it does to links is in the links already.
func (l *lab) trouble(t trouble) {
	l.sleepUntil(t.from)
	if t.worker == len(l.hosts) {
		l.note("trouble", kindNames[t.kind], brokerHost)
		return
	}
	h := l.hosts[t.worker]
	if !l.begin(h, t) { // what it does to links it does all the same
		l.sleepUntil(t.to)
		return
	}
	l.note("trouble", kindNames[t.kind], h.Addr)
	switch t.kind {
	case crash, power, restart:
		h.again(t)
	case drainUp:
		h.drainUp(t)
	case reweigh:
		l.order(l.pool.SetWeight(h.name, 1+t.n))
		l.sleepUntil(t.to)
		l.order(l.pool.SetWeight(h.name, h.Weight))
	case relimit:
		l.order(l.pool.SetLimit(h.name, t.n))
		l.sleepUntil(t.to)
		l.order(l.pool.SetLimit(h.name, h.Limit))
	case addRemove:
		h.addRemove(t)
	default:
		l.sleepUntil(t.to)
	}
	l.note("trouble over", kindNames[t.kind], h.Addr)
	l.finish(h, t)
}

// again ends the worker in one of three ways, and starts it again.
func (h *host) again(t trouble) {
	switch t.kind {
	case crash:
		h.kill(h.net.crash)
	case power:
		h.kill(h.net.vanish)
	default:
		h.stop()
		h.ended()
	}
	h.sleepUntil(t.to)
	h.start()
}

// drainUp takes a worker away by an order, restarts it, and has it back. Nothing
// fails for that.
func (h *host) drainUp(t trouble) {
	h.order(h.pool.Drain(h.name))
	h.until(h.name+" has drained", func() bool { return h.inFlight(h.name) == 0 })
	h.rest(h.name, true)
	h.stop()
	h.ended()
	h.start()
	h.sleepUntil(t.to)
	h.rest(h.name, false)
	h.order(h.pool.Up(h.name))
}

// addRemove removes a worker, and adds it again as a new one.
func (h *host) addRemove(t trouble) {
	h.order(h.pool.Remove(h.name))
	h.sleepUntil(t.to)
	h.until(h.name+" is removed", func() bool {
		w, err := h.pool.Add(balance.Worker{Addr: h.Addr, Weight: h.Weight, Limit: h.Limit})
		if err == nil {
			h.name = w.Name
			h.order(w, nil)
		}
		return err == nil
	})
}

// inFlight returns how many requests a worker has.
func (l *lab) inFlight(name string) int {
	for _, w := range l.pool.Snapshot().Workers {
		if w.Name == name {
			return w.InFlight
		}
	}
	return 0
}

// longestCoolDown is balance's.
const longestCoolDown = 30 * time.Second

// until waits until something holds. What never does is a fault.
func (l *lab) until(what string, holds func() bool) {
	for giveUp := l.net.now() + patience; !holds(); time.Sleep(100 * time.Millisecond) {
		if l.net.now() > giveUp {
			l.fault("it never was so: %s", what)
			return
		}
	}
}

// atRest reports whether no request is in flight, and no worker has anything left
// to do: one at its limit of connections may begin jobs that nobody awaits.
func (l *lab) atRest() bool {
	for _, w := range l.pool.Snapshot().Workers {
		if w.InFlight > 0 {
			return false
		}
	}
	return !slices.ContainsFunc(l.hosts, func(h *host) bool { return l.net.busy(h.Addr) })
}

// recover checks that after all troubles, and the longest cool-down, every worker
// is used again, and everything is answered.
func (l *lab) recover() {
	l.until("nothing is in flight", l.atRest)
	time.Sleep(longestCoolDown + time.Second)
	l.note("check", "all is well again: every worker must be used", "")
	turns := len(l.hosts)
	for _, h := range l.hosts {
		turns += max(1, h.Weight)
	}
	for _, a := range protocol.Approaches() {
		for range turns {
			c := &client{lab: l, clientPlan: clientPlan{
				number: l.lastNumber(), at: l.net.now(), request: protocol.Request{Type: protocol.Short, Approach: a},
			}, extra: true, probe: true}
			c.ask()
		}
	}
	l.allUp()
}

// stopAtRest stops the broker while a few clients are connected that say nothing:
// they don't hold it up.
func (l *lab) stopAtRest() {
	var silent []*end
	for range 3 {
		if e, err := l.net.dial(context.Background(), route{clientsHost, brokerHost}, uint64(l.lastNumber())<<20, time.Minute); err == nil {
			silent = append(silent, e)
		}
	}
	time.Sleep(time.Second)
	before := l.net.now()
	l.stopBroker()
	if took := l.net.now() - before; took > 2*time.Second {
		l.fault("the stop took %v, with nothing but silent clients", took)
	}
	for _, e := range silent {
		e.Close()
	}
}

// panicked is told of panics by the servers.
func (l *lab) panicked(value any, stack []byte) {
	l.fault("panic: %v\n%s", value, strings.TrimSpace(string(stack)))
}

// order notes what an order has come to.
func (l *lab) order(w balance.Status, err error) {
	what := fmt.Sprintf("%s: weight %d, limit %d, %v", w.Name, w.Weight, w.Limit, w.State)
	if err != nil {
		what = err.Error()
	}
	l.ordered(w)
	l.note("order", what, "")
}
