package balance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lab is a pool with both selectors and the words that the tests are told in.
type lab struct {
	t  *testing.T
	rr *RoundRobin
	lc *LeastConnections
	*Pool
}

func newLab(t *testing.T, weights ...int) *lab {
	l := &lab{t: t, rr: new(RoundRobin), lc: new(LeastConnections)}
	var workers []Worker
	for i, w := range weights {
		workers = append(workers, Worker{Name: string(rune('a' + i)), Weight: w})
	}
	l.Pool = NewPool(workers, l.rr, l.lc)
	return l
}

func (l *lab) take(s Selector) Lease {
	l.t.Helper()
	lease, ok := l.Assign(s, new(Tried))
	if !ok {
		l.t.Fatal("nobody was assigned")
	}
	return lease
}

// ask assigns n requests one after another and returns who got them.
func (l *lab) ask(s Selector, n int, o Outcome) (order string) {
	l.t.Helper()
	for range n {
		lease := l.take(s)
		order += lease.Worker().Name
		lease.Release(o)
	}
	return order
}

// fail lets the worker fail n times in a row; all the others answer.
func (l *lab) fail(name string, n int) {
	l.t.Helper()
	for n > 0 {
		lease := l.take(l.rr)
		if lease.Worker().Name == name {
			lease.Release(Failed)
			n--
			continue
		}
		lease.Release(Answered)
	}
}

func (l *lab) state(name string) Status {
	for _, s := range l.Snapshot() {
		if s.Name == name {
			return s
		}
	}
	l.t.Fatalf("no worker %s", name)
	return Status{}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestOrder(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	expect(t, "round robin", l.ask(l.rr, 7, Answered), "abcabca")
	expect(t, "least connections, one after another", l.ask(l.lc, 7, Answered), "abcabca")
}

// The course notes' session: each selector keeps its own place.
func TestCourseNotes(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	var got string
	for _, s := range []Selector{l.rr, l.lc, l.rr, l.lc, l.rr, l.rr} {
		got += l.ask(s, 1, Answered)
	}
	expect(t, "the course notes' session", got, "aabbca")
}

func TestSmoothWeights(t *testing.T) {
	l := newLab(t, 5, 1, 1)
	expect(t, "weights 5, 1, 1", l.ask(l.rr, 14, Answered), "aabacaa"+"aabacaa")
	l = newLab(t, 1, 2, 3)
	expect(t, "weights 1, 2, 3", l.ask(l.rr, 6, Answered), nginxOrder([]int{1, 2, 3}, 6))
}

// nginxOrder is nginx's rule taken literally.
func nginxOrder(weights []int, n int) (order string) {
	current := make([]int, len(weights))
	for range n {
		best, total := 0, 0
		for i, w := range weights {
			current[i] += w
			total += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order += string(rune('a' + best))
	}
	return order
}

func TestClassesFollowNginx(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		weights := make([]int, 1+r.IntN(8))
		for i := range weights {
			weights[i] = 1 + r.IntN(6)
		}
		l := newLab(t, weights...)
		expect(t, fmt.Sprint("weights ", weights), l.ask(l.rr, 100, Answered), nginxOrder(weights, 100))
	}
}

func TestLeastConnections(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	first, second := l.take(l.rr), l.take(l.rr) // round robin's requests count too
	expect(t, "with one in flight at a and b", l.ask(l.lc, 1, Answered), "c")
	first.Release(Answered)
	expect(t, "b is busy, a was never chosen by least connections", l.ask(l.lc, 2, Answered), "ac")
	second.Release(Failed)
}

func TestLeastConnectionsFollowsItsRule(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		weights := make([]int, 1+r.IntN(9))
		for i := range weights {
			weights[i] = 1 + r.IntN(3)
		}
		l := newLab(t, weights...)
		var held []Lease
		for range 200 {
			if len(held) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(held))
				held[i].Release(Answered)
				held = append(held[:i], held[i+1:]...)
				continue
			}
			best := l.members[0]
			for _, m := range l.members {
				if less(m, best) {
					best = m
				}
			}
			s := Selector(l.lc)
			if r.IntN(4) == 0 {
				s = l.rr
			}
			lease := l.take(s)
			if s == l.lc && lease.member != best {
				t.Fatalf("weights %v: chose %s, the least loaded is %s", weights, lease.Worker().Name, best.config.Name)
			}
			held = append(held, lease)
		}
	}
}

func TestWeightedLeastConnections(t *testing.T) {
	l := newLab(t, 3, 1)
	for range 40 {
		l.take(l.lc)
	}
	if a, b := l.state("a").InFlight, l.state("b").InFlight; a != 30 || b != 10 {
		t.Errorf("40 in flight with weights 3 and 1: %d and %d, want 30 and 10", a, b)
	}
}

// Choosing and counting are one step: while requests only come, from however
// many goroutines, no two workers are ever seen more than one request apart.
func TestNeverMoreThanOneApart(t *testing.T) {
	for _, pick := range []func(*lab) Selector{
		func(l *lab) Selector { return l.lc },
		func(l *lab) Selector { return l.rr },
	} {
		l := newLab(t, 1, 1, 1)
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				l.take(pick(l))
				lo, hi := 1<<30, 0
				for _, s := range l.Snapshot() {
					lo, hi = min(lo, s.InFlight), max(hi, s.InFlight)
				}
				if hi-lo > 1 {
					t.Errorf("in flight between %d and %d", lo, hi)
				}
			})
		}
		wg.Wait()
		for _, s := range l.Snapshot() {
			if s.InFlight != 100 || s.Most != 100 {
				t.Errorf("%s: %d in flight, at most %d, want 100", s.Name, s.InFlight, s.Most)
			}
		}
	}
}

func TestCountsAddUp(t *testing.T) {
	l := newLab(t, 1, 2, 1)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 50 {
				s := []Selector{l.rr, l.lc}[(i+j)%2]
				lease := l.take(s)
				lease.Release([]Outcome{Answered, Failed, Spared}[(i*j)%3])
			}
		})
	}
	wg.Wait()
	assigned := 0
	for _, s := range l.Snapshot() {
		assigned += s.Assigned
		if s.InFlight != 0 || s.Assigned != s.Answered[0]+s.Answered[1]+s.Failed {
			t.Errorf("%+v: assigned is not answered + failed", s)
		}
	}
	if assigned != 64*50 {
		t.Errorf("%d assigned, want %d", assigned, 64*50)
	}
}

// A request that its first worker answers allocates nothing, however many
// workers there are and whatever their weights.
func TestAssignDoesNotAllocate(t *testing.T) {
	for _, n := range []int{3, 10_000} {
		for _, weighted := range []bool{false, true} {
			p, selectors := benchPool(n, weighted)
			tried := new(Tried)
			for _, s := range selectors {
				allocs := testing.AllocsPerRun(1000, func() {
					*tried = Tried{}
					l, _ := p.Assign(s, tried)
					l.Release(Answered)
				})
				if allocs != 0 {
					t.Errorf("%T, %d workers, weighted %v: %v allocations", s, n, weighted, allocs)
				}
			}
		}
	}
}

func TestReleaseTwicePanics(t *testing.T) {
	l := newLab(t, 1)
	lease := l.take(l.rr)
	lease.Release(Answered)
	defer func() {
		if recover() == nil {
			t.Error("the second release passed")
		}
	}()
	lease.Release(Answered)
}

func TestTriedMeetsEachWorkerOnce(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {3, 1, 2, 1}} {
		l := newLab(t, weights...)
		for _, s := range []Selector{l.rr, l.lc} {
			var tried Tried
			seen := map[string]bool{}
			for {
				lease, ok := l.Assign(s, &tried)
				if !ok {
					break
				}
				seen[lease.Worker().Name] = true
				lease.Release(Spared)
			}
			if len(seen) != 4 || tried.n != 4 {
				t.Errorf("met %d workers in %d attempts, want 4 in 4", len(seen), tried.n)
			}
		}
	}
}

func TestNoWorkers(t *testing.T) {
	l := newLab(t)
	if _, ok := l.Assign(l.lc, new(Tried)); ok {
		t.Error("somebody was assigned")
	}
}

func TestCoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		l.fail("a", 2)
		l.ask(l.rr, 3, Answered)
		l.fail("a", 2)
		if s := l.state("a"); s.State != Up {
			t.Fatalf("%v after failures with an answer between them", s.State)
		}
		l.fail("a", 1)
		for _, cool := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			cool *= time.Second
			if s := l.state("a"); s.State != Cooling || s.Cooling != cool {
				t.Fatalf("%v for %v, want it to cool for %v", s.State, s.Cooling, cool)
			}
			expect(t, "while a cools", l.ask(l.lc, 4, Answered)[:2], l.ask(l.lc, 2, Answered))
			time.Sleep(cool)
			if s := l.state("a"); s.State != Trial {
				t.Fatalf("after %v: %v", cool, s.State)
			}
			trial := l.take(l.lc)
			for trial.Worker().Name != "a" {
				trial.Release(Answered)
				trial = l.take(l.lc)
			}
			if s := l.state("a"); s.State != OnTrial {
				t.Fatalf("with its trial in flight: %v", s.State)
			}
			for _, who := range l.ask(l.rr, 4, Answered) + l.ask(l.lc, 4, Answered) {
				if who == 'a' {
					t.Fatal("a second request while on trial")
				}
			}
			trial.Release(Failed)
		}
		time.Sleep(30 * time.Second)
		l.ask(l.lc, 4, Answered)
		if s := l.state("a"); s.State != Up {
			t.Errorf("after an answered trial: %v", s.State)
		}
		expect(t, "round robin afterwards", fmt.Sprint(len(l.ask(l.rr, 3, Answered))), "3")
	})
}

// Who comes back gets its share and not the turns that it missed.
func TestNotFloodedAfterCoolDown(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {2, 1, 1}, {1, 2, 3}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, weights...)
			l.fail("a", 3)
			l.ask(l.rr, 1000, Answered)
			time.Sleep(time.Second)
			order, n := l.ask(l.rr, 120, Answered), 0
			for _, who := range order {
				if who == 'a' {
					n++
				}
			}
			fair := 120 * weights[0] / (weights[0] + weights[1] + weights[2])
			if n < fair-3 || n > fair+3 {
				t.Errorf("weights %v: %d of 120, its share is %d: %s", weights, n, fair, order)
			}
		})
	}
}

// When nobody else is left, cool-downs are ignored, and one answer is enough.
func TestAllCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		l.ask(l.rr, 9, Failed)
		for _, s := range l.Snapshot() {
			if s.State != Cooling {
				t.Fatalf("%s is %v", s.Name, s.State)
			}
		}
		expect(t, "all cooling", l.ask(l.rr, 3, Failed), "abc")
		l.ask(l.lc, 1, Answered)
		up := 0
		for _, s := range l.Snapshot() {
			if s.State == Up {
				up++
			}
		}
		if up != 1 {
			t.Errorf("%d up after one answer", up)
		}
	})
}

func TestSparedIsNotHeldAgainst(t *testing.T) {
	l := newLab(t, 1)
	l.ask(l.rr, 10, Spared)
	if s := l.state("a"); s.State != Up || s.Failed != 10 {
		t.Errorf("%v, %d failed", s.State, s.Failed)
	}
}

// Two cool-downs that end in the other order than they began.
func TestTwoCoolDowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		l.fail("a", 3)
		time.Sleep(time.Second)
		l.fail("a", 1)
		time.Sleep(2 * time.Second)
		l.fail("a", 1) // cools for 4 s
		l.fail("b", 3) // cools for 1 s
		time.Sleep(time.Second)
		if s := l.state("b"); s.State != Trial {
			t.Errorf("b is %v", s.State)
		}
		time.Sleep(3 * time.Second)
		if s := l.state("a"); s.State != Trial {
			t.Errorf("a is %v", s.State)
		}
	})
}

// A trial that our own side spoiled is given again.
func TestSparedTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		l.ask(l.rr, 3, Failed)
		time.Sleep(time.Second)
		l.ask(l.rr, 1, Spared)
		if s := l.state("a"); s.State != Trial {
			t.Errorf("a is %v", s.State)
		}
	})
}

// Further attempts of a request are not turns: whatever fails, the shares of
// the others stay as they are.
func TestFailoverDoesNotShiftWeights(t *testing.T) {
	l := newLab(t, 5, 1)
	for range 1000 {
		var tried Tried
		for {
			lease, ok := l.Assign(l.rr, &tried)
			if !ok {
				break
			}
			lease.Release(Spared)
		}
	}
	order := l.ask(l.rr, 60, Answered)
	if n := strings.Count(order, "b"); n < 9 || n > 11 {
		t.Errorf("b got %d of 60, its share is 10: %s", n, order)
	}
}
