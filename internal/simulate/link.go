package simulate

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A link is one direction between two hosts. Nothing of it changes while the lab
// runs: what will happen to it is known from the plan.
type link struct {
	latency, jitter time.Duration
	// outages are the times in which nothing gets through. As TCP has it, what is
	// sent then is not lost: it is sent again, and arrives some time later.
	outages []window
	lags    []window // what is sent takes longer
	cuts    []window // writes are cut into pieces, each of which travels by itself
	resets  []window // connections are reset when something is written
}

// A window is a time, as seconds of the run are counted.
type window struct{ from, to time.Duration }

func (w window) has(t time.Duration) bool { return w.from <= t && t < w.to }

func anyHas(all []window, t time.Duration) bool {
	return slices.ContainsFunc(all, func(w window) bool { return w.has(t) })
}

// arrives returns when arrives what is sent at the time sent, and whether an
// outage made it later. TCP tries again after pauses that grow with the outage.
func (l *link) arrives(sent time.Duration, random *rand.PCG) (at time.Duration, late bool) {
	for again := true; again; {
		again = false
		for _, w := range l.outages {
			if w.has(sent) {
				sent = w.to + upTo(random, min(w.to-w.from, 2*time.Second))
				again, late = true, true
			}
		}
	}
	at = sent + l.latency + upTo(random, l.jitter)
	if anyHas(l.lags, sent) {
		at += upTo(random, 300*time.Millisecond)
	}
	return at, late
}

// upTo returns a random time below d, or 0 if d is.
func upTo(random *rand.PCG, d time.Duration) time.Duration {
	return time.Duration(random.Uint64() % uint64(max(d, 1)))
}

// chance returns true in one of n cases.
func chance(random *rand.PCG, n uint64) bool { return random.Uint64()%n == 0 }
