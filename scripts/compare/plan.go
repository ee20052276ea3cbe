package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// The experiment's fixed parts: three workers, as in the course notes, whose
// work is a tenth of the notes'.
const (
	workers   = 3
	longWork  = 500 * time.Millisecond
	shortWork = 100 * time.Millisecond
)

// usual is how busy the workers are kept if no rate is asked for.
const usual = 0.85

// A plan says what is measured.
type plan struct {
	pattern []protocol.Type
	n       int
	slots   int     // of each worker; 0 means any number
	slow    float64 // how many times as long the last worker takes
	rate    float64 // a second
}

// newPlan returns a plan. A rate of 0 means the usual one.
func newPlan(pattern []protocol.Type, n, slots int, slow, rate float64) plan {
	p := plan{pattern, n, slots, slow, rate}
	if rate == 0 {
		p.rate = usual * p.capacity()
	}
	return p
}

// work returns how long a job of type t takes worker i, counted from 0.
func (p plan) work(i int, t protocol.Type) time.Duration {
	d := shortWork
	if t == protocol.Long {
		d = longWork
	}
	if i == workers-1 {
		d = time.Duration(float64(d) * p.slow)
	}
	return d
}

// capacity returns how many requests a second the workers can do together.
// Without a limit on slots there is no such number: it is then that of one
// slot.
func (p plan) capacity() float64 {
	var perSecond float64
	for i := range workers {
		var pattern time.Duration
		for _, t := range p.pattern {
			pattern += p.work(i, t)
		}
		perSecond += float64(len(p.pattern)) / pattern.Seconds()
	}
	return perSecond * float64(max(1, p.slots))
}

// span returns for how long requests come.
func (p plan) span() time.Duration {
	return time.Duration(float64(p.n) / p.rate * float64(time.Second))
}

// lasts returns about how long a run takes: until all requests have come, or,
// if that is later, until round robin's busiest worker has done its share.
func (p plan) lasts(types []protocol.Type) time.Duration {
	longest := p.span()
	if p.slots == 0 {
		return longest
	}
	var share [workers]time.Duration
	for i, t := range types {
		share[i%workers] += p.work(i%workers, t)
	}
	return max(longest, slices.Max(share[:])/time.Duration(p.slots))
}

// String says what is measured, for a person.
func (p plan) String() string {
	slots := fmt.Sprintf("%d slots each", p.slots)
	switch p.slots {
	case 0:
		slots = "any number of slots"
	case 1:
		slots = "one slot each"
	}
	slow := ""
	if p.slow != 1 {
		slow = fmt.Sprintf("; Worker-%d takes %.3g times as long", workers, p.slow)
	}
	limit := "There is no limit to what they can do"
	share := ""
	if p.slots > 0 {
		limit = fmt.Sprintf("Together they can do %.3g requests a second", p.capacity())
		share = fmt.Sprintf(", %.0f %% of that", 100*p.rate/p.capacity())
	}
	return fmt.Sprintf(`Three workers with %s. A Long is %v of work, a Short %v%s.
%s; %d come at %.3g a second%s.
Each way to divide them gets the same requests at the same times, in a lab of its own.`,
		slots, longWork, shortWork, slow, limit, p.n, p.rate, share)
}

// A scenario is the requests of one comparison, and what became of them under
// each way, in the order of plan.ways.
type scenario struct {
	name     string
	types    []protocol.Type // of each request
	outcomes []outcome
}

// inTurn returns the scenario in which the pattern is repeated.
func (p plan) inTurn() scenario {
	var names []string
	for _, t := range p.pattern {
		names = append(names, t.String())
	}
	return scenario{name: strings.Join(names, ", ") + ", in turn", types: p.types()}
}

// shuffled returns the scenario in which the same requests come in an order
// that seed chooses, as that of a load run's mix.
func (p plan) shuffled(seed uint64) scenario {
	var mix []load.Share
	for _, t := range protocol.Types() {
		if n := count(p.types(), t); n > 0 {
			mix = append(mix, load.Share{Type: t, Parts: n})
		}
	}
	s := scenario{name: fmt.Sprintf("The same requests in random order (seed %d)", seed)}
	order := load.Plan{N: p.n, Mix: mix, Approaches: protocol.Approaches()[:1], Seed: seed}.Schedule()
	for r, ok := order.Next(); ok; r, ok = order.Next() {
		s.types = append(s.types, r.Type)
	}
	return s
}

// count returns how many of the types are t.
func count(types []protocol.Type, t protocol.Type) (n int) {
	for _, other := range types {
		if other == t {
			n++
		}
	}
	return n
}

func (p plan) types() []protocol.Type {
	types := make([]protocol.Type, p.n)
	for i := range types {
		types[i] = p.pattern[i%len(p.pattern)]
	}
	return types
}
