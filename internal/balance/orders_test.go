package balance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ordered returns the answer to an order, which must not be refused.
func ordered(t *testing.T) func(Status, error) Status {
	return func(s Status, err error) Status {
		t.Helper()
		if err != nil {
			t.Errorf("an order was refused: %v", err)
		}
		return s
	}
}

// briefly writes a status as "a draining, 3 in flight".
func briefly(s Status) string { return fmt.Sprintf("%s %v, %d in flight", s.Name, s.State, s.InFlight) }

// written returns the changes as "a draining: as ordered", one a line.
func written(changes []Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s %v: %v", c.Name, c.State, c.Cause))
	}
	return strings.Join(all, "\n")
}

// A worker that drains gets nothing from the next choice on, by neither selector,
// and what is in flight goes on. When it is over, the worker has drained.
func TestDrain(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	changes := l.told()
	must := ordered(t)
	held := []Lease{l.take(lc), l.take(rr)} // both are a's
	expect(t, "the answer", briefly(must(l.Drain("a"))), "a draining, 2 in flight")
	expect(t, "round robin goes on", l.ask(rr, 4, Answered), "bcbc")
	expect(t, "least connections goes on", l.ask(lc, 4, Answered), "bcbc")
	for _, lease := range held {
		expect(t, "before it has drained", written(*changes), "a draining: as ordered")
		lease.Release(Answered)
	}
	expect(t, "the end", briefly(l.state("a")), "a drained, 0 in flight")
	must(l.Drain("a")) // again
	expect(t, "afterwards", l.ask(rr, 2, Answered)+l.ask(lc, 2, Answered), "bcbc")
	must(l.Up("a"))
	must(l.Up("a")) // again
	expect(t, "up again", l.ask(rr, 3, Answered)+l.ask(lc, 3, Answered), "abcabc")
	expect(t, "all changes", written(*changes), "a draining: as ordered\na drained: as ordered\na up: as ordered")
}

// A worker that is up again before it has drained never has.
func TestUpWhileItDrains(t *testing.T) {
	l := newLab(t, 1, 1)
	changes := l.told()
	must := ordered(t)
	lease := l.take(rr)
	must(l.Remove("a"))
	expect(t, "the answer", briefly(must(l.Up("a"))), "a up, 1 in flight")
	lease.Release(Answered)
	expect(t, "it stays", briefly(l.state("a")), "a up, 0 in flight")
	must(l.SetWeight("a", 1))
	expect(t, "it stays, whatever is ordered next", l.names(), "ab")
	expect(t, "all changes", written(*changes), "a draining: as ordered\na up: as ordered")
}

// A drained worker that cooled down before goes on with that when it is up.
func TestDrainKeepsACoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1)
		changes := l.told()
		must := ordered(t)
		l.fail("a", 3)
		expect(t, "while it cools", briefly(must(l.Drain("a"))), "a drained, 0 in flight")
		time.Sleep(600 * time.Millisecond)
		if s := must(l.Up("a")); s.State != Cooling || s.Cooling != 400*time.Millisecond {
			t.Errorf("%v for %v, want it to cool for 400ms more", s.State, s.Cooling)
		}
		must(l.Drain("a"))
		time.Sleep(400 * time.Millisecond)
		expect(t, "no trial while it drains", l.ask(rr, 3, Answered), "bbb")
		expect(t, "after the cool-down", must(l.Up("a")).State.String(), "due for a trial")
		expect(t, "its trial", l.ask(rr, 2, Answered), "ab")
		expect(t, "all changes", written(*changes), `a cooling down: 3 failures in a row
a draining: as ordered
a drained: as ordered
a cooling down: as ordered
a draining: as ordered
a drained: as ordered
a due for a trial: as ordered
a up: it answered`)
		if d := (*changes)[3].Cooling; d != 400*time.Millisecond {
			t.Errorf("it goes on to cool for %v", d)
		}
	})
}

// An order does not bring back a cool-down whose time is over, though nobody has
// asked for a worker since.
func TestOrdersEndCoolDowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1)
		l.fail("a", 3)
		ordered(t)(l.Drain("a"))
		changes := l.told()
		time.Sleep(firstCoolDown)
		expect(t, "the answer", ordered(t)(l.Up("a")).State.String(), "due for a trial")
		expect(t, "what is told", written(*changes), "a due for a trial: as ordered")
	})
}

// Nobody is told that a worker which drains is up, or cools down.
func TestDrainDuringATrial(t *testing.T) {
	for outcome, want := range map[Outcome]string{
		Answered: "a draining: as ordered\na drained: as ordered\na up: as ordered",
		Failed:   "a draining: as ordered\na drained: as ordered\na cooling down: as ordered",
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1, 1)
			must := ordered(t)
			l.fail("a", 3)
			time.Sleep(time.Second)
			trial := l.take(lc)
			expect(t, "on trial", l.state("a").State.String(), "on trial")
			changes := l.told()
			must(l.Drain("a"))
			trial.Release(outcome)
			must(l.Up("a"))
			expect(t, "all changes", written(*changes), want)
		})
	}
}

// One that cools down, or is on trial, may be removed. What is left of its
// cool-down wakes nobody.
func TestRemoveWhileItCools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1, 1)
		must := ordered(t)
		l.fail("a", 3)
		must(l.Remove("a"))
		l.fail("b", 3)
		time.Sleep(time.Second)
		trial := l.take(lc)
		expect(t, "the trial", trial.Worker().Name, "b")
		must(l.Remove("b"))
		time.Sleep(time.Minute)
		trial.Release(Failed)
		expect(t, "who is left", l.ask(rr, 2, Answered)+l.ask(lc, 2, Answered), "cccc")
		if n := len(l.cooling); n > 0 {
			t.Errorf("%d still cool down", n)
		}
	})
}

// An idle worker is removed at once, a busy one when it has drained. Its counts
// go on in the sums, and its name is unknown.
func TestRemove(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	changes := l.told()
	must := ordered(t)
	l.ask(rr, 3, Answered)
	l.ask(rr, 3, Failed)
	expect(t, "an idle one", briefly(must(l.Remove("b"))), "b drained, 0 in flight")
	first, second, withdrawn := l.take(rr), l.take(rr), l.take(rr) // a, c, a
	expect(t, "a busy one", briefly(must(l.Remove("a"))), "a draining, 2 in flight")
	expect(t, "it is there as long as it drains", briefly(l.state("a")), "a draining, 2 in flight")
	first.Release(Answered)
	withdrawn.Release(Withdrawn)
	second.Release(Answered)
	expect(t, "who is left", l.ask(rr, 2, Answered)+l.ask(lc, 2, Answered), "cccc")
	for _, name := range []string{"a", "b", "no"} {
		for what, order := range map[string]func(string) (Status, error){"drain": l.Drain, "up": l.Up, "remove": l.Remove} {
			if s, err := order(name); !errors.Is(err, ErrUnknown) || s.Name != "" || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %+v, %v", what, name, s, err)
			}
		}
	}
	s := l.Pool.Snapshot()
	removed := s.Removed
	if got, want := fmt.Sprint(removed.Assigned, removed.Answered, removed.Failed, removed.Withdrawn, removed.InFlight), "6 [0 3 0] 2 1 0"; got != want {
		t.Errorf("the sums are %s, want %s", got, want)
	}
	expect(t, "the lease still names its worker", first.Worker().Name+fmt.Sprint(first.Index()), "a0")
	expect(t, "all changes", written(*changes), strings.Join([]string{
		"b draining: as ordered", "b drained: as ordered", "b removed: as ordered",
		"a draining: as ordered", "a drained: as ordered", "a removed: as ordered",
	}, "\n"))
}

// An added worker gets its share from the next choice on. It is named by how many
// there ever were, so that no name comes back.
func TestAdd(t *testing.T) {
	workers := []Worker{{Name: "Worker-1", Addr: "h:1"}, {Name: "Worker-2", Addr: "h:2"}}
	l := &lab{t, NewPool(workers, newSelectors()...)}
	changes := l.told()
	must := ordered(t)
	must(l.Remove("Worker-2"))
	expect(t, "the answer", briefly(must(l.Add(Worker{Addr: "h:3", Weight: 2}))), "Worker-3 up, 0 in flight")
	expect(t, "round robin", l.ask(rr, 3, Answered), "Worker-3Worker-1Worker-3")
	if s, err := l.Add(Worker{Addr: "h:3"}); !errors.Is(err, ErrKnown) || s.Name != "Worker-3" || !strings.Contains(err.Error(), "Worker-3") {
		t.Errorf("the same address again: %+v, %v", s, err)
	}
	expect(t, "a removed one's address", must(l.Add(Worker{Addr: "h:2"})).Name, "Worker-4")
	lease := l.take(lc)
	expect(t, "least connections", lease.Worker().Name, "Worker-1")
	if n := len(l.Snapshot()); n != 3 {
		t.Errorf("%d workers, want 3", n)
	}
	expect(t, "the changes", written((*changes)[3:]), "Worker-3 up: it was added\nWorker-4 up: it was added")
}

// Waiting requests get the places of a worker that comes, or is up again.
func TestOrdersServeTheQueue(t *testing.T) {
	must := ordered(t)
	for name, order := range map[string]func(l *lab) (Status, error){
		"add":        func(l *lab) (Status, error) { return l.Add(Worker{Name: "new", Addr: "h:9", Limit: 1}) },
		"up":         func(l *lab) (Status, error) { return l.Up("c") },
		"limit":      func(l *lab) (Status, error) { return l.SetLimit("a", 2) },
		"limit of 0": func(l *lab) (Status, error) { return l.SetLimit("a", 0) },
	} {
		l := newLimitedLab(t, 1, 1, 1)
		must(l.Drain("c"))
		held := []Lease{l.take(rr), l.take(rr)}
		waiting := l.waits(lc, new(Request))
		must(order(l))
		select {
		case lease := <-waiting.Place():
			lease.Release(Answered)
		default:
			t.Errorf("%s: the request still waits", name)
		}
		for _, lease := range held {
			lease.Release(Answered)
		}
	}
}

// The last worker may be drained. Then a request waits if there is a limit, and
// has no worker if there is none.
func TestDrainTheLast(t *testing.T) {
	must := ordered(t)
	l := newLab(t, 1)
	must(l.Drain("a"))
	refused := new(Request)
	if _, ok := l.Assign(rr, refused); ok || refused.Place() != nil {
		t.Error("without a limit the request was not refused")
	}
	l = newLimitedLab(t, 1)
	must(l.Drain("a"))
	waiting := l.waits(rr, new(Request))
	must(l.Up("a"))
	l.expectGiven(waiting, "a").Release(Answered)
}

// When the last limit is gone, requests do not wait any more.
func TestNoLimitAnyMore(t *testing.T) {
	must := ordered(t)
	l := newLimitedLab(t, 1, 0)
	must(l.Drain("a"))
	must(l.Drain("b"))
	l.Leave(l.waits(rr, new(Request)))
	must(l.SetLimit("a", 0))
	r := new(Request)
	if _, ok := l.Assign(rr, r); ok || r.Place() != nil {
		t.Error("a request was not refused, though no worker has a limit")
	}
}

// All workers may be removed, and others added for them: with a limit, requests
// wait meanwhile.
func TestRemoveTheLast(t *testing.T) {
	must := ordered(t)
	l := newLimitedLab(t, 1)
	must(l.Remove("a"))
	waiting := l.waits(lc, new(Request))
	must(l.Add(Worker{Name: "b", Addr: "b", Limit: 1}))
	l.expectGiven(waiting, "b").Release(Answered)
}

// With a lower limit nothing new comes until what is in flight is below it.
func TestLowerLimit(t *testing.T) {
	l := newLimitedLab(t, 3)
	must := ordered(t)
	held := []Lease{l.take(rr), l.take(rr), l.take(rr)}
	if s := must(l.SetLimit("a", 1)); s.Limit != 1 || s.InFlight != 3 {
		t.Errorf("the answer is %+v", s)
	}
	waiting := l.waits(rr, new(Request))
	held[0].Release(Answered)
	held[1].Release(Answered)
	expect(t, "with one in flight", fmt.Sprint(l.Queue().Waiting), "1")
	held[2].Release(Answered)
	l.expectGiven(waiting, "a").Release(Answered)
}

// Peaks that begin again count what is in flight then, and the whole peak stays.
func TestRestartPeaks(t *testing.T) {
	p := NewPool([]Worker{{Name: "Worker-1", Addr: "a"}}, new(RoundRobin))
	var leases []Lease
	begin := func() {
		l, _ := p.Assign(0, new(Request))
		leases = append(leases, l)
	}
	check := func(recent, all int) {
		t.Helper()
		if s := p.Snapshot().Workers[0]; s.RecentPeak != recent || s.Peak != all {
			t.Errorf("recently %d, in all %d; want %d and %d", s.RecentPeak, s.Peak, recent, all)
		}
	}
	begin()
	begin()
	begin()
	check(3, 3)
	leases[0].Release(Answered)
	leases[1].Release(Answered)
	p.RestartPeaks()
	check(1, 3)
	begin()
	check(2, 3)
	p.RestartPeaks()
	check(2, 3)
	begin()
	begin()
	check(4, 4)
}

// From the next choice on, the turns are those of the new weights, as if all began
// then: what was earned under the old weights is worth nothing.
func TestSetWeight(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	must := ordered(t)
	for range 300 {
		weights := []int{1 + r.IntN(1000), 1 + r.IntN(3), 1 + r.IntN(3)}
		l := newLab(t, weights...)
		l.ask(rr, r.IntN(2000), Answered)
		weights[0], weights[1] = 4+r.IntN(5), 4+r.IntN(5)
		must(l.SetWeight("a", weights[0]))
		if s := must(l.SetWeight("b", weights[1])); s.Weight != weights[1] {
			t.Errorf("the answer is %+v", s)
		}
		for i, n := range counts(l.ask(rr, 10*sum(weights), Answered)) {
			if want := 10 * weights[i]; n != want {
				t.Errorf("weights %v: worker %d has %d turns, want %d", weights, i, n, want)
			}
		}
	}
}

// counts counts the turns of the workers a, b and c.
func counts(order string) (n [3]int) {
	for _, name := range order {
		n[name-'a']++
	}
	return n
}

func sum(weights []int) (sum int) {
	for _, w := range weights {
		sum += w
	}
	return sum
}

// No worker gets many turns in a row because a heavy one has left or has become
// light.
func TestNoBurst(t *testing.T) {
	must := ordered(t)
	for before := 1; before < 1100; before += 50 {
		for _, test := range []struct {
			name  string
			order func(l *lab) (Status, error)
			want  [3]int
		}{
			{"weight", func(l *lab) (Status, error) { return l.SetWeight("a", 1) }, [3]int{2, 4, 6}},
			{"drain", func(l *lab) (Status, error) { return l.Drain("a") }, [3]int{0, 4, 6}},
			{"remove", func(l *lab) (Status, error) { return l.Remove("a") }, [3]int{0, 4, 6}},
		} {
			l := newLab(t, 1000, 2, 3)
			l.ask(rr, before, Answered)
			must(test.order(l))
			if turns := l.ask(rr, test.want[0]+10, Answered); counts(turns) != test.want {
				t.Errorf("%s after %d requests: %s", test.name, before, turns)
			}
		}
	}
}

// Least connections keeps no account: the new weight counts at once, for what is
// in flight already too, and with nothing in flight nobody gets more than a turn.
func TestSetWeightByLeastConnections(t *testing.T) {
	l := newLab(t, 3, 1)
	must := ordered(t)
	for range 40 {
		l.take(lc)
	}
	must(l.SetWeight("a", 1))
	for range 20 {
		expect(t, "until both have 30", l.take(lc).Worker().Name, "b")
	}
	expect(t, "then", l.take(lc).Worker().Name+l.take(lc).Worker().Name, "ab")
	l = newLab(t, 1000, 1)
	l.ask(lc, 100, Answered)
	must(l.SetWeight("a", 1))
	expect(t, "one after another", l.ask(lc, 4, Answered), "abab")
}

// Whatever is ordered and asked for in whatever order: an order that was answered
// holds for the next choice, and no request is lost or counted twice.
func TestOrdersHoldAtOnce(t *testing.T) {
	for round := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, rand.New(rand.NewPCG(11, round)))
			for range 300 {
				w.step()
			}
			for _, lease := range w.held {
				lease.Release(Answered)
			}
			w.check()
		})
	}
}

// A world is a pool with what must be true of it, written down from the orders
// alone.
type world struct {
	*lab
	r        *rand.Rand
	must     func(Status, error) Status
	held     []Lease
	names    []string       // of the workers that were not removed by an order
	limits   map[string]int // by name
	drains   map[string]bool
	inFlight map[string]int
	assigned int
}

func newWorld(t *testing.T, r *rand.Rand) *world {
	l := newLab(t, 1, 2, 3)
	return &world{
		lab: l, r: r, must: ordered(t), names: []string{"a", "b", "c"},
		limits: map[string]int{}, drains: map[string]bool{}, inFlight: map[string]int{},
	}
}

func (w *world) step() {
	name := "none"
	if len(w.names) > 0 {
		name = w.names[w.r.IntN(len(w.names))]
	}
	switch k := w.r.IntN(40); {
	case k < 12 && len(w.held) > 0:
		w.release()
	case k < 30 || name == "none":
		w.request()
	case k == 30:
		w.must(w.Drain(name))
		w.drains[name] = true
	case k == 31 || k == 32:
		w.must(w.Up(name))
		w.drains[name] = false
	case k == 33 || k == 34:
		w.must(w.SetWeight(name, 1+w.r.IntN(5)))
	case k == 35 || k == 36:
		w.limits[name] = w.r.IntN(4)
		w.must(w.SetLimit(name, w.limits[name]))
	case k == 37:
		w.must(w.Remove(name))
		w.drains[name] = true
		w.names = slices.DeleteFunc(w.names, func(n string) bool { return n == name })
	case k == 38:
		s := w.must(w.Add(Worker{Addr: fmt.Sprint("h:", w.ever), Weight: 1 + w.r.IntN(3)}))
		w.names = append(w.names, s.Name)
	default:
		time.Sleep(time.Duration(w.r.IntN(2000)) * time.Millisecond)
	}
	w.check()
}

func (w *world) release() {
	i := w.r.IntN(len(w.held))
	lease := w.held[i]
	w.held = slices.Delete(w.held, i, i+1)
	w.inFlight[lease.Worker().Name]--
	lease.Release([]Outcome{Answered, Answered, Failed, NotCounted, Withdrawn}[w.r.IntN(5)])
}

// request assigns a request, which leaves the queue at once if it has to wait.
func (w *world) request() {
	w.t.Helper()
	r := new(Request)
	lease, ok := w.Assign([]int{rr, lc}[w.r.IntN(2)], r)
	if !ok {
		w.Leave(r)
		for _, name := range w.names {
			if limit := w.limits[name]; !w.drains[name] && w.state(name).State == Up && (limit == 0 || w.inFlight[name] < limit) {
				w.t.Fatalf("no worker, though %s has a place: %+v", name, w.Snapshot())
			}
		}
		return
	}
	name := lease.Worker().Name
	if w.drains[name] {
		w.t.Fatalf("%s got a request after its drain was answered", name)
	}
	w.assigned++
	w.inFlight[name]++
	if limit := w.limits[name]; limit > 0 && w.inFlight[name] > limit {
		w.t.Fatalf("%s has %d in flight, with a limit of %d", name, w.inFlight[name], limit)
	}
	w.held = append(w.held, lease)
}

// check compares the sums with what was assigned. Snapshot looks at each worker.
func (w *world) check() {
	w.t.Helper()
	assigned := w.Pool.Snapshot().Removed.Assigned
	for _, s := range w.Snapshot() {
		assigned += s.Assigned
	}
	if assigned != w.assigned {
		w.t.Fatalf("%d assigned, want %d", assigned, w.assigned)
	}
}

// The same from many goroutines: between the answer to Drain and the order Up, a
// worker is assigned nothing.
func TestOrdersHoldForAllGoroutines(t *testing.T) {
	l := newLab(t, 1, 1, 1, 1)
	var ending atomic.Bool
	var asking, ordering sync.WaitGroup
	for i := range 4 {
		asking.Go(func() {
			for !ending.Load() {
				if lease, ok := l.Assign([]int{rr, lc}[i%2], new(Request)); ok {
					lease.Release(Answered)
				}
			}
		})
	}
	must := ordered(t)
	for _, name := range []string{"a", "b"} {
		ordering.Go(func() {
			for range 500 {
				before := must(l.Drain(name))
				must(l.SetWeight("c", 1+before.Assigned%3))
				if after := must(l.Up(name)); after.Assigned != before.Assigned {
					t.Errorf("%s was assigned %d requests while it drained", name, after.Assigned-before.Assigned)
				}
			}
		})
	}
	ordering.Wait()
	ending.Store(true)
	asking.Wait()
	l.Snapshot()
}

// Nor does a cool-down give one: what the others had earned is worth as many turns
// as before.
func TestNoBurstAfterACoolDown(t *testing.T) {
	for before := 1; before < 1100; before += 50 {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, 1000, 2, 3)
			l.ask(rr, before, Answered)
			l.fail("a", 3)
			turns := l.ask(rr, 10, Answered)
			if n := strings.Count(turns, "b"); n < 3 || n > 5 || strings.Contains(turns, "a") {
				t.Errorf("after %d requests: %s", before, turns)
			}
		})
	}
}

// A worker that is removed takes nobody's turn of a further attempt with it.
func TestRemoveKeepsTheTurnOfFurtherAttempts(t *testing.T) {
	l := newLab(t, 1, 1, 1, 1, 1)
	twice := func() (order string) {
		var r Request
		for range 2 {
			lease := l.attempt(rr, &r)
			order += lease.Worker().Name
			lease.Release(NotCounted)
		}
		return order
	}
	expect(t, "before", twice()+" "+twice(), "ab bc")
	ordered(t)(l.Remove("a"))
	expect(t, "afterwards", twice()+" "+twice(), "cd de")
}
