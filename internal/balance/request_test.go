package balance

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// attempt assigns a request once more and returns its lease.
func (l *lab) attempt(s int, tried *Request) Lease {
	l.t.Helper()
	lease, ok := l.Assign(s, tried)
	if !ok {
		l.t.Fatal("no worker was assigned")
	}
	return lease
}

// exhaust assigns a request until no worker is left, and returns which it met.
func (l *lab) exhaust(s int, tried *Request, o Outcome) (order string) {
	l.t.Helper()
	before := l.names()
	defer func() { expect(l.t, "the list of workers afterwards", l.names(), before) }()
	for {
		lease, ok := l.Assign(s, tried)
		if !ok {
			return order
		}
		order += lease.Worker().Name
		lease.Release(o)
	}
}

func (l *lab) names() (list string) {
	for _, s := range l.Snapshot() {
		list += s.Name
	}
	return list
}

func TestRequestMeetsEachWorkerOnce(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {3, 1, 2, 1}} {
		l := newLab(t, weights...)
		for _, s := range []int{rr, lc} {
			var tried Request
			seen := map[string]bool{}
			for {
				lease, ok := l.Assign(s, &tried)
				if !ok {
					break
				}
				seen[lease.Worker().Name] = true
				lease.Release(NotCounted)
			}
			if len(seen) != 4 || tried.n != 4 {
				t.Errorf("met %d workers in %d attempts, want 4 in 4", len(seen), tried.n)
			}
		}
	}
}

// Further attempts of a request are not turns: whatever fails, the shares of
// the others stay as they are.
func TestFailoverDoesNotShiftWeights(t *testing.T) {
	l := newLab(t, 5, 1)
	for range 1000 {
		var tried Request
		for {
			lease, ok := l.Assign(rr, &tried)
			if !ok {
				break
			}
			lease.Release(NotCounted)
		}
	}
	order := l.ask(rr, 60, Answered)
	if n := strings.Count(order, "b"); n < 9 || n > 11 {
		t.Errorf("b got %d of 60, its share is 10: %s", n, order)
	}
}

// However often a worker fails, new requests are shared as the weights say. What it
// fails is shared by the others of its weight.
func TestFailoverMovesNoTurn(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {2, 2, 2, 1}, {3, 2, 1}, {5, 1, 1}} {
		l := newLab(t, weights...)
		const laps = 200
		sum, firsts, further := 0, make([]int, len(weights)), make([]int, len(weights))
		for _, w := range weights {
			sum += w
		}
		for range laps * sum {
			var r Request
			lease := l.attempt(rr, &r)
			firsts[lease.Index()]++
			if lease.Index() == 0 {
				lease.Release(NotCounted)
				lease = l.attempt(rr, &r)
				further[lease.Index()]++
			}
			lease.Release(Answered)
		}
		for i, w := range weights {
			if firsts[i] != laps*w {
				t.Errorf("weights %v: %d new requests for %s, want %d", weights, firsts[i], l.members[i].config.Name, laps*w)
			}
		}
		if b, c := further[1], further[2]; weights[1] == weights[2] && (b-c > 1 || c-b > 1) {
			t.Errorf("weights %v: %v further attempts", weights, further)
		}
	}
}

// What a dead worker leaves undone is shared among the others.
func TestFailoverIsShared(t *testing.T) {
	for _, weights := range [][]int{{1, 1, 1, 1}, {9, 1, 1, 1}} {
		l := newLab(t, weights...)
		var answered string
		for range 300 {
			var tried Request
			lease := l.attempt(rr, &tried)
			if lease.Worker().Name == "a" {
				lease.Release(NotCounted)
				lease = l.attempt(rr, &tried)
			}
			answered += lease.Worker().Name
			lease.Release(Answered)
		}
		for _, name := range []string{"b", "c", "d"} {
			if n := strings.Count(answered, name); n < 95 || n > 105 {
				t.Errorf("weights %v: %s answered %d of 300, its share is 100", weights, name, n)
			}
		}
	}
}

// A request on its own meets the workers in the selector's order.
func TestOrderOfAttempts(t *testing.T) {
	l := newLab(t, 1, 1, 1, 1)
	expect(t, "least connections, idle", l.exhaust(lc, new(Request), NotCounted), "abcd")
	l.take(lc) // a
	l.take(lc) // b
	c := l.take(lc)
	c.Release(Answered)
	expect(t, "two busy: c was chosen last", l.exhaust(lc, new(Request), NotCounted), "dcab")

	l = newLab(t, 1, 1, 1, 1)
	l.ask(rr, 1, Answered)
	expect(t, "round robin", l.exhaust(rr, new(Request), NotCounted), "bcda")
	l = newLab(t, 9, 1, 2, 1)
	expect(t, "round robin, by weight", l.exhaust(rr, new(Request), NotCounted), "acbd")
}

// busyAllButA returns a pool in which least connections would choose a again
// and again; the leases of the others; and a request that has tried a and b. It
// keeps an order, in which c, d, e are left.
func busyAllButA(t *testing.T) (l *lab, held []Lease, tried *Request) {
	l, tried = newLab(t, 1, 1, 1, 1, 1), new(Request)
	for range 5 {
		held = append(held, l.take(rr))
	}
	held[0].Release(Answered)
	for _, want := range []string{"a", "b"} {
		lease := l.attempt(lc, tried)
		expect(t, "attempt", lease.Worker().Name, want)
		lease.Release(NotCounted)
	}
	if !tried.again.ordered {
		t.Fatal("the request keeps no order")
	}
	return l, held, tried
}

func TestKeptOrder(t *testing.T) {
	l, _, tried := busyAllButA(t)
	expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "cde")
}

// A worker that cools down after the order was taken is put off until no other
// is left.
func TestKeptOrderPutsOffCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, tried := busyAllButA(t)
		l.fail("c", 3)
		l.fail("d", 3)
		expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "ecd")
	})
}

// So is one that is on trial.
func TestKeptOrderPutsOffOnTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, tried := busyAllButA(t)
		l.fail("c", 3)
		time.Sleep(firstCoolDown)
		for l.state("c").State != OnTrial {
			if lease := l.take(rr); lease.Worker().Name != "c" {
				lease.Release(Answered)
			}
		}
		expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "dec")
	})
}

// One that is due for a trial is not met by a request that has met three such workers
// since the order was taken.
func TestKeptOrderWithoutTrials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, tried := busyAllButA(t)
		l.fail("c", 3)
		time.Sleep(firstCoolDown)
		tried.notUp = maxNotUp
		expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "de")
	})
}

// A worker that was put off, came back, and was met meanwhile, is not met again.
func TestPutOffIsMetOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, held, tried := busyAllButA(t)
		l.fail("c", 3)
		l.fail("d", 3)
		lease := l.attempt(lc, tried)
		expect(t, "while c and d cool", lease.Worker().Name, "e")
		lease.Release(NotCounted)
		held[2].Release(NotCounted) // c is idle
		time.Sleep(firstCoolDown)
		expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "cd")
	})
}

// A request goes to a worker that cools down only if it has tried all others.
func TestCoolingLast(t *testing.T) {
	for _, s := range []int{rr, lc} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 5, 1, 1, 2)
			l.fail("a", 3)
			l.fail("c", 3)
			order := l.exhaust(s, new(Request), NotCounted)
			if first := order[:2]; first != "bd" && first != "db" || len(order) != 4 {
				t.Errorf("selector %d: met %s, while a and c cooled", s, order)
			}
		})
	}
}

// The order that is kept is used only when the selector's own choice was tried:
// a worker that has become idle since comes first.
func TestLiveOrderComesFirst(t *testing.T) {
	l, held, tried := busyAllButA(t)
	l.take(lc) // a is as busy as the others
	held[3].Release(Answered)
	expect(t, "the rest", l.exhaust(lc, tried, NotCounted), "dce")
}

// A request that has failed everywhere else does not go to a worker that drains.
func TestFurtherAttemptsLeaveOutDraining(t *testing.T) {
	for _, s := range []int{rr, lc} {
		l := newLab(t, 1, 1, 1)
		held := []Lease{l.take(lc), l.take(lc), l.take(lc)}
		ordered(t)(l.Drain("c"))
		held[0].Release(Answered) // so least connections would choose a again and again
		expect(t, "met", l.exhaust(s, new(Request), NotCounted), "ab")
		held[1].Release(Answered)
		held[2].Release(Answered)
	}
}

// counting is a selector that counts the members that are looked at.
type counting struct {
	Selector
	looks *int
}

func (c counting) first(again *Request) *member {
	*c.looks += c.compares()
	return c.Selector.first(again)
}

func (c counting) before(a, b *member) bool {
	*c.looks++
	return c.Selector.before(a, b)
}

// failAll lets requests fail everywhere until all workers cool down.
func (l *lab) failAll(s int) (attempts int) {
	l.t.Helper()
	for l.healthy > 0 {
		attempts += l.meets(s, Failed)
	}
	return attempts
}

// meets returns how many attempts a new request has until no worker is left.
func (l *lab) meets(s int, o Outcome) (attempts int) {
	r := new(Request)
	for {
		lease, ok := l.Assign(s, r)
		if !ok {
			return attempts
		}
		attempts++
		lease.Release(o)
	}
}

// When all workers are down, each has failed three requests, and each request after
// them makes three attempts, however many workers there are, and also when the
// cool-downs are over.
func TestFewAttemptsWhileAllCool(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 100, 10_000} {
		for _, s := range []int{rr, lc} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, slices.Repeat([]int{1}, n)...)
				got := []int{l.failAll(s), l.meets(s, Failed), l.meets(s, NotCounted)}
				time.Sleep(firstCoolDown)
				got = append(got, l.meets(s, Failed), l.meets(s, Failed))
				few := min(n, 3)
				if want := []int{3 * n, few, few, few, few}; !slices.Equal(got, want) {
					t.Errorf("%d workers, %s: %v attempts, want %v", n, names[s], got, want)
				}
			})
		}
	}
}

// Attempts at workers that are up are not counted, whenever they are made.
func TestWorkersThatAreUpAreNotCounted(t *testing.T) {
	for _, s := range []int{rr, lc} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, slices.Repeat([]int{1}, 10)...)
			for _, name := range []string{"a", "c", "e", "g", "i"} {
				l.fail(name, 3)
			}
			if got := l.meets(s, NotCounted); got != 5+3 {
				t.Errorf("%s: %d attempts, want 5 at workers that are up, 3 at others", names[s], got)
			}
			time.Sleep(firstCoolDown)
			if got := l.meets(s, NotCounted); got != 5+3 {
				t.Errorf("%s: %d attempts when trials are due, want 5 at workers that are up, 3 at others", names[s], got)
			}
		})
	}
}

// Those that cool down are tried in turn.
func TestCoolingAreTriedInTurn(t *testing.T) {
	const n = 100
	for _, s := range []int{rr, lc} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, slices.Repeat([]int{1}, n)...)
			l.failAll(s)
			before := l.Snapshot()
			for range n {
				l.meets(s, Failed)
			}
			for i, w := range l.Snapshot() {
				if got := w.Assigned - before[i].Assigned; got < 2 || got > 4 {
					t.Errorf("%s: %d attempts at worker %d in %d requests, want about 3", names[s], got, i, n)
				}
			}
		})
	}
}

// Of 100 workers that have been down for long one comes back. It is used again
// within its cool-down, with two requests a second: each of the others is tried
// twice before it at most, once in turn and once as its trial.
func TestOneOfManyComesBack(t *testing.T) {
	for _, s := range []int{rr, lc} {
		for _, back := range []int{0, 50, 99} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, slices.Repeat([]int{1}, 100)...)
				const pause = time.Second / 2
				for range 5 * time.Minute / pause {
					l.meets(s, Failed)
					time.Sleep(pause)
				}
				since, requests := time.Now(), 1
				for !l.isAnsweredBy(s, back) {
					time.Sleep(pause)
					requests++
				}
				if took := time.Since(since); took > longestCoolDown || requests > 2*100/maxNotUp {
					t.Errorf("%s: worker %d is used again after %v and %d requests", names[s], back, took, requests)
				}
				t.Logf("%s, worker %d: found by request %d", names[s], back, requests)
			})
		}
	}
}

// isAnsweredBy reports whether a new request gets to the only worker that answers.
func (l *lab) isAnsweredBy(s, worker int) bool {
	r := new(Request)
	for {
		lease, ok := l.Assign(s, r)
		if !ok {
			return false
		}
		if lease.Index() == worker {
			lease.Release(Answered)
			return true
		}
		lease.Release(Failed)
	}
}

// NotUpBeside counts those that are not up and were not met; not those that drain.
func TestNotUpBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1, 1, 1, 1)
		l.failAll(lc)
		r := new(Request)
		expect(t, "met", l.exhaust(lc, r, Failed), "abc")
		if n := l.NotUpBeside(r); n != 3 {
			t.Errorf("%d more, want 3", n)
		}
		l.Drain("b")
		l.Drain("f")
		if n := l.NotUpBeside(r); n != 2 {
			t.Errorf("%d more, want 2, since f drains", n)
		}
		time.Sleep(firstCoolDown)
		lease := l.take(lc)
		if n := l.NotUpBeside(r); n != 2 {
			t.Errorf("%d more, want 2, one of them on trial", n)
		}
		lease.Release(Answered)
		expect(t, "back", lease.Worker().Name, "d")
		if n := l.NotUpBeside(r); n != 1 {
			t.Errorf("%d more, want 1, since d is back", n)
		}
	})
}

// All attempts of a request together look at n log n workers, whatever state
// they are in, and whatever other requests do meanwhile.
func TestAllAttemptsTogether(t *testing.T) {
	const n = 6000
	bound := int(4 * n * math.Log2(n))
	for name, scene := range map[string]struct {
		weight func(i int) int
		busy   func(i int) bool // has a request in flight
		cool   int              // how many cool down
		others int              // requests that come between two attempts
	}{
		"idle":                          {},
		"half are busy":                 {busy: func(i int) bool { return i%2 == 0 }},
		"all cool":                      {cool: n},
		"others come":                   {others: 3},
		"all but one cool, others come": {cool: n - 1, others: 3},
		"half cool, others come":        {cool: n / 2, others: 3},
		"ten weights, others come":      {weight: func(i int) int { return 1 + i%10 }, others: 3},
		"each has its own weight":       {weight: func(i int) int { return 1 + i }},
	} {
		for _, s := range []int{rr, lc} {
			workers := make([]Worker, n)
			for i := range workers {
				if scene.weight != nil {
					workers[i].Weight = scene.weight(i)
				}
			}
			looks := 0
			selectors := newSelectors()
			selectors[s] = counting{selectors[s], &looks}
			p := NewPool(workers, selectors...)
			for i, m := range p.members {
				if scene.busy != nil && scene.busy(i) {
					m.inFlight++
					p.changed(m)
				}
			}
			p.coolFirst(scene.cool)
			var tried Request
			attempts, work := 0, 0
			for ; ; attempts++ {
				looks = 0
				left := tried.toLookAt()
				lease, ok := p.Assign(s, &tried)
				if !ok {
					break
				}
				work += looks
				if left > 0 {
					work += left - tried.toLookAt()
				}
				lease.Release(NotCounted)
				for range scene.others {
					other, _ := p.Assign(s, new(Request))
					other.Release(NotCounted)
				}
			}
			want := n - scene.cool + min(scene.cool, maxNotUp)
			if attempts != want || work > bound {
				t.Errorf("%s, selector %d: %d attempts looked at %d workers, want %d and at most %d", name, s, attempts, work, want, bound)
			}
			t.Logf("%s, selector %d: %d", name, s, work)
		}
	}
}

// toLookAt returns how much of the order that is kept is still to be looked at; a
// worker that is put off is looked at twice.
func (t *Request) toLookAt() int {
	if t.again == nil {
		return 0
	}
	return 2*len(t.again.order) + len(t.again.putOff)
}

// Of workers with the same credit a further attempt takes the next in turn, also when
// the next two were tried.
func TestFurtherAttemptsGoOnInTurn(t *testing.T) {
	l := newLab(t, 1, 1, 1, 1, 1, 1)
	attempt := func(r *Request) string {
		lease := l.attempt(rr, r)
		lease.Release(NotCounted)
		return lease.Worker().Name
	}
	r, other := new(Request), new(Request)
	expect(t, "first turns", l.ask(rr, 2, Answered), "ab")
	expect(t, "the one", attempt(r)+attempt(r), "cd")
	expect(t, "first turns", l.ask(rr, 3, Answered), "def")
	expect(t, "another one", attempt(other)+attempt(other)+attempt(other)+attempt(other), "aefb")
	expect(t, "first turns", l.ask(rr, 5, Answered), "bcdef")
	expect(t, "the rest", l.exhaust(rr, r, NotCounted), "efab")
}
