package balance

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// told makes the pool write down its changes.
func (l *lab) told() *[]Change {
	changes := new([]Change)
	l.OnChange = func(c Change) { *changes = append(*changes, c) }
	return changes
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		changes := l.told()
		l.live("o" + "ffo" + "fff" + "f" + "o") // one beside the cool-down; an answer ends it
		l.live("fff" + ".f" + ".o")
		l.live("oooooooooo" + "ffoffoffoffoffoffoffoffoffoffoff" + ".")
		l.ask(rr, 1, NotCounted) // the trial
		l.ask(rr, 1, Withdrawn)  // again
		l.live("o")
		var got []string
		for _, c := range *changes {
			if c.Name != "a" || c.Weight != 1 {
				t.Errorf("of %+v", c.Worker)
			}
			got = append(got, fmt.Sprintf("%v %v: %v", c.State, c.Cooling, c.Cause))
		}
		expect(t, "the changes", strings.Join(got, "\n"), strings.Join([]string{
			"cooling down 1s: 3 failures in a row",
			"up 0s: it answered",
			"cooling down 2s: 3 failures in a row",
			"cooling down 4s: its trial failed",
			"up 0s: it answered",
			"cooling down 1s: 12 more failures than answers",
			"up 0s: it answered",
		}, "\n"))
	})
}

// No lock is held: the function that is told may use the pool, and even change it.
func TestChangesMayUseThePool(t *testing.T) {
	l := newLab(t, 1)
	var got []State
	l.OnChange = func(c Change) {
		got = append(got, c.State)
		if s := l.state("a"); s.State != c.State {
			t.Errorf("told of %v while it is %v", c.State, s.State)
		}
		if len(got) == 1 {
			l.ask(rr, 1, Answered)
			if len(got) > 1 {
				t.Error("told of a change while told of another")
			}
		}
	}
	l.ask(rr, 3, Failed)
	expect(t, "the changes", fmt.Sprint(got), "[cooling down up]")
}

// Nothing waits for the function that is told: others go on, and their changes
// are told next.
func TestChangesHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1, 1)
		goOn := make(chan bool)
		var got []string
		l.OnChange = func(c Change) {
			<-goOn
			got = append(got, c.Name+" "+c.State.String())
		}
		go l.fail("a", 3)
		synctest.Wait()
		l.fail("b", 3)
		back := l.ask(rr, 1, Answered)
		if len(got) > 0 {
			t.Fatalf("%s", got)
		}
		close(goOn)
		synctest.Wait()
		expect(t, "the changes", strings.Join(got, ", "), "a cooling down, b cooling down, "+back+" up")
	})
}

// Whatever many goroutines do at once, the changes are told in their order.
func TestChangesInOrder(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	last := map[string]State{"a": Up, "b": Up, "c": Up}
	n := 0
	l.OnChange = func(c Change) {
		runtime.Gosched()
		if c.State == Up && last[c.Name] != Cooling || c.State == Cooling && c.Cause != TrialFailed && last[c.Name] != Up {
			t.Errorf("%s is %v (%v) after %v", c.Name, c.State, c.Cause, last[c.Name])
		}
		last[c.Name] = c.State
		n++
	}
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, i))
			for range 2000 {
				lease := l.take(rr)
				runtime.Gosched()
				lease.Release([]Outcome{Answered, Failed, Failed}[r.IntN(3)])
			}
		})
	}
	wg.Wait()
	if n < 100 {
		t.Errorf("%d changes were told, too few for a test", n)
	}
	for _, s := range l.Snapshot() {
		if (s.State == Up) != (last[s.Name] == Up) {
			t.Errorf("%s is %v at the end, told %v", s.Name, s.State, last[s.Name])
		}
	}
}

// A panic of the function that is told passes through Release, and the next change is told.
func TestChangesAfterAPanic(t *testing.T) {
	l := newLab(t, 1)
	var got []State
	l.OnChange = func(c Change) {
		got = append(got, c.State)
		if len(got) == 1 {
			panic("told")
		}
	}
	mustPanic(t, "three failures", "told", func() { l.ask(rr, 3, Failed) })
	l.ask(rr, 1, Answered)
	expect(t, "the changes", fmt.Sprint(got), "[cooling down up]")
}

// While nothing changes, the function that is told costs nothing.
func TestNoChangeDoesNotAllocate(t *testing.T) {
	l := newLab(t, 1, 1, 1)
	l.told()
	tried := new(Request)
	i := 0
	allocs := testing.AllocsPerRun(1000, func() {
		*tried = Request{}
		lease, _ := l.Assign(lc, tried)
		lease.Release([]Outcome{Answered, Answered, Answered, Failed}[i%4])
		i++
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
