package load

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"balancelab/internal/protocol"
)

// A Planned is one request of a plan.
type Planned struct {
	// Paced says that the request has a planned start, Start after the start of
	// the run. Without one, Start is 0.
	Paced bool
	Start time.Duration
	protocol.Request
}

// A Schedule is the requests of a plan, in order. It keeps only its place, so
// that a plan may have any number of requests.
type Schedule struct {
	plan  Plan
	n     int // how many requests there are, if known
	known bool
	next  int // the number of the next one

	gaps *rand.Rand // chooses the gaps of Poisson arrivals
	left float64    // the logarithm of the part of the time that is left for them

	order  *rand.Rand    // chooses the types of a mix
	undue  []int         // how many of each type of the mix are left; if n is not known, always the parts
	chosen protocol.Type // for all approaches in turn
}

// The streams of random numbers. Each has its own, so that other arrivals leave
// the order of types as it is.
const (
	gapStream   = 1
	orderStream = 2
)

// Schedule returns the requests of the plan, from the first one on.
func (p Plan) Schedule() *Schedule {
	s := &Schedule{
		plan:  p,
		gaps:  rand.New(rand.NewPCG(p.Seed, gapStream)),
		order: rand.New(rand.NewPCG(p.Seed, orderStream)),
	}
	s.n, s.known = p.Count()
	for _, share := range p.Mix {
		s.undue = append(s.undue, share.Parts)
	}
	if s.known && len(p.Mix) > 0 {
		turns := s.n / len(p.Approaches)
		if s.n%len(p.Approaches) > 0 {
			turns++
		}
		s.undue = apportion(turns, s.undue)
	}
	return s
}

// Next returns the next request, or false if there are no more.
func (s *Schedule) Next() (r Planned, ok bool) {
	if s.known && s.next >= s.n {
		return Planned{}, false
	}
	if s.plan.Paced() {
		r.Paced, r.Start = true, s.plan.when(s.due())
	}
	turn, approach := s.next/len(s.plan.Approaches), s.next%len(s.plan.Approaches)
	if approach == 0 {
		s.chosen = s.choose(turn)
	}
	r.Request = protocol.Request{Type: s.chosen, Approach: s.plan.Approaches[approach]}
	s.next++
	return r, true
}

// due returns the place of the next request among all: its number, or with
// Poisson arrivals a random number above the one before. These are as random
// numbers that were sorted: the shortest of k exponential times is one that is k
// times as short.
func (s *Schedule) due() float64 {
	if s.plan.Arrivals != Poisson {
		return float64(s.next)
	}
	s.left -= s.gaps.ExpFloat64() / float64(s.n-s.next)
	return -s.plan.total() * math.Expm1(s.left)
}

// choose returns the type of a turn. A type of a mix is drawn as from an urn,
// and put back only if the number of requests is not known.
func (s *Schedule) choose(turn int) protocol.Type {
	if len(s.plan.Mix) == 0 {
		return s.plan.Types[turn%len(s.plan.Types)]
	}
	drawn := s.order.IntN(sum(s.undue))
	for i, n := range s.undue {
		if drawn < n {
			if s.known {
				s.undue[i]--
			}
			return s.plan.Mix[i].Type
		}
		drawn -= n
	}
	panic("load: a draw from an empty mix")
}

func sum(numbers []int) (all int) {
	for _, n := range numbers {
		all += n
	}
	return all
}

// apportion divides n in the proportion of parts. Each share is exact to less
// than one; what is left over goes to those that lost most by rounding.
func apportion(n int, parts []int) []int {
	whole := uint64(sum(parts))
	shares, lost := make([]int, len(parts)), make([]uint64, len(parts))
	byLoss := make([]int, len(parts))
	for i, part := range parts {
		high, low := bits.Mul64(uint64(n), uint64(part)) // a float64 would not have it exactly
		share, rest := bits.Div64(high, low, whole)
		shares[i], lost[i], byLoss[i] = int(share), rest, i
	}
	slices.SortStableFunc(byLoss, func(i, j int) int { return cmp.Compare(lost[j], lost[i]) })
	for _, i := range byLoss[:n-sum(shares)] {
		shares[i]++
	}
	return shares
}
