package main

import (
	"math/rand/v2"
	"strings"

	"balancelab/internal/balance"
)

// A way is how requests get their workers.
type way int

const (
	roundRobin way = iota
	leastConnections
	oneQueue
	twoOwn
	leastShared
	twoShared
)

var allWays = []way{roundRobin, leastConnections, oneQueue, twoOwn, leastShared, twoShared}

// String returns the way's name in the table.
func (w way) String() string {
	return [...]string{
		"round robin", "least connections", "one queue for each broker",
		"two choices, own view", "least of a shared view", "two choices, shared view",
	}[w]
}

// class is the way's name in the picture's style.
func (w way) class() string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(w.String())
}

// shared reports whether all brokers look at the same view.
func (w way) shared() bool { return w == leastShared || w == twoShared }

// chooser returns what the brokers of c are. The first three ways are the pool
// of package balance, as it is. The others are small choosers of this room: the
// pool has no such selector.
func (w way) chooser(c cell) chooser {
	switch w {
	case roundRobin:
		return newPools(c, func() balance.Selector { return new(balance.RoundRobin) }, 0)
	case leastConnections:
		return newPools(c, func() balance.Selector { return new(balance.LeastConnections) }, 0)
	case oneQueue:
		return newPools(c, func() balance.Selector { return new(balance.LeastConnections) }, 1)
	case twoOwn:
		return newViews(c, c.brokers, (*view).betterOfTwo)
	case leastShared:
		return newViews(c, 1, (*view).least)
	default:
		return newViews(c, 1, (*view).betterOfTwo)
	}
}

// A place is what the pool of r's broker knows of a request r.
type place struct {
	asked balance.Request
	lease balance.Lease
}

// pools is brokers that have the real pool. None knows of the others. Nothing
// fails, so the pools' cool-downs, which go by the real clock, play no part.
type pools struct {
	pools   []*balance.Pool
	first   []int        // by the broker: the worker that comes first in its list
	waiting [][]*request // by the broker, in the order of the pool's queue
}

// newPools returns c's brokers. limit is as [balance.Worker.Limit].
func newPools(c cell, selector func() balance.Selector, limit int) *pools {
	workers := make([]balance.Worker, c.workers)
	for i := range workers {
		workers[i].Limit = limit
	}
	p := &pools{waiting: make([][]*request, c.brokers), first: make([]int, c.brokers)}
	for i := range c.brokers {
		p.pools = append(p.pools, balance.NewPool(workers, selector()))
		if c.rotate {
			p.first[i] = i * c.workers / c.brokers
		}
	}
	return p
}

func (p *pools) arrive(s *simulation, r *request) {
	lease, ok := p.pools[r.broker].Assign(0, &r.place.asked)
	if !ok {
		p.waiting[r.broker] = append(p.waiting[r.broker], r)
		return
	}
	p.start(s, r, lease)
}

func (p *pools) start(s *simulation, r *request, lease balance.Lease) {
	r.place.lease = lease
	s.start(r, (p.first[r.broker]+lease.Index())%s.workers)
}

// done gives the place back. Within Release the pool gives it to the request
// that has waited longest, if one waits.
func (p *pools) done(s *simulation, r *request, _ int) {
	r.place.lease.Release(balance.Answered)
	for len(p.waiting[r.broker]) > 0 {
		first := p.waiting[r.broker][0]
		select {
		case lease := <-first.place.asked.Place():
			p.waiting[r.broker] = p.waiting[r.broker][1:]
			p.start(s, first, lease)
		default:
			return
		}
	}
}

// views is brokers that look at views, each at its own, or all at the same one.
type views struct {
	views  []*view
	choose func(*view, *rand.Rand) (worker int)
}

func newViews(c cell, n int, choose func(*view, *rand.Rand) int) *views {
	v := &views{choose: choose}
	for range n {
		v.views = append(v.views, newView(c.workers))
	}
	return v
}

func (v *views) arrive(s *simulation, r *request) {
	worker := v.choose(v.of(r), s.chance)
	v.tell(s, r, worker, 1)
	s.start(r, worker)
}

func (v *views) done(s *simulation, r *request, worker int) { v.tell(s, r, worker, -1) }

func (v *views) of(r *request) *view { return v.views[r.broker%len(v.views)] }

// tell brings a change into the view of r's broker. A shared view learns of it
// when it is s.age old, even of what the same broker did. So it is always
// exactly that old.
func (v *views) tell(s *simulation, r *request, worker, more int) {
	if len(v.views) > 1 || s.age == 0 {
		v.of(r).add(worker, more)
		return
	}
	s.later(s.age, func() { v.of(r).add(worker, more) })
}

// A view says how many requests each worker has.
type view struct {
	counts []int   // by the worker
	with   [][]int // by the number of requests: the workers that have so many, in no order
	place  []int   // by the worker: where it stands there
}

func newView(workers int) *view {
	v := &view{counts: make([]int, workers), place: make([]int, workers), with: make([][]int, 1)}
	for w := range workers {
		v.join(w)
	}
	return v
}

// add changes what worker has.
func (v *view) add(worker, more int) {
	same := v.with[v.counts[worker]]
	last := same[len(same)-1]
	same[v.place[worker]], v.place[last] = last, v.place[worker]
	v.with[v.counts[worker]] = same[:len(same)-1]
	v.counts[worker] += more
	v.join(worker)
}

func (v *view) join(worker int) {
	n := v.counts[worker]
	if n == len(v.with) {
		v.with = append(v.with, nil)
	}
	v.place[worker] = len(v.with[n])
	v.with[n] = append(v.with[n], worker)
}

// least returns one of the workers that have the fewest, each as likely.
func (v *view) least(chance *rand.Rand) int {
	for n := 0; ; n++ {
		if workers := v.with[n]; len(workers) > 0 {
			return workers[chance.IntN(len(workers))]
		}
	}
}

// betterOfTwo draws two different workers, and returns the one that has fewer,
// or the first.
func (v *view) betterOfTwo(chance *rand.Rand) int {
	n := len(v.counts)
	if n == 1 {
		return 0
	}
	a, b := chance.IntN(n), chance.IntN(n-1)
	if b >= a {
		b++
	}
	if v.counts[b] < v.counts[a] {
		return b
	}
	return a
}
