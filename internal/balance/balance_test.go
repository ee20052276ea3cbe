package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The selectors of every lab, by their index. An index of 0 is none.
const (
	none = iota
	rr
	lc
)

func newSelectors() []Selector {
	return []Selector{none: nil, rr: new(RoundRobin), lc: new(LeastConnections)}
}

// lab is a pool with both selectors and the words that the tests are told in.
type lab struct {
	t *testing.T
	*Pool
}

func newLab(t *testing.T, weights ...int) *lab {
	var workers []Worker
	for i, w := range weights {
		workers = append(workers, Worker{Name: string(rune('a' + i)), Weight: w})
	}
	return &lab{t, NewPool(workers, newSelectors()...)}
}

// Snapshot is the pool's, and checks what must hold at every moment.
func (l *lab) Snapshot() []Status {
	l.t.Helper()
	all := l.Pool.Snapshot().Workers
	for _, s := range all {
		sum := s.Failed + s.Withdrawn + s.InFlight
		for _, n := range s.Answered {
			sum += n
		}
		if s.Assigned != sum {
			l.t.Errorf("%+v: assigned is not answered + failed + withdrawn + in flight", s)
		}
	}
	return all
}

func (l *lab) take(s int) Lease {
	l.t.Helper()
	lease, ok := l.Assign(s, new(Request))
	if !ok {
		l.t.Fatal("no worker was assigned")
	}
	return lease
}

// ask assigns n requests one after another and returns which workers got them.
func (l *lab) ask(s int, n int, o Outcome) (order string) {
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
		lease := l.take(rr)
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
	expect(t, "round robin", l.ask(rr, 7, Answered), "abcabca")
	expect(t, "least connections, one after another", l.ask(lc, 7, Answered), "abcabca")
}

// The course notes' session: each selector keeps its own place.
func TestCourseNotes(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	var got string
	for _, s := range []int{rr, lc, rr, lc, rr, rr} {
		got += l.ask(s, 1, Answered)
	}
	expect(t, "the course notes' session", got, "aabbca")
}

func TestSmoothWeights(t *testing.T) {
	l := newLab(t, 5, 1, 1)
	expect(t, "weights 5, 1, 1", l.ask(rr, 14, Answered), "aabacaa"+"aabacaa")
	l = newLab(t, 1, 2, 3)
	expect(t, "weights 1, 2, 3", l.ask(rr, 6, Answered), nginxOrder([]int{1, 2, 3}, 6))
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
		expect(t, fmt.Sprint("weights ", weights), l.ask(rr, 100, Answered), nginxOrder(weights, 100))
	}
}

func TestLeastConnections(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	first, second := l.take(rr), l.take(rr) // round robin's requests count too
	expect(t, "with one in flight at a and b", l.ask(lc, 1, Answered), "c")
	first.Release(Answered)
	expect(t, "b is busy, a was never chosen by least connections", l.ask(lc, 2, Answered), "ac")
	second.Release(Failed)
}

func TestWeightedLeastConnections(t *testing.T) {
	l := newLab(t, 3, 1)
	for range 40 {
		l.take(lc)
	}
	if a, b := l.state("a").InFlight, l.state("b").InFlight; a != 30 || b != 10 {
		t.Errorf("40 in flight with weights 3 and 1: %d and %d, want 30 and 10", a, b)
	}
}

// Choosing and counting are one step: while requests only come, from however
// many goroutines, no two workers are ever seen more than one request apart.
func TestNeverMoreThanOneApart(t *testing.T) {
	for _, s := range []int{lc, rr} {
		l := newLab(t, 1, 1, 1)
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				for range 60 {
					l.take(s)
					if lo, hi := l.spread(); hi-lo > 1 {
						t.Errorf("in flight between %d and %d", lo, hi)
					}
				}
			})
		}
		wg.Wait()
		for _, s := range l.Snapshot() {
			if s.InFlight != 6000 || s.Peak != 6000 {
				t.Errorf("%s: %d in flight, at most %d, want 6000", s.Name, s.InFlight, s.Peak)
			}
		}
	}
}

// spread returns the fewest and the most requests in flight at a worker.
func (l *lab) spread() (lo, hi int) {
	lo = math.MaxInt
	for _, s := range l.Snapshot() {
		lo, hi = min(lo, s.InFlight), max(hi, s.InFlight)
	}
	return lo, hi
}

func TestCountsAddUp(t *testing.T) {
	l := newLab(t, 1, 2, 1)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 50 {
				s := []int{rr, lc}[(i+j)%2]
				lease := l.take(s)
				l.Snapshot()
				lease.Release([]Outcome{Answered, Failed, NotCounted, Withdrawn}[(i*j)%4])
				l.Snapshot()
			}
		})
	}
	wg.Wait()
	assigned, withdrawn := 0, 0
	for _, s := range l.Snapshot() {
		assigned += s.Assigned
		withdrawn += s.Withdrawn
		if s.InFlight != 0 {
			t.Errorf("%+v: something is in flight at the end", s)
		}
	}
	if assigned != 64*50 {
		t.Errorf("%d assigned, want %d", assigned, 64*50)
	}
	want := 0
	for i := range 64 {
		for j := range 50 {
			if (i*j)%4 == 3 {
				want++
			}
		}
	}
	if withdrawn != want {
		t.Errorf("%d withdrawn, want %d", withdrawn, want)
	}
}

func TestNoWorkers(t *testing.T) {
	l := newLab(t)
	if _, ok := l.Assign(lc, new(Request)); ok {
		t.Error("a worker was assigned")
	}
}

// The caller indexes the selectors by an enumeration of its own: an index that
// has none is a mistake in the program, and says so without harm to the pool.
func TestUnknownSelectorPanics(t *testing.T) {
	l := newLab(t, 1)
	for _, s := range []int{none, -1, 3} {
		func() {
			defer func() {
				want := fmt.Sprintf("balance: Assign by selector %d, which NewPool was not given", s)
				if got := recover(); got != want {
					t.Errorf("panic %v, want %s", got, want)
				}
			}()
			l.take(s)
		}()
	}
	expect(t, "afterwards", l.ask(lc, 1, Answered), "a")
	if s := l.state("a"); s.Assigned != 1 {
		t.Errorf("%d assigned, want 1", s.Assigned)
	}
}

// Two approaches may share one selector, and with it the turns.
func TestSharedSelector(t *testing.T) {
	for _, shared := range []Selector{new(RoundRobin), new(LeastConnections)} {
		l := &lab{t, NewPool([]Worker{{Name: "a"}, {Name: "b"}, {Name: "c"}}, shared, nil, shared)}
		expect(t, "in turn", l.ask(0, 1, Answered)+l.ask(2, 2, Answered)+l.ask(0, 1, Answered), "abca")
		if got := fmt.Sprint(l.state("a").Answered, l.state("b").Answered); got != "[2 0 0] [0 0 1]" {
			t.Errorf("answered %s", got)
		}
		for range 5 {
			l.take(2)
		}
		if lo, hi := l.spread(); hi-lo > 1 {
			t.Errorf("%T: between %d and %d in flight", shared, lo, hi)
		}
	}
}

func TestCoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		l.fail("a", 2)
		l.ask(rr, 3, Answered)
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
			expect(t, "while a cools", l.ask(lc, 4, Answered)[:2], l.ask(lc, 2, Answered))
			time.Sleep(cool)
			if s := l.state("a"); s.State != DueForTrial {
				t.Fatalf("after %v: %v", cool, s.State)
			}
			trial := l.take(lc)
			for trial.Worker().Name != "a" {
				trial.Release(Answered)
				trial = l.take(lc)
			}
			if s := l.state("a"); s.State != OnTrial {
				t.Fatalf("with its trial in flight: %v", s.State)
			}
			for _, name := range l.ask(rr, 4, Answered) + l.ask(lc, 4, Answered) {
				if name == 'a' {
					t.Fatal("a second request while on trial")
				}
			}
			trial.Release(Failed)
		}
		time.Sleep(30 * time.Second)
		l.ask(lc, 4, Answered)
		if s := l.state("a"); s.State != Up {
			t.Errorf("after an answered trial: %v", s.State)
		}
		expect(t, "round robin afterwards", fmt.Sprint(len(l.ask(rr, 3, Answered))), "3")
	})
}

// A worker that comes back gets its share and not the turns that it missed.
func TestNotFloodedAfterCoolDown(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1}, {2, 1, 1}, {1, 2, 3}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, weights...)
			l.fail("a", 3)
			l.ask(rr, 1000, Answered)
			time.Sleep(time.Second)
			order, n := l.ask(rr, 120, Answered), 0
			for _, name := range order {
				if name == 'a' {
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

// Nor is any worker given, while all cool, what it missed before.
func TestNotFloodedWhenAllCool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2, 1)
		l.fail("a", 3)
		l.ask(rr, 1000, Answered)
		l.fail("b", 3)
		order := l.ask(rr, 30, Failed)
		if n := strings.Count(order, "a"); n != 20 {
			t.Errorf("a got %d of 30, its share is 20: %s", n, order)
		}
	})
}

// When no other worker is left, cool-downs are ignored, and one answer is enough.
func TestAllCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		l.ask(rr, 9, Failed)
		for _, s := range l.Snapshot() {
			if s.State != Cooling {
				t.Fatalf("%s is %v", s.Name, s.State)
			}
		}
		expect(t, "all cooling", l.ask(rr, 3, Failed), "abc")
		l.ask(lc, 1, Answered)
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

func TestNotCountedIsNotHeldAgainst(t *testing.T) {
	l := newLab(t, 1)
	l.ask(rr, 10, NotCounted)
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
		if s := l.state("b"); s.State != DueForTrial {
			t.Errorf("b is %v", s.State)
		}
		time.Sleep(3 * time.Second)
		if s := l.state("a"); s.State != DueForTrial {
			t.Errorf("a is %v", s.State)
		}
	})
}

// Only the trial itself decides how the trial ends. A request that comes beside
// it, since no other worker is left, may end it with an answer only.
func TestBesideATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []Outcome{Failed, NotCounted, Withdrawn, Answered} {
			l := newLab(t, 1)
			l.ask(rr, 3, Failed)
			time.Sleep(time.Second)
			trial := l.take(rr)
			l.ask(rr, 1, o)
			want := OnTrial
			if o == Answered {
				want = Up
			}
			if s := l.state("a"); s.State != want {
				t.Errorf("after outcome %d of another request: %v, want %v", o, s.State, want)
			}
			trial.Release(NotCounted)
		}
	})
}

// A trial that our own side spoiled, or whose client has left, is given again.
func TestNotCountedTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []Outcome{NotCounted, Withdrawn} {
			l := newLab(t, 1)
			l.ask(rr, 3, Failed)
			time.Sleep(time.Second)
			l.ask(rr, 1, o)
			if s := l.state("a"); s.State != DueForTrial {
				t.Errorf("after outcome %d a is %v", o, s.State)
			}
			l.ask(rr, 1, Answered)
			if s := l.state("a"); s.State != Up {
				t.Errorf("after the trial's answer a is %v", s.State)
			}
		}
	})
}

// What is withdrawn says nothing of the worker, and its place is free at once.
func TestWithdrawn(t *testing.T) {
	l := newLab(t, 1)
	for range 2 {
		l.ask(rr, 10, Withdrawn)
		l.ask(rr, 2, Failed)
	}
	if s := l.state("a"); s.State != Cooling {
		t.Errorf("%v, want that it is no answer among failures", s.State)
	}
	l = newLab(t, 1)
	held := l.take(lc)
	l.ask(lc, 10, Withdrawn)
	s := l.state("a")
	if s.State != Up || s.InFlight != 1 || s.Withdrawn != 10 || s.Failed != 0 || s.Answered[lc] != 0 {
		t.Errorf("%+v, want 10 withdrawn, nothing answered or failed, and 1 in flight", s)
	}
	held.Release(Answered)
}
