package runs

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// The bounds of a run.
const (
	MaxRequests = 100_000
	MaxRate     = 1000 // requests a second
	MaxTime     = time.Hour
	MaxAtOnce   = 1000 // requests in flight

	minRate  = 0.001 // except for 0
	maxParts = 1000  // of one type in a mix
)

// An Order says what is to be run. In JSON it is the body of POST /run; what is
// left out is 0, or empty.
type Order struct {
	// N is the number of requests, and Seconds for how long requests are started.
	// If both are 0 the run goes on until it is stopped, or until one of the bounds
	// is reached.
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"`
	// C is how many requests are in flight at once, at most. 0 means as many as the
	// client has without -c: 1 without a rate, and with one as many as are allowed.
	C int `json:"c"`
	// Rate is how many are started a second; 0 means as fast as C allows.
	Rate float64 `json:"rate"`
	// Types are the types of the requests, in turn. Mix has them come in random
	// order, so many parts of each. One of the two is required.
	Types []protocol.Type       `json:"types"`
	Mix   map[protocol.Type]int `json:"mix"`
	// Arrivals says how the starts are spread; "" means even.
	Arrivals load.Arrivals `json:"arrivals"`
	// Approaches are the approaches of the requests, in turn. They are required,
	// except for a comparison, which has its own.
	Approaches []protocol.Approach `json:"approaches"`
	// Seed chooses what is random; 0 means another one each time.
	Seed uint64 `json:"seed"`
	// Compare makes it a comparison.
	Compare bool `json:"compare"`
}

// newSeed returns a seed that is short enough to be typed.
func newSeed() uint64 { return uint64(rand.Uint32()) + 1 }

// check returns what is wrong with the order, or nil. At most a number of requests
// may be in flight at once.
func (o Order) check(atOnce int) error {
	switch {
	case o.N < 0 || o.N > MaxRequests:
		return fmt.Errorf("n must be from 0 to %d: %d", MaxRequests, o.N)
	case o.C < 0 || o.C > atOnce:
		return fmt.Errorf("c must be from 0 to %d: %d", atOnce, o.C)
	case o.Rate != 0 && !(o.Rate >= minRate && o.Rate <= MaxRate):
		return fmt.Errorf("rate must be 0, or from %v to %v: %v", minRate, MaxRate, o.Rate)
	case !(o.Seconds >= 0 && o.Seconds <= MaxTime.Seconds()):
		return fmt.Errorf("seconds must be from 0 to %.0f: %v", MaxTime.Seconds(), o.Seconds)
	}
	return cmp.Or(o.checkKinds(), o.checkLength())
}

// checkKinds is about which requests there are.
func (o Order) checkKinds() error {
	switch {
	case len(o.Types) == 0 && len(o.Mix) == 0:
		return errors.New(`there are no types: want "types": ["Long", "Short"], or a mix`)
	case len(o.Types) > 0 && len(o.Mix) > 0:
		return errors.New("a mix says the types: leave out types")
	case slices.Contains(o.Types, protocol.NoType):
		return errors.New("one of the types is empty")
	case o.Compare && len(o.Approaches) > 0:
		return errors.New("a comparison has approaches of its own: leave out approaches")
	case !o.Compare && len(o.Approaches) == 0:
		return errors.New(`there are no approaches: want "approaches": ["round_robin"], or a comparison`)
	case slices.Contains(o.Approaches, protocol.NoApproach):
		return errors.New("one of the approaches is empty")
	}
	for t, parts := range o.Mix {
		if t == protocol.NoType || parts < 1 || parts > maxParts {
			return fmt.Errorf("a mix has from 1 to %d parts of a type: %d of %q", maxParts, parts, t)
		}
	}
	return nil
}

// checkLength is about when requests begin, and how many they are.
func (o Order) checkLength() error {
	if o.Arrivals != "" {
		if _, err := load.ParseArrivals(string(o.Arrivals)); err != nil {
			return fmt.Errorf("arrivals: %w", err)
		}
	}
	switch {
	case o.Arrivals == load.Poisson && o.Rate == 0:
		return errors.New("poisson arrivals take a rate")
	case o.N > 0 && o.Seconds > 0:
		return errors.New("seconds says how long: leave out n")
	case o.Compare && o.open():
		return errors.New("a comparison has an end: want n or seconds")
	case o.Compare:
		o.N, o.Seconds = o.N*maxWays, o.Seconds*maxWays
		if err := o.checkBounds(); err != nil {
			return fmt.Errorf("a comparison sends everything up to %d times: %w", maxWays, err)
		}
		return nil
	}
	return o.checkBounds()
}

// checkBounds is about all that is sent together.
func (o Order) checkBounds() error {
	most := cmp.Or(o.Rate, MaxRate)
	switch {
	case o.N > MaxRequests:
		return fmt.Errorf("%d requests are more than %d", o.N, MaxRequests)
	case o.Seconds > MaxTime.Seconds():
		return fmt.Errorf("%v seconds are more than an hour", o.Seconds)
	case o.Rate > 0 && float64(o.N)/o.Rate > MaxTime.Seconds():
		return fmt.Errorf("%d requests at %v a second take more than an hour", o.N, o.Rate)
	case o.Seconds*most > MaxRequests:
		return fmt.Errorf("%v seconds at %v a second are more than %d requests", o.Seconds, most, MaxRequests)
	}
	return nil
}

// open reports whether the run goes on until it is stopped.
func (o Order) open() bool { return o.N == 0 && o.Seconds == 0 }

// A way is one way to divide the requests among the workers.
type way struct {
	name       string
	approaches []protocol.Approach
	limited    bool // the workers have their limits
}

// maxWays is how many ways a comparison has, at most.
const maxWays = 3

// ways returns those of the order. A comparison has a queue if workers have a
// limit.
func (o Order) ways(limits bool) []way {
	if !o.Compare {
		return []way{{name: words(o.Approaches), approaches: o.Approaches}}
	}
	var all []way
	for _, a := range []protocol.Approach{protocol.RoundRobin, protocol.LeastConnections} {
		all = append(all, way{name: a.String(), approaches: []protocol.Approach{a}})
	}
	if limits {
		all = append(all, way{name: "one queue", approaches: []protocol.Approach{protocol.RoundRobin}, limited: true})
	}
	return all
}

// plan returns the requests in one way.
func (o Order) plan(w way) load.Plan {
	p := load.Plan{
		N: o.N, For: load.Span(o.Seconds * float64(time.Second)), Rate: o.Rate, Arrivals: o.Arrivals,
		Types: o.Types, Approaches: w.approaches, Seed: o.Seed,
	}
	for _, t := range protocol.Types() {
		if o.Mix[t] > 0 {
			p.Mix = append(p.Mix, load.Share{Type: t, Parts: o.Mix[t]})
		}
	}
	switch {
	case o.open() && o.Rate == 0:
		p.N = MaxRequests
	case o.open():
		p.For = load.Span(min(MaxTime.Seconds(), MaxRequests/o.Rate) * float64(time.Second))
	}
	return p
}

// Of the client, if its command line does not say something else.
const (
	clientBroker = "127.0.0.1:8000"
	clientPaced  = 1000 // -c with -rate
)

// atOnce returns how many requests are in flight at once, most of them at most,
// and how many that are with a client that has no -c.
func (o Order) atOnce(most int) (n, client int) {
	client = 1
	if o.Rate > 0 {
		client = clientPaced
	}
	return min(most, cmp.Or(o.C, client)), client
}

// command returns what a client's command line would be that sends the requests of
// a plan to addr, at most a number of them at once.
func (o Order) command(addr string, p load.Plan, most int) string {
	line := []string{"client"}
	flag := func(set bool, name, value string) {
		if set {
			line = append(line, "-"+name, value)
		}
	}
	c, client := o.atOnce(most)
	one := p.N == 1 && !p.Paced() && !p.Random()
	flag(addr != clientBroker, "broker", addr)
	flag(p.For == 0 && !one, "n", strconv.Itoa(p.N))
	flag(p.For > 0, "d", time.Duration(p.For).String())
	flag(c != client && !one, "c", strconv.Itoa(c))
	flag(p.Paced(), "rate", strconv.FormatFloat(p.Rate, 'f', -1, 64))
	flag(p.Arrivals == load.Poisson, "arrivals", string(p.Arrivals))
	flag(len(p.Mix) > 0, "mix", words(p.Mix))
	flag(p.Random(), "seed", strconv.FormatUint(p.Seed, 10))
	if len(p.Types) > 0 {
		line = append(line, words(p.Types))
	}
	return strings.Join(append(line, words(p.Approaches)), " ")
}

// words returns a list as a command line has it. One of several is quoted, since
// PowerShell takes a comma for the end of an argument.
func words[T fmt.Stringer](list []T) string {
	var all []string
	for _, e := range list {
		all = append(all, e.String())
	}
	if len(all) > 1 {
		return "'" + strings.Join(all, ",") + "'"
	}
	return strings.Join(all, ",")
}
