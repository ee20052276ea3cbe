package load

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/protocol"
)

// A Plan says which requests a run sends: how many, when each one starts, of
// which type it is, and under which approach. It depends on nothing else: two
// runs with equal plans send the same requests at the same times after their
// start. [Plan.Schedule] returns the requests one by one.
type Plan struct {
	// N is the number of requests, exactly. It is 0 if For says how many.
	N int `json:"n"`
	// For, if not 0, is how long requests are started: none starts after it.
	// Those in flight then are not stopped.
	For Span `json:"for_seconds"`
	// Rate is the number of requests started in a second, by all senders
	// together; 0 means as fast as the limit on requests in flight allows.
	Rate float64 `json:"rate"`
	// RateTo, if not 0, makes a ramp: the rate changes evenly over the run, from
	// Rate, which may then be 0, to RateTo.
	RateTo float64 `json:"rate_to"`
	// Arrivals says how the starts are spread; "" means Even.
	Arrivals Arrivals `json:"arrivals"`
	// Types are the types of the requests, in turn. At least one is required,
	// unless there is a Mix.
	Types []protocol.Type `json:"types"`
	// Mix, if not empty, has the types come in random order, in this proportion.
	// The proportion is exact if the number of requests is known before the run.
	Mix []Share `json:"mix"`
	// Approaches are the approaches of the requests, in turn; at least one is
	// required. The type changes when each approach has had its turn, so that all
	// of them get the same types in the same order.
	Approaches []protocol.Approach `json:"approaches"`
	// Seed chooses what is random. Equal seeds give equal plans.
	Seed uint64 `json:"seed"`
}

// Arrivals is how starts are spread over the time.
type Arrivals string

const (
	// Even makes all gaps between starts equal, or in a ramp as equal as can be.
	Even Arrivals = "even"
	// Poisson makes starts independent of each other, as those of many users are:
	// some come close together, and queues form at a load at which even arrivals
	// have none. The number of requests is fixed. Among Poisson processes these
	// are the ones that have this number of arrivals in the time of the plan.
	Poisson Arrivals = "poisson"
)

// A Share says how many parts of a mix are of a type.
type Share struct {
	Type  protocol.Type `json:"type"`
	Parts int           `json:"parts"`
}

// ParseArrivals returns the arrivals that text names.
func ParseArrivals(text string) (Arrivals, error) {
	if a := Arrivals(text); a == Even || a == Poisson {
		return a, nil
	}
	return "", fmt.Errorf("want %s or %s", Even, Poisson)
}

// ParseRate returns the rate that text is, such as 20, or the two ends of a
// ramp, such as 10..200. Without a ramp, to is 0.
func ParseRate(text string) (from, to float64, err error) {
	first, last, ramp := strings.Cut(text, "..")
	from, err = strconv.ParseFloat(first, 64)
	if err == nil && ramp {
		to, err = strconv.ParseFloat(last, 64)
	}
	switch {
	case err != nil, strings.HasPrefix(last, "."): // 10...20 is a slip, and no ramp to 0.2
		return 0, 0, errors.New("want a number, or a ramp such as 10..200")
	case !isRate(from) || !isRate(to):
		return 0, 0, errors.New("want a number of at least 0")
	case max(from, to) > maxRate:
		return 0, 0, fmt.Errorf("want a number of at most %d", int64(maxRate))
	case ramp && to == 0:
		return 0, 0, errors.New("want a ramp that ends above 0, such as 10..200")
	}
	return from, to, nil
}

// maxRate is one request a nanosecond: there are no shorter times.
const maxRate = 1e9

func isRate(f float64) bool { return f >= 0 && !math.IsInf(f, 0) }

// maxParts limits the parts of one type in a mix that is parsed.
const maxParts = 1_000_000

// ParseMix returns the mix that text is, such as Long=1,Short=2. White space
// around types and numbers is ignored.
func ParseMix(text string) (mix []Share, err error) {
	for item := range strings.SplitSeq(text, ",") {
		name, parts, _ := strings.Cut(item, "=")
		n, err := strconv.Atoi(strings.TrimSpace(parts))
		if err != nil || n < 1 || n > maxParts {
			return nil, fmt.Errorf("want a type and a whole number from 1 to %d, such as Long=1,Short=2", maxParts)
		}
		t, err := protocol.ParseType(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(mix, func(s Share) bool { return s.Type == t }) {
			return nil, fmt.Errorf("%s is there twice", t)
		}
		mix = append(mix, Share{t, n})
	}
	return mix, nil
}

// String returns the share as [ParseMix] reads it.
func (s Share) String() string { return fmt.Sprintf("%s=%d", s.Type, s.Parts) }

// Paced reports whether requests have planned starts.
func (p Plan) Paced() bool { return p.Rate > 0 || p.RateTo > 0 }

// Random reports whether the plan depends on its seed.
func (p Plan) Random() bool { return p.Arrivals == Poisson && p.Paced() || len(p.Mix) > 0 }

// Count returns the number of requests. It is not known if only the time is. In
// any time above 0 at least one is planned, at its start.
func (p Plan) Count() (n int, known bool) {
	if p.For == 0 {
		return p.N, true
	}
	if !p.Paced() {
		return 0, false
	}
	const rounding = 1e-6 // of a request: no start is at the very end because of it
	return int(min(max(1, math.Ceil(p.total()-rounding)), maxCount)), true
}

// maxCount is a number of requests that a float64 has exactly, and an int too.
const maxCount = min(1<<53, math.MaxInt>>10<<10)

// Length returns for how long requests are started, by the plan. It is 0 if that
// is not known.
func (p Plan) Length() time.Duration {
	switch {
	case p.For > 0:
		return time.Duration(p.For)
	case p.Paced():
		return seconds(float64(p.N) / p.mean())
	}
	return 0
}

// total returns the number of requests as a fraction: the integral of the rate.
func (p Plan) total() float64 {
	if p.For > 0 {
		return p.mean() * time.Duration(p.For).Seconds()
	}
	return float64(p.N)
}

// ends returns the rate at the start and at the end.
func (p Plan) ends() (from, to float64) {
	if p.RateTo == 0 {
		return p.Rate, p.Rate
	}
	return p.Rate, p.RateTo
}

// mean returns the rate on average.
func (p Plan) mean() float64 {
	from, to := p.ends()
	return (from + to) / 2
}

// when returns the time at which x requests are due. The plan must have a rate.
// It is the inverse of the integral of the rate, which is a parabola for a ramp.
func (p Plan) when(x float64) time.Duration {
	from, to := p.ends()
	if from == to || x <= 0 {
		return seconds(x / max(from, to))
	}
	length := p.total() / p.mean()
	root := math.Sqrt(max(0, from*from+2*(to-from)*x/length))
	return seconds(2 * x / (from + root))
}

// meanUntil returns the rate on average until t, at most the whole length.
func (p Plan) meanUntil(t time.Duration) float64 {
	from, to := p.ends()
	if from == to {
		return from
	}
	over := min(1, t.Seconds()*p.mean()/max(p.total(), 1e-9))
	return from + (to-from)*over/2
}

// normal returns an equal plan that has no nil, which JSON would show as null.
func (p Plan) normal() Plan {
	p.Arrivals = cmp.Or(p.Arrivals, Even)
	p.Types, p.Mix = append([]protocol.Type{}, p.Types...), append([]Share{}, p.Mix...)
	return p
}

// kinds returns each type of the plan once.
func (p Plan) kinds() (kinds []protocol.Type) {
	for _, s := range p.Mix {
		kinds = append(kinds, s.Type)
	}
	if len(kinds) == 0 {
		kinds = p.Types
	}
	return once(kinds)
}

// once returns the elements of list without those that were there before.
func once[T comparable](list []T) (first []T) {
	for _, e := range list {
		if !slices.Contains(first, e) {
			first = append(first, e)
		}
	}
	return first
}
