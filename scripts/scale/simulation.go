package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A cell is one experiment. Its requests follow from the seed, the busy part,
// and the numbers of brokers and workers: all ways get the same ones.
type cell struct {
	way     way
	brokers int
	workers int           // each does one job at a time, in the order in which they come
	busy    float64       // the part of the time that a worker works, below 1
	age     time.Duration // of a shared view
	n       int           // how many requests are measured, after those of warmUp
	seed    uint64
	rotate  bool                           // each broker's list of workers begins with another one
	length  func(*rand.Rand) time.Duration // how long a job takes; nil for oneOfThree
	mean    time.Duration                  // of length; not used if that is nil
}

// warmUp is how many requests come first, and are not measured: the queues have
// to grow as long as they will be.
func (c cell) warmUp() int { return max(c.n/2, 200*c.workers) }

// A result is what a cell's requests met.
type result struct {
	mean, p99 time.Duration // from the arrival at the broker to the start of the work
	most      int           // requests at one worker at once, the one that it works on included
}

const (
	long, short = 500 * time.Millisecond, 100 * time.Millisecond
	meanJob     = (long + 2*short) / 3
)

// oneOfThree is a Long, or with twice that probability a Short.
func oneOfThree(r *rand.Rand) time.Duration {
	if r.IntN(3) == 0 {
		return long
	}
	return short
}

// A request is one that came to a broker.
type request struct {
	broker   int
	arrived  time.Duration
	length   time.Duration
	measured bool
	place    place
}

// A chooser is what the brokers of a cell do with their requests.
type chooser interface {
	// arrive is called when r comes to its broker. It calls start when r goes to
	// a worker, at once or later.
	arrive(s *simulation, r *request)
	// done is called when the worker has answered r.
	done(s *simulation, r *request, worker int)
}

// A simulation is a cell in its own time. It is one goroutine and never sleeps.
type simulation struct {
	cell
	chooser
	now      time.Duration
	events   events
	noted    int        // how many events there ever were
	arrivals *rand.Rand // what comes, and when
	chance   *rand.Rand // what a chooser draws

	come     int             // how many requests have come
	free     []time.Duration // by the worker: when all that it has is done
	inFlight []int           // by the worker
	most     int
	waits    []time.Duration
}

// play plays the cell to its end.
func (c cell) play() result {
	if c.length == nil {
		c.length, c.mean = oneOfThree, meanJob
	}
	s := &simulation{
		cell: c, chooser: c.way.chooser(c),
		arrivals: rand.New(rand.NewPCG(c.seed, 1)), chance: rand.New(rand.NewPCG(c.seed, 2)),
		free: make([]time.Duration, c.workers), inFlight: make([]int, c.workers),
		waits: make([]time.Duration, 0, c.n),
	}
	s.later(s.pause(), s.next)
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	if len(s.waits) != c.n {
		panic(fmt.Sprintf("scale: %d of %d requests were served", len(s.waits), c.n))
	}
	return s.result()
}

// pause is how long it takes until the next request comes: their number in any
// span of time has a Poisson distribution.
func (s *simulation) pause() time.Duration {
	between := float64(s.mean) / (s.busy * float64(s.workers))
	return time.Duration(s.arrivals.ExpFloat64() * between)
}

// next is the arrival of a request, at any of the brokers.
func (s *simulation) next() {
	s.come++
	warmUp := s.warmUp()
	r := &request{
		broker: s.arrivals.IntN(s.brokers), arrived: s.now, length: s.length(s.arrivals), measured: s.come > warmUp,
	}
	if s.come < warmUp+s.n {
		s.later(s.pause(), s.next)
	}
	s.arrive(s, r)
}

// start brings r to a worker. The worker has one slot, so it is known at once
// when r will be done: when all that came before it is done, and its own work.
func (s *simulation) start(r *request, worker int) {
	begins := max(s.now, s.free[worker])
	s.free[worker] = begins + r.length
	s.inFlight[worker]++
	if r.measured {
		s.most = max(s.most, s.inFlight[worker])
		s.waits = append(s.waits, begins-r.arrived)
	}
	s.later(s.free[worker]-s.now, func() {
		s.inFlight[worker]--
		s.done(s, r, worker)
	})
}

func (s *simulation) result() result {
	var sum time.Duration
	for _, w := range s.waits {
		sum += w
	}
	slices.Sort(s.waits)
	return result{mean: sum / time.Duration(s.n), p99: s.waits[(99*s.n+99)/100-1], most: s.most}
}

// later has do called after d; of two at the same time, the one first that was
// noted first.
func (s *simulation) later(d time.Duration, do func()) {
	s.noted++
	heap.Push(&s.events, event{s.now + d, s.noted, do})
}

type event struct {
	at     time.Duration
	number int
	do     func()
}

// events implements [heap.Interface]: the next one is the first.
type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

func (e *events) Pop() any {
	last := len(*e) - 1
	next := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return next
}
