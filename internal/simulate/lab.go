package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/control"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
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
	net     *network
	hosts   []*host
	running sync.WaitGroup // what goes on beside the broker
}

// run plays a plan. It is called in a bubble, and leaves nothing running.
func run(p *plan) *outcome {
	l := &lab{plan: p, net: newNetwork(p.seed)}
	l.checker = newChecker(l)
	l.lay()
	for i := range p.workers {
		h := &host{lab: l, workerPlan: p.workers[i]}
		l.hosts = append(l.hosts, h)
		h.start()
	}
	l.startBroker()
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
	l.current().end()
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

// A host is a worker's machine, on which the worker is started again and again.
type host struct {
	*lab
	workerPlan
	cancel context.CancelFunc
	done   chan error
	life   *workerLife
}

// start starts the worker.
func (h *host) start() {
	ctx, cancel := context.WithCancel(context.Background())
	life := &workerLife{checker: h.checker, host: h.Addr, few: h.maxConns > 0 && h.maxConns < 1000, slots: h.slots}
	w := worker.Worker{
		Work:  [protocol.NumTypes]time.Duration{protocol.Long: h.long, protocol.Short: h.short},
		Slots: h.slots, Observer: life,
	}
	s := server.Server{Handle: w.Handle, MaxConns: h.maxConns, Panicked: h.panicked}
	s.Stopping = func(int) time.Duration {
		if life.isKilled() {
			return 0
		}
		return 10 * time.Minute
	}
	l := h.net.listen(h.Addr)
	l.wrap = func(e *end) net.Conn {
		life.accepted(e)
		return &answerConn{e, life}
	}
	done := make(chan error, 1)
	h.cancel, h.done, h.life = cancel, done, life
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
	h.cancel()
	f(h.Addr)
	<-h.done
}

// trouble plays one trouble. What it does to links is in the links already.
func (l *lab) trouble(t trouble) {
	l.sleepUntil(t.from)
	host := l.hostOf(t)
	if !l.begin(host, t) { // what it does to links it does all the same
		l.sleepUntil(t.to)
		return
	}
	l.note("trouble", kindNames[t.kind], host)
	if t.worker == len(l.hosts) {
		l.broken(t)
	} else {
		l.hosts[t.worker].trouble(t)
	}
	l.note("trouble over", kindNames[t.kind], host)
	l.finish(host, t)
}

// broken plays a trouble of the broker's. One that is gone can't be told to stop.
func (l *lab) broken(t trouble) {
	if t.kind == brokerCrash && (l.stop == 0 || t.to < l.stop) {
		l.current().crash()
		l.sleepUntil(t.to)
		l.startBroker()
	}
	l.sleepUntil(t.to)
}

// trouble plays a trouble of the worker's.
func (h *host) trouble(t trouble) {
	switch t.kind {
	case crash, power, restart:
		h.again(t)
	case drainUp:
		h.drainUp(t)
	case reweigh:
		h.change(`{"weight": %d}`, 1+t.n)
		h.sleepUntil(t.to)
		h.change(`{"weight": %d}`, h.Weight)
	case relimit:
		h.change(`{"limit": %d}`, t.n)
		h.sleepUntil(t.to)
		h.change(`{"limit": %d}`, h.Limit)
	case addRemove:
		h.addRemove(t)
	}
	h.sleepUntil(t.to)
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
// fails for that, unless the broker crashes and forgets the order.
func (h *host) drainUp(t trouble) {
	b := h.current()
	h.change(`{"state": "draining"}`)
	h.until(h.Addr+" has drained", func() bool { return b != h.current() || h.inFlight() == 0 })
	h.rest(b, h.Addr, true)
	h.stop()
	h.ended()
	h.start()
	h.sleepUntil(t.to)
	h.rest(b, h.Addr, false)
	h.change(`{"state": "up"}`)
}

// addRemove removes a worker, and adds it again as a new one. A broker that was
// started meanwhile has it already.
func (h *host) addRemove(t trouble) {
	b := h.current()
	h.order(http.MethodDelete, h.path(), "")
	h.sleepUntil(t.to)
	h.until(h.Addr+" is removed", func() bool {
		added := fmt.Sprintf(`{"addr": %q, "weight": %d, "limit": %d}`, h.Addr, h.Weight, h.Limit)
		return h.order(http.MethodPost, "/workers", added) || b != h.current()
	})
}

// status returns what the pool knows of the worker; nil if it is not there.
func (h *host) status() *balance.Status {
	all := h.current().pool.Snapshot().Workers
	i := slices.IndexFunc(all, func(w balance.Status) bool { return w.Addr == h.Addr })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// inFlight returns how many requests the worker has.
func (h *host) inFlight() int {
	if w := h.status(); w != nil {
		return w.InFlight
	}
	return 0
}

// path is where orders for the worker go: its name changes when it is added again.
func (h *host) path() string {
	if w := h.status(); w != nil {
		return "/workers/" + w.Name
	}
	return "/workers/none"
}

// change orders a change of the worker.
func (h *host) change(format string, args ...any) {
	h.order(http.MethodPatch, h.path(), fmt.Sprintf(format, args...))
}

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
	for _, w := range l.current().pool.Snapshot().Workers {
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

// order gives an order to the broker, as its page would, and reports whether it was
// obeyed. A broker that is gone takes none.
func (l *lab) order(method, path, body string) bool {
	b := l.current()
	if b.isGone() {
		l.note("order", method+" "+path, "there is no broker")
		return false
	}
	w := httptest.NewRecorder()
	b.orders.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	var got control.Worker
	obeyed := w.Code < http.StatusBadRequest
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || obeyed != (got.Name != "") {
		l.fault("%s %s %s is answered with %d %s", method, path, body, w.Code, w.Body)
	}
	l.ordered(got)
	l.note("order", method+" "+path+" "+body, w.Body.String())
	return obeyed
}
