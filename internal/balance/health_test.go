package balance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// live lets the only worker of a lab live through outcomes: o is an answer, f a
// failure, and a full stop the time until a cool-down is over.
func (l *lab) live(outcomes string) {
	l.t.Helper()
	for _, o := range outcomes {
		switch o {
		case 'o':
			l.ask(rr, 1, Answered)
		case 'f':
			l.ask(rr, 1, Failed)
		case '.':
			time.Sleep(l.state("a").Cooling)
		}
	}
}

// The rules of health, one row each.
func TestHealth(t *testing.T) {
	const twoOfThree = "ffoffoffoffoffoffoffoffoffoffoff" // an excess of 12
	oks := strings.Repeat("o", 12)
	for _, c := range []struct {
		name, outcomes string
		cooling        time.Duration // 0: it is up
	}{
		{"two failures in a row", "ff", 0},
		{"three in a row", "fff", 1 * time.Second},
		{"two of three, an excess of 11", twoOfThree[:len(twoOfThree)-1], 0},
		{"two of three, an excess of 12", twoOfThree, 1 * time.Second},
		{"half", strings.Repeat("fo", 1000), 0},
		{"half, in pairs", strings.Repeat("ffoo", 1000), 0},
		{"three of five", strings.Repeat("ffofo", 9) + "ffof", 0},
		{"three of five, once more", strings.Repeat("ffofo", 10) + "ff", 1 * time.Second},
		{"answers are not saved up", strings.Repeat("o", 1000) + twoOfThree, 1 * time.Second},
		{"an answered trial", twoOfThree + ".o", 0},
		{"one failure after it", twoOfThree + ".of", 2 * time.Second},
		{"and again", twoOfThree + ".of.of", 4 * time.Second},
		{"a failed trial and an answered one", twoOfThree + ".f.of", 4 * time.Second},
		{"up to 30 s", twoOfThree + ".f.f.f.f.f.f.of", 30 * time.Second},
		{"two answers, two failures", twoOfThree + ".ooff", 2 * time.Second},
		{"two answers, one failure", twoOfThree + ".oof", 0},
		{"an excess of 1, then three in a row", twoOfThree + "." + oks[1:] + "fff", 2 * time.Second},
		{"an excess of 0, then three in a row", twoOfThree + "." + oks + "fff", 1 * time.Second},
		{"three in a row, and an answer, do not take back an excess", "fff.offf", 2 * time.Second},
		{"three answers do", "fff.ooofff", 1 * time.Second},
		{"after three in a row one failure is not enough", "fff.of", 0},
		{"no more than 12", strings.Repeat("f", 1000) + "." + oks + "fff", 1 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1)
			l.live(c.outcomes)
			s := l.state("a")
			if want := c.cooling > 0; s.Cooling != c.cooling || (s.State == Cooling) != want || (s.State == Up) == want {
				t.Errorf("%s: %v for %v, want %v", c.name, s.State, s.Cooling, c.cooling)
			}
		})
	}
}

// A worker that came to an excess of 12 had other requests in flight. That some
// of them are answered is no news, whatever has become of its cool-down, until
// the excess is 0.
func TestAnswersFromBefore(t *testing.T) {
	for name, then := range map[string]func(l *lab){
		"cooling down":           func(*lab) {},
		"due for a trial":        func(l *lab) { l.live(".") },
		"on trial":               func(l *lab) { l.live("."); l.take(rr) },
		"cooling down once more": func(l *lab) { l.live(".f") },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1)
			var before []Lease
			for range excessLimit - 1 {
				before = append(before, l.take(rr))
			}
			l.live("ffoffoffoffoffoffoffoffoffoffof")
			last := l.take(rr)
			before = append(before, l.take(rr))
			last.Release(Failed)
			then(l)
			state := l.state("a").State
			for i := range before {
				if s := l.state("a"); s.State != state {
					t.Fatalf("%s: %v after %d answers", name, s.State, i)
				}
				before[len(before)-1-i].Release(Answered) // the latest first
			}
			if s := l.state("a"); s.State != Up {
				t.Errorf("%s: %v after as many answers as failures", name, s.State)
			}
			l.live("fff")
			if s := l.state("a"); s.Cooling != firstCoolDown {
				t.Errorf("%s: after three more failures it cools for %v, want %v", name, s.Cooling, firstCoolDown)
			}
		})
	}
}

// Any other answer ends a cool-down.
func TestAnswersEndACoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		before := l.take(rr)
		l.live("fff")
		before.Release(Answered)
		if s := l.state("a"); s.State != Up {
			t.Errorf("three in a row, then an answer to a request from before: %v", s.State)
		}

		l = newLab(t, 1)
		l.live("ffoffoffoffoffoffoffoffoffoffoff" + "o")
		if s := l.state("a"); s.State != Up {
			t.Errorf("an excess of 12, then an answer to a request that had no other worker left: %v", s.State)
		}
	})
}

// A scene is three workers of which the first fails often; the others answer
// all in 100 ms.
type scene struct {
	selector int
	rate     int           // requests a second
	answer   time.Duration // how long the first worker takes for an answer
	failure  time.Duration // and for a failure
	fails    func() bool   // whether it fails its next request
}

// play sends requests for that long, and returns how many failed.
func (c scene) play(t *testing.T, seed uint64, length time.Duration) (failed int) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newLab(t, 1, 1, 1)
		for range c.rate * int(length/time.Second) {
			lease := l.take(c.selector)
			took, outcome := 100*time.Millisecond, Answered
			if lease.Index() == 0 {
				took = c.answer
				if c.fails() {
					took, outcome = c.failure, Failed
					failed++
				}
			}
			if took == 0 {
				lease.Release(outcome)
			} else {
				// No two events at the same time: their order would be chance.
				took += time.Duration(r.IntN(1_000_000)) * time.Nanosecond
				time.AfterFunc(took, func() { lease.Release(outcome) })
			}
			time.Sleep(time.Second / time.Duration(c.rate))
		}
		time.Sleep(time.Second)
		l.Snapshot()
	})
	return failed
}

func pattern(p string) func() bool {
	i := -1
	return func() bool { i++; return p[i%len(p)] == 'f' }
}

func chance(seed uint64, p float64) func() bool {
	r := rand.New(rand.NewPCG(seed, 2))
	return func() bool { return r.Float64() < p }
}

// A worker that fails everything at once is kept out.
func TestFailsAlways(t *testing.T) {
	for _, s := range []int{lc, rr} {
		for _, seconds := range []time.Duration{3, 30} {
			c := scene{selector: s, rate: 100, fails: pattern("f")}
			failed := c.play(t, 1, seconds*time.Second)
			t.Logf("%s: %d of %d failed", names[s], failed, 100*seconds)
			if failed > 12 {
				t.Errorf("%s: %d of %d failed, want at most 12", names[s], failed, 100*seconds)
			}
		}
	}
}

// So is one that fails two of three at once, and answers the third at once or as
// late as the others: at most 40 requests fail, in 3 seconds and in 30.
func TestFailsTwoOfThree(t *testing.T) {
	const seeds = 8
	for _, s := range []int{lc, rr} {
		for _, answer := range []time.Duration{0, 100 * time.Millisecond} {
			for _, seconds := range []time.Duration{3, 30} {
				all := ""
				try := func(seed uint64, fails func() bool) {
					c := scene{selector: s, rate: 100, answer: answer, fails: fails}
					failed := c.play(t, seed, seconds*time.Second)
					all += fmt.Sprint(" ", failed)
					if failed > 40 {
						t.Errorf("%s, answers after %v, seed %d: %d of %d failed, want at most 40", names[s], answer, seed, failed, 100*seconds)
					}
				}
				for _, p := range []string{"ffo", "fof", "off"} {
					try(1, pattern(p))
				}
				for seed := range uint64(seeds) {
					try(seed, chance(seed, 2./3))
				}
				t.Logf("%s, answers after %v: of %d failed%s", names[s], answer, 100*seconds, all)
			}
		}
	}
}

// And so is one that always has answers under way while it fails: without the
// exception for answers from before, up to 1,200 of these 30,000 fail.
func TestFailsTwoOfThreeWhileOthersAreInFlight(t *testing.T) {
	const late = 100 * time.Millisecond
	for _, s := range []int{lc, rr} {
		for seed := range uint64(4) {
			c := scene{selector: s, rate: 1000, answer: late, failure: late, fails: chance(seed, 2./3)}
			failed := c.play(t, seed, 30*time.Second)
			t.Logf("%s: %d of 30,000 failed", names[s], failed)
			if failed > 150 {
				t.Errorf("%s: %d of 30,000 failed, want at most 150", names[s], failed)
			}
		}
	}
}

// A worker that fails less than half is not taken out for its excess, and in
// turn (not three in a row) not at all.
func TestFailsSeldom(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name   string
		inTurn bool
		fails  func() bool
	}{
		{"1 of 50, in turn", true, pattern(strings.Repeat("o", 49) + "f")},
		{"1 of 10, in turn", true, pattern("ooooooooof")},
		{"1 of 4, in turn", true, pattern("ooof")},
		{"2 of 4, in turn", true, pattern("ooff")},
		{"1 of 50, at random", false, chance(1, 1./50)},
		{"1 of 10, at random", false, chance(1, 1./10)},
		{"1 of 4, at random", false, chance(1, 1./4)},
		{"1 of 4, at random, again", false, chance(2, 1./4)},
		{"1 of 4, at random, once more", false, chance(3, 1./4)},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1)
			causes := map[Cause]int{}
			l.OnChange = func(c Change) { causes[c.Cause]++ }
			for range n {
				outcome := Answered
				if c.fails() {
					outcome = Failed
				}
				l.ask(lc, 1, outcome)
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("%s: %d cool-downs for the excess, %d for failures in a row", c.name, causes[TooManyFailed], causes[FailedInARow])
			if causes[TooManyFailed] > 0 || c.inTurn && len(causes) > 0 {
				t.Errorf("%s: %v", c.name, causes)
			}
		})
	}
}
