package balance

import (
	"fmt"
	"testing"
)

// A request that its first worker answers allocates nothing, neither when it is
// assigned nor when it is released, however many workers there are and whatever
// their weights.
func TestAssignDoesNotAllocate(t *testing.T) {
	for _, n := range []int{3, 10_000} {
		for _, weighted := range []bool{false, true} {
			for _, s := range []int{rr, lc} {
				p := benchPool(n, weighted)
				tried := new(Request)
				var held [64]Lease
				for i := range held {
					held[i], _ = p.Assign(s, new(Request))
				}
				i := 0
				allocs := testing.AllocsPerRun(1000, func() {
					held[i%64].Release([]Outcome{Answered, Failed, NotCounted, Withdrawn}[i%4])
					*tried = Request{}
					held[i%64], _ = p.Assign(s, tried)
					i++
				})
				if allocs != 0 {
					t.Errorf("selector %d, %d workers, weighted %v: %v allocations", s, n, weighted, allocs)
				}
			}
		}
	}
}

// mustPanic calls f, which must panic with that text.
func mustPanic(t *testing.T, what, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("%s: panic %v, want %q", what, got, want)
		}
	}()
	f()
}

func TestReleaseTwicePanics(t *testing.T) {
	l := newLab(t, 1)
	lease := l.take(rr)
	lease.Release(Answered)
	mustPanic(t, "the second release", "balance: a lease was released twice", func() { lease.Release(Answered) })
	mustPanic(t, "no lease", "balance: Release of the zero Lease", func() { Lease{}.Release(Answered) })
}

// An outcome that does not exist is not counted by halves.
func TestUnknownOutcomePanics(t *testing.T) {
	l := newLab(t, 1)
	lease := l.take(rr)
	before := fmt.Sprint(l.Snapshot())
	for _, o := range []Outcome{-1, Withdrawn + 1} {
		mustPanic(t, "the release", fmt.Sprintf("balance: Release with the unknown outcome %d", o), func() { lease.Release(o) })
	}
	if after := fmt.Sprint(l.Snapshot()); after != before {
		t.Errorf("it made %s of %s", after, before)
	}
	lease.Release(Answered)
}

// All copies of a lease are the same lease. One that comes too late changes no
// count, even when the worker has other requests in flight, and even when what
// the lease was made of is in use again.
func TestCopyOfALease(t *testing.T) {
	for _, s := range []int{rr, lc} {
		l := newLab(t, 1, 1)
		others := []Lease{l.take(s), l.take(s)}
		lease := l.take(s)
		copied := lease
		copied.Release(Answered)
		for range 3 {
			before := fmt.Sprint(l.Snapshot())
			mustPanic(t, "the original", "balance: a lease was released twice", func() { lease.Release(Failed) })
			mustPanic(t, "the copy", "balance: a lease was released twice", func() { copied.Release(Answered) })
			if after := fmt.Sprint(l.Snapshot()); after != before {
				t.Errorf("a release too many made %s of %s", after, before)
			}
			others = append(others, l.take(s))
		}
		expect(t, "the lease's worker after its release", lease.Worker().Name+fmt.Sprint(lease.Index()), "a0")
		for _, other := range others {
			other.Release(Answered)
		}
		for _, status := range l.Snapshot() {
			if status.InFlight != 0 {
				t.Errorf("%s: %d in flight at the end", status.Name, status.InFlight)
			}
		}
	}
}
