package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// newLimitedLab returns a lab of workers a, b, c, … with these limits.
func newLimitedLab(t *testing.T, limits ...int) *lab {
	var workers []Worker
	for i, n := range limits {
		workers = append(workers, Worker{Name: string(rune('a' + i)), Addr: string(rune('a' + i)), Limit: n})
	}
	return &lab{t, NewPool(workers, newSelectors()...)}
}

// waits assigns a request that finds no place.
func (l *lab) waits(s int, r *Request) *Request {
	l.t.Helper()
	if lease, ok := l.Assign(s, r); ok {
		l.t.Fatalf("it has a place at %s", lease.Worker().Name)
	}
	if r.Place() == nil {
		l.t.Fatal("it does not wait")
	}
	return r
}

// given returns the name of the worker at which r was given a place, and the
// lease; "" if it still waits, or its wait was ended.
func given(r *Request) (string, Lease) {
	select {
	case lease := <-r.Place():
		if lease.IsZero() {
			return "", Lease{}
		}
		return lease.Worker().Name, lease
	default:
		return "", Lease{}
	}
}

func (l *lab) expectGiven(r *Request, want string) Lease {
	l.t.Helper()
	got, lease := given(r)
	if got != want {
		l.t.Errorf("given a place at %q, want %q", got, want)
	}
	return lease
}

// takeAll takes all places, and returns their leases in the order of the
// workers.
func (l *lab) takeAll() []Lease {
	l.t.Helper()
	leases := make([]Lease, len(l.members))
	for range leases {
		lease := l.take(rr)
		leases[lease.Index()] = lease
	}
	return leases
}

// A full worker is passed over, by both approaches.
func TestFullIsPassedOver(t *testing.T) {
	for _, s := range []int{rr, lc} {
		l := newLimitedLab(t, 1, 3, 2)
		order := ""
		for range 6 {
			order += l.take(s).Worker().Name
		}
		expect(t, "six requests", order, "abcbcb")
		l.waits(s, new(Request))
	}
}

// Each has its own limit; without one a worker takes what comes.
func TestNoLimit(t *testing.T) {
	l := newLimitedLab(t, 1, 0)
	order := ""
	for range 5 {
		order += l.take(rr).Worker().Name
	}
	expect(t, "five requests", order, "abbbb")
	if q := l.Queue(); q != (Queue{}) {
		t.Errorf("%+v", q)
	}
}

// A worker that is full now and then has the turns that its weight says.
func TestFullKeepsItsShare(t *testing.T) {
	l := newLimitedLab(t, 2, 2, 2)
	for i, weight := range []int{5, 1, 1} {
		l.SetWeight(l.members[i].config.Name, weight)
	}
	order, before := "", Lease{}
	for range 14 {
		lease := l.take(rr)
		order += lease.Worker().Name
		if before.member != nil {
			before.Release(Answered) // a was full if it was chosen twice
		}
		before = lease
	}
	expect(t, "turns", order, "aabacaaaabacaa")
}

// First come, first served, whichever approach each asked for.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		held := l.takeAll()
		first := l.waits(lc, new(Request))
		time.Sleep(time.Second)
		second := l.waits(rr, new(Request))
		third := l.waits(lc, new(Request))
		time.Sleep(time.Second)
		if q := l.Queue(); q != (Queue{Waiting: 3, Oldest: 2 * time.Second, Most: 3}) {
			t.Errorf("%+v", q)
		}
		held[1].Release(Answered)
		b := l.expectGiven(first, "b")
		l.expectGiven(second, "")
		b.Release(Withdrawn)
		l.expectGiven(second, "b")
		held[0].Release(NotCounted)
		l.expectGiven(third, "a")
		if q := l.Queue(); q != (Queue{Most: 3}) {
			t.Errorf("%+v", q)
		}
	})
}

// A new request does not overtake those that wait.
func TestNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		l.fail("b", 3) // so a's place is the only one
		held := l.take(lc)
		first := l.waits(lc, new(Request))
		time.Sleep(firstCoolDown) // b is due for a trial
		second := l.waits(lc, new(Request))
		l.expectGiven(first, "b")
		held.Release(Answered)
		l.expectGiven(second, "a")
	})
}

// Whoever leaves the queue is passed over. A place that came before that is not
// lost.
func TestLeave(t *testing.T) {
	l := newLimitedLab(t, 1)
	held := l.take(rr)
	first, second := l.waits(rr, new(Request)), l.waits(rr, new(Request))
	if _, ok := l.Leave(first); ok || l.Queue().Waiting != 1 {
		t.Errorf("left with a place, or stays: %+v", l.Queue())
	}
	held.Release(Answered)
	if _, ok := l.Leave(first); ok {
		t.Error("left twice")
	}
	lease, ok := l.Leave(second)
	if !ok || lease.Worker().Name != "a" {
		t.Fatal("the place was lost")
	}
	lease.Release(Withdrawn)
	if _, ok := l.Leave(second); ok {
		t.Error("it has the place twice")
	}
	if _, ok := l.Leave(new(Request)); ok {
		t.Error("it never waited")
	}
	l.take(rr)
}

// The place of a worker that cools down is no place. When the time is over it
// takes one request from the queue, though none arrives; and its share when it
// has answered.
func TestCoolingPlaceIsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 3)
		l.fail("b", 3)
		l.take(rr)
		var waiting []*Request
		for range 5 {
			waiting = append(waiting, l.waits(lc, new(Request)))
		}
		time.Sleep(firstCoolDown - 1)
		l.expectGiven(waiting[0], "")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		trial := l.expectGiven(waiting[0], "b")
		l.expectGiven(waiting[1], "")
		trial.Release(Answered)
		for _, r := range waiting[1:4] {
			l.expectGiven(r, "b")
		}
		l.expectGiven(waiting[4], "")
	})
}

// A trial that fails leaves the others waiting, and the next one comes by itself.
func TestTrialsServeTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		l.fail("b", 3)
		l.take(rr)
		first, second := l.waits(lc, new(Request)), l.waits(lc, new(Request))
		time.Sleep(firstCoolDown)
		synctest.Wait()
		l.expectGiven(first, "b").Release(Failed)
		l.expectGiven(second, "")
		time.Sleep(2 * firstCoolDown)
		synctest.Wait()
		l.expectGiven(second, "b").Release(Answered)
	})
}

// A trial serves the queue at its time, although another worker was cooling down
// already, and for longer, when the request came.
func TestEarlierTrialServesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1, 1)
		l.fail("a", 3)
		time.Sleep(firstCoolDown)
		l.fail("a", 1) // its trial: it cools down for twice as long
		l.fail("b", 2)
		held := map[string]Lease{}
		for range 2 { // a cools down
			lease := l.take(lc)
			held[lease.Worker().Name] = lease
		}
		r := l.waits(lc, new(Request))
		held["b"].Release(Failed) // b cools down, and its trial comes first
		time.Sleep(firstCoolDown)
		synctest.Wait()
		l.expectGiven(r, "b").Release(Answered)
		held["c"].Release(Answered)
	})
}

// When all cool, cooling is ignored: for those that wait already, and for new
// requests. The limits hold.
func TestAllCoolAndFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 2, 1)
		l.fail("b", 3)
		l.fail("a", 2)
		first, second := l.take(rr), l.take(rr)
		waiting := l.waits(lc, new(Request))
		first.Release(Failed) // a cools down, too
		name, _ := given(waiting)
		names := name + l.take(lc).Worker().Name
		if names != "ab" && names != "ba" {
			t.Errorf("places at %q, want one at each", names)
		}
		l.waits(lc, new(Request))
		second.Release(NotCounted)
		expect(t, "state", l.state("a").State.String(), "cooling down")
	})
}

// A request that has failed, and then waits, comes before the new ones.
func TestFailedComesFirst(t *testing.T) {
	l := newLimitedLab(t, 1, 1, 1)
	r := new(Request)
	a := l.attempt(rr, r)
	b, c := l.take(rr), l.take(rr)
	fresh := l.waits(rr, new(Request))
	a.Release(Failed)
	a = l.expectGiven(fresh, "a")
	later := l.waits(rr, new(Request))
	l.waits(rr, r)
	c.Release(Answered)
	l.expectGiven(r, "c")
	b.Release(Answered)
	l.expectGiven(later, "b")
	a.Release(Answered)
}

// It may then take any place, even at a worker that it has met; but n attempts in
// all.
func TestFailedTakesAnyPlace(t *testing.T) {
	l := newLimitedLab(t, 1, 1, 1)
	l.Remove("c")
	r := new(Request)
	a := l.attempt(rr, r)
	b := l.take(rr)
	fresh := l.waits(rr, new(Request))
	a.Release(Failed)
	a = l.expectGiven(fresh, "a")
	l.waits(rr, r)
	a.Release(Answered)
	l.expectGiven(r, "a").Release(Failed)
	b.Release(Answered)
	if _, ok := l.Assign(rr, r); ok || r.Place() != nil {
		t.Error("a third attempt, with two workers")
	}
}

// With one worker dead and the others full a request waits for the others: it is
// not refused by the dead one again and again. New requests may go there.
func TestDeadWorkerIsNotAskedAgain(t *testing.T) {
	l := newLimitedLab(t, 1, 1, 1)
	r := new(Request)
	l.attempt(rr, r).Release(Failed) // a is dead
	b, c := l.take(rr), l.take(rr)
	l.waits(rr, r)
	fresh := l.take(rr)
	expect(t, "the new one goes to", fresh.Worker().Name, "a")
	fresh.Release(Failed)
	l.expectGiven(r, "")
	b.Release(Answered)
	l.expectGiven(r, "b")
	c.Release(Answered)
}

// Of the workers that it has met, it goes back to one that has answered since, and
// not to the dead one.
func TestGoesBackToOneThatAnswers(t *testing.T) {
	l := newLimitedLab(t, 1, 1, 1)
	r := new(Request)
	l.attempt(rr, r).Release(Failed) // a is dead
	b := l.attempt(rr, r)
	c := l.take(rr)
	b.Release(Failed)
	other := l.take(rr) // a's
	expect(t, "one that answers", l.ask(rr, 1, Answered), "b")
	other.Release(NotCounted)
	again := l.attempt(rr, r)
	expect(t, "its third attempt is at", again.Worker().Name, "b")
	again.Release(Answered)
	c.Release(Answered)
}

// If no other worker can have a place, it does not wait for one that never comes.
func TestNoOtherCanCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		l.fail("b", 3)
		r := new(Request)
		l.attempt(lc, r).Release(Failed)
		lease := l.attempt(lc, r)
		expect(t, "while b cools", lease.Worker().Name, "a")
		lease.Release(Answered)
	})
}

// The same when the other one begins to cool down, or drains, meanwhile.
func TestNoOtherCanComeAnyMore(t *testing.T) {
	for what, goes := range map[string]func(l *lab, b Lease){
		"cools down": func(_ *lab, b Lease) { b.Release(Failed) },
		"drains":     func(l *lab, _ Lease) { l.Drain("b") },
		"removed":    func(l *lab, _ Lease) { l.Remove("b") },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimitedLab(t, 1, 1)
			l.fail("b", 2)
			r := new(Request)
			a := l.attempt(lc, r)
			b := l.take(lc)
			a.Release(Failed)
			l.waits(lc, r)
			goes(l, b)
			if name, _ := given(r); name != "a" {
				t.Errorf("b %s: given a place at %q, want a", what, name)
			}
		})
	}
}

// While all cool, a request that has used up its attempts at such workers does not
// wait.
func TestSpentDoesNotWait(t *testing.T) {
	for _, s := range []int{rr, lc} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimitedLab(t, 1, 1, 1, 1, 1)
			l.failAll(s)
			r := new(Request)
			met := l.exhaust(s, r, Failed)
			if len(met) != maxNotUp || r.Place() != nil {
				t.Errorf("%s: met %q, want three; it waits: %v", names[s], met, r.Place() != nil)
			}
		})
	}
}

// It waits while a worker that is up is only full. When that one goes, the wait is
// ended.
func TestWaitIsEnded(t *testing.T) {
	for what, goes := range map[string]func(l *lab, a Lease){
		"cools down": func(_ *lab, a Lease) { a.Release(Failed) },
		"drains":     func(l *lab, _ Lease) { l.Drain("a") },
		"removed":    func(l *lab, _ Lease) { l.Remove("a") },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimitedLab(t, 1, 1, 1)
			l.fail("b", 3)
			l.fail("c", 3)
			l.fail("a", 2)
			a := l.take(rr)
			r := &Request{n: 1, first: 1, notUp: maxNotUp}
			other := &Request{n: 1, first: 0}
			l.waits(rr, r)
			l.waits(rr, other)
			if r.Ended() {
				t.Error("ended while a is up")
			}
			goes(l, a)
			select {
			case lease := <-r.Place():
				if !lease.IsZero() || !r.Ended() {
					t.Errorf("a %s: a place at %q, ended: %v", what, lease.Worker().Name, r.Ended())
				}
			default:
				t.Errorf("a %s: it still waits", what)
			}
			if _, ok := l.Leave(r); ok || !r.Ended() {
				t.Errorf("a %s: it left with a place, or is not ended", what)
			}
			l.expectGiven(other, "b").Release(Failed)
			if q := l.Queue(); q.Waiting != 0 || other.Ended() {
				t.Errorf("a %s: %+v", what, q)
			}
		})
	}
}

// A request that waits for a worker that it has not tried holds up no other one
// that has not tried the worker that is free.
func TestWaitingForAnotherHoldsUpNobody(t *testing.T) {
	l := newLimitedLab(t, 1, 1, 1)
	first, second := new(Request), new(Request)
	l.attempt(rr, first).Release(Failed) // at a
	b := l.attempt(rr, second)
	l.Drain("b")
	c := l.take(rr)
	l.waits(rr, first) // for c
	a := l.take(rr)
	b.Release(Failed)
	l.waits(rr, second)
	a.Release(Failed)
	l.expectGiven(first, "")
	l.expectGiven(second, "a").Release(Answered)
	c.Release(Answered)
}

// Not many are passed over at a time. When one of them leaves, the next one is
// looked at.
func TestLeavingLetsTheNextOneChoose(t *testing.T) {
	l := newLimitedLab(t, 1, 1)
	l.fail("a", 1)
	places := l.takeAll()
	a, b := places[0], places[1]
	passed := make([]*Request, maxPassed)
	for i := range passed {
		passed[i] = new(Request)
		passed[i].add(l.members[0]) // so they wait for b
		l.waits(rr, passed[i])
	}
	last := new(Request)
	last.add(l.members[1])
	l.waits(rr, last)
	a.Release(Failed)
	l.expectGiven(last, "")
	l.Leave(passed[3])
	l.expectGiven(last, "a").Release(Failed)
	b.Release(Answered)
	l.expectGiven(passed[0], "b").Release(Answered)
}

// At every moment: no worker has more than its limit, unless it was lowered; no new
// request waits while a worker is open, and none that has failed waits while one is
// open that it has not tried; the counts add up; and all that wait are served in
// the end, whatever is ordered meanwhile.
func TestQueueProperties(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) { queueProperties(t, rand.New(rand.NewPCG(seed, 0))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func queueProperties(t *testing.T, random *rand.Rand) {
	limits := make([]int, 1+random.IntN(4))
	for i := range limits {
		limits[i] = random.IntN(4)
	}
	limits[0] = 1
	l := newLimitedLab(t, limits...)
	type job struct {
		r     *Request
		s     int
		lease Lease
	}
	var running, waiting []job
	most := map[string]int{} // in flight at each worker before this step
	begin := func(j job) {
		lease, ok := l.Assign(j.s, j.r)
		switch {
		case ok:
			running = append(running, job{j.r, j.s, lease})
		case j.r.Place() != nil:
			waiting = append(waiting, j)
		case l.queues && int(j.r.n) < len(l.members) && !l.hopeless(j.r):
			t.Errorf("no worker is left after %d attempts of %d", j.r.n, len(l.members))
		}
	}
	collect := func() {
		synctest.Wait()
		var still []job
		for _, j := range waiting {
			if name, lease := given(j.r); name != "" {
				running = append(running, job{j.r, j.s, lease})
			} else if !j.r.Ended() {
				still = append(still, j)
			}
		}
		waiting = still
	}
	check := func() {
		collect()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, m := range l.members {
			if m.limit > 0 && m.inFlight > max(m.limit, most[m.config.Name]) {
				t.Errorf("%s has %d in flight, its limit is %d", m.config.Name, m.inFlight, m.limit)
			}
			most[m.config.Name] = m.inFlight
			for _, j := range waiting {
				if l.takes(m) && j.r.n > 0 && !j.r.tried(m) && j.r.mayGet(m) && l.queue.failed.Len() <= maxPassed {
					t.Errorf("%s has a place that a request which waits has not tried", m.config.Name)
				}
			}
			if l.takes(m) && l.queue.fresh.Len() > 0 {
				t.Errorf("%s has a place while %d new requests wait", m.config.Name, l.queue.fresh.Len())
			}
		}
		if l.queue.len() != len(waiting) {
			t.Errorf("%d wait, %d are in the queue", len(waiting), l.queue.len())
		}
	}
	end := func(o Outcome) {
		i := random.IntN(len(running))
		j := running[i]
		running = append(running[:i], running[i+1:]...)
		j.lease.Release(o)
		if o == Failed {
			begin(job{r: j.r, s: j.s})
		}
	}
	for range 300 {
		switch n := random.IntN(12); {
		case n == 10:
			l.orderAny(random)
		case n < 4:
			begin(job{r: new(Request), s: 1 + random.IntN(2)})
		case n < 9 && len(running) > 0:
			end([]Outcome{Answered, Answered, Failed, NotCounted, Withdrawn}[random.IntN(5)])
		case n == 9 && len(waiting) > 0 && random.IntN(2) == 0:
			i := random.IntN(len(waiting))
			if lease, ok := l.Leave(waiting[i].r); ok {
				lease.Release(Withdrawn)
			}
			waiting = append(waiting[:i], waiting[i+1:]...)
		default:
			time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
		}
		check()
	}
	l.Add(Worker{Addr: "the last", Limit: 1})
	for len(running)+len(waiting) > 0 {
		if len(running) == 0 {
			time.Sleep(longestCoolDown)
			collect()
			if len(running) == 0 {
				t.Errorf("%d wait for ever", len(waiting))
				return
			}
		}
		end(Answered)
		check()
	}
	l.Snapshot()
	if l.queue.wake != nil {
		t.Error("the timer runs while nobody waits")
	}
}

// The last request that leaves the queue leaves no timer behind.
func TestNoTimerWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		l.fail("a", 3)
		held := l.take(rr)
		l.Leave(l.waits(rr, new(Request)))
		if l.queue.wake != nil {
			t.Error("the timer runs")
		}
		held.Release(Answered)
	})
}

// orderAny gives any order to any worker.
func (l *lab) orderAny(random *rand.Rand) {
	all := l.Pool.Snapshot().Workers
	if len(all) == 0 || len(all) < 6 && random.IntN(5) == 0 {
		l.Add(Worker{Addr: fmt.Sprint("added ", l.ever), Weight: 1 + random.IntN(3), Limit: random.IntN(4)})
		return
	}
	name := all[random.IntN(len(all))].Name
	switch random.IntN(6) {
	case 0:
		l.Drain(name)
	case 1, 2:
		l.Up(name)
	case 3:
		l.Remove(name)
	case 4:
		l.SetWeight(name, 1+random.IntN(5))
	case 5:
		l.SetLimit(name, random.IntN(4))
	}
}

// Giving a place on allocates nothing, and costs the same with few and with many
// that wait.
func TestGivingAllocatesNothing(t *testing.T) {
	l := newLimitedLab(t, 1)
	lease := l.take(rr)
	waiting := make([]*Request, 200)
	for i := range waiting {
		waiting[i] = l.waits(rr, new(Request))
	}
	next := 0
	allocs := testing.AllocsPerRun(len(waiting)-1, func() {
		lease.Release(Answered)
		lease = <-waiting[next].Place()
		next++
	})
	if allocs != 0 {
		t.Errorf("%v allocations for each place that is given on", allocs)
	}
}

func BenchmarkGive(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := NewPool([]Worker{{Name: "a", Limit: 1}, {Name: "b", Limit: 1}, {Name: "c", Limit: 1}}, newSelectors()...)
			var lease Lease
			for range 3 {
				lease, _ = p.Assign(lc, new(Request))
			}
			waiting := make([]*Request, n)
			for i := range waiting {
				waiting[i] = new(Request)
				p.Assign(lc, waiting[i])
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i = (i + 1) % n {
				lease.Release(Answered)
				lease = <-waiting[i].Place()
				*waiting[i] = Request{wait: waiting[i].wait}
				p.requeue(waiting[i])
			}
		})
	}
}

// requeue lets a request that has been served wait again, with what it has. The
// list's new element is the benchmark's one allocation.
func (p *Pool) requeue(r *Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.wait.element = p.queue.fresh.PushBack(r.wait)
}

// The one that waits longest may have failed at a worker before, while a new one waits
// too.
func TestOldestOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedLab(t, 1, 1)
		r := new(Request)
		first := l.attempt(rr, r)
		second := l.take(rr)
		fresh := l.waits(rr, new(Request))
		first.Release(Failed) // fresh has its place now
		l.waits(rr, r)
		time.Sleep(2 * time.Second)
		l.waits(rr, new(Request))
		time.Sleep(time.Second)
		if q := l.Queue(); q.Waiting != 2 || q.Oldest != 3*time.Second {
			t.Errorf("%+v, want 2 that wait, one of them for 3s", q)
		}
		l.expectGiven(fresh, "a")
		second.Release(NotCounted)
	})
}
