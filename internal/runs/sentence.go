package runs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"balancelab/internal/load"
)

// An Outcome is what became of some requests in one way to divide them, for a
// comparison in words.
type Outcome struct {
	Name      string // of the way
	Mean, P95 time.Duration
	Workers   []Share // at least one, in the same order in all ways
}

// A Share is what one worker got.
type Share struct {
	Worker        string
	Longs, Shorts int
	Most          int // in flight at once
}

func (s Share) requests() int { return s.Longs + s.Shorts }

// busiest returns the worker that had the most in flight at once.
func (o Outcome) busiest() Share {
	if len(o.Workers) == 0 {
		return Share{} // all were removed
	}
	return slices.MaxFunc(o.Workers, byMost)
}

func (o Outcome) idlest() Share {
	if len(o.Workers) == 0 {
		return Share{}
	}
	return slices.MinFunc(o.Workers, byMost)
}

func byMost(a, b Share) int { return cmp.Compare(a.Most, b.Most) }

// Gotten says which requests of all a worker got.
func (o Outcome) Gotten(worker Share) string {
	var all Share
	for _, w := range o.Workers {
		all.Longs += w.Longs
		all.Shorts += w.Shorts
	}
	switch {
	case worker.Longs == all.Longs && worker.Shorts == 0 && all.Shorts > 0:
		return "every Long"
	case worker.Shorts == 0 && all.Shorts > 0:
		return fmt.Sprintf("%d of the %d Longs", worker.Longs, all.Longs)
	}
	return fmt.Sprintf("%d of the %d requests", worker.requests(), all.requests())
}

// little is the ratio of two times that is called a difference.
const little = 1.1

// ratio returns how many times b is a; 1 of nothing and nothing.
func ratio(a, b time.Duration) float64 {
	if a == b {
		return 1
	}
	return a.Seconds() / b.Seconds()
}

// differs reports whether a ratio is called a difference.
func differs(ratio float64) bool { return ratio >= little || ratio <= 1/little }

// Means says what the mean was in two ways.
func Means(a, b Outcome) string {
	return fmt.Sprintf("the mean was %v under %s and %v under %s", load.Span(a.Mean), a.Name, load.Span(b.Mean), b.Name)
}

// Approaches compares round robin with least connections, in one sentence: their
// means, or if these hardly differ, their p95. If least connections was ahead it
// begins with why, which ends with the mark that stands before the figures.
func Approaches(turns, least Outcome, why string) string {
	result, factor := Means(turns, least), ratio(turns.Mean, least.Mean)
	if slowest := ratio(turns.P95, least.P95); differs(slowest) && !differs(factor) {
		result = fmt.Sprintf("the mean hardly differs (%v and %v), but p95 was %v under %s and %v under %s",
			load.Span(turns.Mean), load.Span(least.Mean), load.Span(turns.P95), turns.Name, load.Span(least.P95), least.Name)
		factor = slowest
	}
	switch {
	case !differs(factor):
		return "It made little difference which worker got which request: " + result + "."
	case factor > 1:
		return fmt.Sprintf("%s %s, a factor of %.1f.", why, result, factor)
	}
	return "Round robin was ahead this time, since least connections sees how many requests a worker has and not how long they take: " + result + "."
}

// OneQueue compares least connections with one queue, in one sentence.
func OneQueue(least, queue Outcome) string {
	result := fmt.Sprintf("p95 was %v under %s and %v with %s, the mean %v and %v", load.Span(least.P95), least.Name,
		load.Span(queue.P95), queue.Name, load.Span(least.Mean), load.Span(queue.Mean))
	switch ratio := ratio(least.P95, queue.P95); {
	case ratio >= little:
		return "Least connections chooses when a request comes, and that request may then wait behind a long job while another worker is already free; " +
			"from one queue it goes to the first worker that is free: " + result + "."
	case ratio > 1/little:
		return "One queue made little difference to least connections, which gives a request to a free worker too, if there is one: " + result + "."
	}
	return "One queue was behind this time: first come, first served lets a short job wait for long ones that came before: " + result + "."
}

// Sentences says what a comparison has shown: one sentence about the approaches,
// and if there was one queue, one about that. It takes the outcomes in this order.
func Sentences(all []Outcome) string {
	for _, o := range all {
		if o.Mean == 0 {
			return "There is nothing to compare: nothing was answered under " + o.Name + "."
		}
	}
	turns, least := all[0], all[1]
	text := Approaches(turns, least, why(turns, least))
	if len(all) > 2 {
		text += " " + OneQueue(least, all[2])
	}
	return text
}

// why says what round robin did and least connections did not, as far as the
// broker sees it.
func why(turns, least Outcome) string {
	busiest, idlest, most := turns.busiest(), turns.idlest(), least.busiest().Most
	if busiest.Most <= most {
		return "Round robin counts turns and not work; least connections sees which worker is not done yet:"
	}
	return fmt.Sprintf("Round robin counts turns and not work: it sent %s to %s, and up to %d were there at once while %s never had more than %d; "+
		"least connections sees which worker is not done yet, and no worker had more than %d at once;",
		turns.Gotten(busiest), busiest.Worker, busiest.Most, idlest.Worker, idlest.Most, most)
}
