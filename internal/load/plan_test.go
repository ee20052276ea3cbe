package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/protocol"
)

const (
	long, short       = protocol.Long, protocol.Short
	roundRobin, least = protocol.RoundRobin, protocol.LeastConnections
)

// all returns the requests of a plan, whose types and approaches default to one.
func (p Plan) all() (all []Planned) {
	if p.Types == nil && p.Mix == nil {
		p.Types = []protocol.Type{short}
	}
	if p.Approaches == nil {
		p.Approaches = []protocol.Approach{roundRobin}
	}
	s := p.Schedule()
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		all = append(all, r)
	}
	return all
}

// letters returns the types as l and s, of one approach if it is given.
func letters(all []Planned, of ...protocol.Approach) string {
	var b strings.Builder
	for _, r := range all {
		if len(of) == 0 || r.Approach == of[0] {
			b.WriteString(strings.ToLower(r.Type.String()[:1]))
		}
	}
	return b.String()
}

func TestEvenPlan(t *testing.T) {
	for i, r := range (Plan{N: 1000, Rate: 7}).all() {
		want := time.Duration(float64(i)/7*1e9 + 0.5)
		if r.Start != want || !r.Paced {
			t.Fatalf("request %d at %v, want %v", i, r.Start, want)
		}
	}
	if r := (Plan{N: 1}).all()[0]; r.Paced || r.Start != 0 {
		t.Errorf("without a rate there is a planned start: %v", r)
	}
}

// A plan for a time has the requests that start before its end, and no other.
func TestPlanForATime(t *testing.T) {
	for _, test := range []struct {
		plan Plan
		want int
	}{
		{Plan{For: Span(30 * time.Second), Rate: 0.1}, 3},
		{Plan{For: Span(100 * time.Second), Rate: 0.07}, 7}, // their product is a little more than 7
		{Plan{For: Span(30 * time.Second), Rate: 10}, 300},
		{Plan{For: Span(2500 * time.Millisecond), Rate: 1}, 3},
		{Plan{For: Span(time.Millisecond), Rate: 1}, 1},
		{Plan{For: Span(time.Millisecond), Rate: 1e-3}, 1},
		{Plan{For: Span(time.Millisecond), Rate: 1e-300, Arrivals: Poisson}, 1},
		{Plan{For: Span(10 * time.Second), Rate: 10, RateTo: 200}, 1050},
		{Plan{For: Span(10 * time.Second), Rate: 200, RateTo: 10}, 1050},
		{Plan{For: Span(10 * time.Second), RateTo: 10}, 50},
		{Plan{For: Span(10 * time.Second), Rate: 33, Arrivals: Poisson}, 330},
	} {
		all := test.plan.all()
		what := fmt.Sprintf("%+v", test.plan)
		expect(t, what+": requests", len(all), test.want)
		n, known := test.plan.Count()
		expect(t, what+": counted", n, test.want)
		expect(t, what+": known", known, true)
		if last := all[len(all)-1].Start; last >= time.Duration(test.plan.For) {
			t.Errorf("%s: the last one starts at %v", what, last)
		}
	}
	if n, _ := (Plan{For: Span(24 * time.Hour), Rate: 30_000}).Count(); int64(n) != 24*3600*30_000 && math.MaxInt > math.MaxInt32 {
		t.Errorf("a long plan has %d requests", n)
	}
	_, known := Plan{For: 1}.Count()
	expect(t, "known without a rate", known, false)
}

// A ramp has as many requests in each part of its time as the rate there says.
func TestRamp(t *testing.T) {
	for _, plan := range []Plan{
		{N: 10_500, Rate: 10, RateTo: 200}, // for 100 s
		{N: 10_500, Rate: 200, RateTo: 10},
		{N: 10_000, RateTo: 200},
		{N: 10_500, Rate: 10, RateTo: 200, Arrivals: Poisson},
	} {
		all, what := plan.all(), fmt.Sprintf("%+v", plan)
		expect(t, what+": length", plan.Length(), 100*time.Second)
		var counts [10]int
		for i, r := range all {
			if i > 0 && r.Start < all[i-1].Start {
				t.Fatalf("%s: request %d starts before the one before", what, i)
			}
			counts[r.Start/(10*time.Second)]++
		}
		from, to := plan.ends()
		for i, n := range counts {
			want := 10 * (from + (to-from)*(float64(i)+0.5)/10)
			allowed := 1.0
			if plan.Arrivals == Poisson {
				allowed = 4 * math.Sqrt(want)
			}
			if math.Abs(float64(n)-want) > allowed {
				t.Errorf("%s: %d requests in part %d, want %v", what, n, i, want)
			}
		}
	}
}

// The plan of a seed is the same everywhere and for ever: these are its first
// requests.
func TestSeedGivesThePlan(t *testing.T) {
	plan := Plan{N: 900, Rate: 30, Arrivals: Poisson, Mix: []Share{{long, 1}, {short, 2}}, Seed: 1}
	all := plan.all()
	var starts []string
	for _, r := range all[:5] {
		starts = append(starts, r.Start.Round(time.Microsecond).String())
	}
	expect(t, "starts", strings.Join(starts, " "), "29.387ms 34.122ms 71.656ms 90.937ms 185.475ms")
	expect(t, "types", letters(all[:20]), "ssssllssllssslssssll")
	if again := plan.all(); !slices.Equal(again, all) {
		t.Error("the same seed gives another plan")
	}
	plan.Seed = 2
	other := plan.all()
	if letters(other) == letters(all) || other[0].Start == all[0].Start {
		t.Error("another seed gives the same plan")
	}
	plan.Seed, plan.Arrivals = 1, Even
	expect(t, "types with even arrivals", letters(plan.all()), letters(all))
}

// Poisson arrivals have the rate that was asked for, whatever the seed, and gaps
// that are exponential: as many below a time as 1-exp(-rate*time), and none
// tells of the next one.
func TestPoisson(t *testing.T) {
	const n, rate = 10_000, 100.0
	for seed := range uint64(50) {
		all := Plan{N: n, Rate: rate, Arrivals: Poisson, Seed: seed}.all()
		mean := n / all[n-1].Start.Seconds()
		if math.Abs(mean/rate-1) > 0.02 {
			t.Errorf("seed %d: the rate is %v, want %v", seed, mean, rate)
		}
		var gaps []float64 // in mean gaps
		for i := 1; i < n; i++ {
			gaps = append(gaps, (all[i].Start-all[i-1].Start).Seconds()*rate)
		}
		for _, x := range []float64{0.1, 0.5, 1, 2, 4} {
			below := 0.0
			for _, g := range gaps {
				if g < x {
					below++
				}
			}
			if want := 1 - math.Exp(-x); math.Abs(below/n-want) > 0.02 {
				t.Errorf("seed %d: %v of the gaps are below %v, want %v", seed, below/n, x, want)
			}
		}
		var correlation float64
		for i := 1; i < len(gaps); i++ {
			correlation += (gaps[i] - 1) * (gaps[i-1] - 1) / n
		}
		if math.Abs(correlation) > 0.05 {
			t.Errorf("seed %d: gaps that follow each other have a correlation of %v", seed, correlation)
		}
	}
}

// A mix is exact over the run, and in random order.
func TestMix(t *testing.T) {
	mix := []Share{{long, 1}, {short, 2}}
	for n, longs := range map[int]int{900: 300, 1: 0, 2: 1, 3: 1, 10: 3, 11: 4} {
		got := letters(Plan{N: n, Mix: mix, Seed: 5}.all())
		expect(t, fmt.Sprint("requests of ", n), len(got), n)
		expect(t, fmt.Sprint("Longs of ", n), strings.Count(got, "l"), longs)
	}
	followed := strings.Count(letters(Plan{N: 9000, Mix: mix, Seed: 5}.all()), "ll")
	if followed < 700 || followed > 800 { // p*p/(1+p) of 9000 is 750: Count takes no Long twice
		t.Errorf("%d times a Long after a Long", followed)
	}
}

// Without a number of requests a mix is right on average.
func TestMixWithoutAnEnd(t *testing.T) {
	s := Plan{For: 1, Mix: []Share{{long, 1}, {short, 3}}, Approaches: []protocol.Approach{least}, Seed: 7}.Schedule()
	longs := 0
	for range 100_000 {
		if r, ok := s.Next(); !ok {
			t.Fatal("there is an end")
		} else if r.Type == long {
			longs++
		}
	}
	if longs < 24_000 || longs > 26_000 {
		t.Errorf("%d of 100000 are Long, want a quarter", longs)
	}
}

// All approaches get the same types in the same order.
func TestApproachesInTurn(t *testing.T) {
	both := []protocol.Approach{roundRobin, least}
	for _, plan := range []Plan{
		{N: 600, Types: []protocol.Type{long, short}, Approaches: both},
		{N: 600, Mix: []Share{{long, 1}, {short, 2}}, Approaches: both, Seed: 3},
	} {
		all := plan.all()
		for i, r := range all {
			expect(t, "approach", r.Approach, both[i%2])
		}
		expect(t, "types", letters(all, least), letters(all, roundRobin))
		if a := letters(all, least); !strings.Contains(a, "l") || !strings.Contains(a, "s") {
			t.Errorf("one approach gets %q", a)
		}
	}
}

func TestApportion(t *testing.T) {
	for _, parts := range [][]int{{1, 2}, {2, 1}, {1}, {1_000_000, 999_999}} {
		if shares := apportion(math.MaxInt, parts); sum(shares) != math.MaxInt {
			t.Errorf("all numbers in the proportion of %v: %v", parts, shares)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		parts := make([]int, 1+random.IntN(4))
		for i := range parts {
			parts[i] = 1 + random.IntN(1000)
		}
		n := random.IntN(10_000)
		shares := apportion(n, parts)
		if sum(shares) != n {
			t.Fatalf("%d in the proportion of %v: %v", n, parts, shares)
		}
		for i, s := range shares {
			if exact := float64(n) * float64(parts[i]) / float64(sum(parts)); math.Abs(float64(s)-exact) >= 1 {
				t.Fatalf("%d in the proportion of %v: %v", n, parts, shares)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"20": "20 0 <nil>", "0": "0 0 <nil>", "0.5": "0.5 0 <nil>", "10..200": "10 200 <nil>", "0..1.5": "0 1.5 <nil>", "200..10": "200 10 <nil>",
		"fast": "0 0 want a number, or a ramp such as 10..200", "1..": "0 0 want a number, or a ramp such as 10..200",
		"..1": "0 0 want a number, or a ramp such as 10..200", "-1": "0 0 want a number of at least 0", "NaN": "0 0 want a number of at least 0",
		"Inf": "0 0 want a number of at least 0", "1..-1": "0 0 want a number of at least 0",
		"10..0": "0 0 want a ramp that ends above 0, such as 10..200", "10...20": "0 0 want a number, or a ramp such as 10..200",
		"1e9": "1e+09 0 <nil>", "1.1e9": "0 0 want a number of at most 1000000000", "1..1e308": "0 0 want a number of at most 1000000000",
	} {
		from, to, err := ParseRate(text)
		expect(t, "rate "+text, fmt.Sprint(from, to, err), want)
	}
	for text, want := range map[string]string{
		"Long=1,Short=2": "[Long=1 Short=2] <nil>", "Short=1000000": "[Short=1000000] <nil>", " Long = 1, Short=2": "[Long=1 Short=2] <nil>",
		"Long":          "[] want a type and a whole number from 1 to 1000000, such as Long=1,Short=2",
		"Long=0":        "[] want a type and a whole number from 1 to 1000000, such as Long=1,Short=2",
		"Long=1000001":  "[] want a type and a whole number from 1 to 1000000, such as Long=1,Short=2",
		"":              "[] want a type and a whole number from 1 to 1000000, such as Long=1,Short=2",
		"Medium=1":      `[] unknown type "Medium": want Long or Short`,
		"Long=1,Long=2": "[] Long is there twice",
	} {
		mix, err := ParseMix(text)
		expect(t, "mix "+text, fmt.Sprint(mix, " ", err), want)
	}
	for text, want := range map[string]string{"even": "even <nil>", "poisson": "poisson <nil>", "Poisson": " want even or poisson"} {
		a, err := ParseArrivals(text)
		expect(t, "arrivals "+text, fmt.Sprint(a, " ", err), want)
	}
}

// A ramp that goes on for longer than planned asks for no more than its mean.
func TestMeanOfALateRamp(t *testing.T) {
	for _, p := range []Plan{{N: 1000, RateTo: 20}, {For: Span(100 * time.Second), RateTo: 20}} {
		expect(t, "at half of the time", p.meanUntil(50*time.Second), 5)
		expect(t, "at its end", p.meanUntil(100*time.Second), 10)
		expect(t, "later", p.meanUntil(200*time.Second), 10)
	}
}
