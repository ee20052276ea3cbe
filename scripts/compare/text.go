package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// mean returns the mean of some times, or 0 of none.
func mean(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	return sum / time.Duration(len(times))
}

// percentile returns the least of some times, which are in order, that percent
// of them do not exceed, or 0 of none.
func percentile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	rank := (percent*len(times) + 99) / 100
	return times[max(rank, 1)-1]
}

// table shows the figures of all outcomes side by side.
func table(p plan, outcomes []outcome) string {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "latency\tmean\tp50\tp95\tp99\tmax\n")
	for _, o := range outcomes {
		l := o.latencies
		fmt.Fprintf(t, "%s\t%v\t%v\t%v\t%v\t%v\n", o.approach, load.Span(mean(l)), load.Span(percentile(l, 50)),
			load.Span(percentile(l, 95)), load.Span(percentile(l, 99)), load.Span(percentile(l, 100)))
	}
	t.Flush()
	b.WriteString("\n")
	fmt.Fprint(t, "worker")
	for _, o := range outcomes {
		fmt.Fprintf(t, "\t| %s\tshare\tbusy\tmost in flight", o.approach)
	}
	fmt.Fprint(t, "\n")
	for i := range outcomes[0].workers {
		fmt.Fprint(t, outcomes[0].workers[i].name)
		for _, o := range outcomes {
			fmt.Fprint(t, "\t| ", cells(p, o, o.workers[i]))
		}
		fmt.Fprint(t, "\n")
	}
	t.Flush()
	for _, o := range outcomes {
		if o.late > 0 {
			fmt.Fprintf(&b, "\nThis computer did not keep up: %d requests under %s began late.\n", o.late, o.approach)
		}
	}
	return b.String()
}

// cells returns a worker's columns under one approach.
func cells(p plan, o outcome, f figures) string {
	busy := load.Span(f.busy).String()
	if p.slots > 0 {
		busy += fmt.Sprintf(" (%.0f %%)", 100*f.utilization(p, o.took))
	}
	return fmt.Sprintf("%d (%s)\t%.0f %%\t%s\t%d", f.requests(), kinds(f),
		100*float64(f.requests())/float64(max(1, len(o.latencies))), busy, f.most)
}

// kinds says how many requests were of which type.
func kinds(f figures) string {
	switch {
	case f.shorts == 0:
		return "all Long"
	case f.longs == 0:
		return "all Short"
	}
	return fmt.Sprintf("%d Long", f.longs)
}

// utilization returns which part of its slots' time a worker was busy for, in
// so long a time.
func (f figures) utilization(p plan, in time.Duration) float64 {
	return f.busy.Seconds() / (in.Seconds() * float64(max(1, p.slots)))
}

// What is much, and what is little: ratios of two means.
const (
	much   = 1.5
	little = 1.1
)

// sentence says what happened and why. outcomes are those of round robin and
// of least connections.
func sentence(p plan, outcomes []outcome) string {
	roundRobin, least := outcomes[0], outcomes[1]
	ratio := mean(roundRobin.latencies).Seconds() / mean(least.latencies).Seconds()
	means := fmt.Sprintf("%v under %s, %v under %s", load.Span(mean(roundRobin.latencies)), protocol.RoundRobin,
		load.Span(mean(least.latencies)), protocol.LeastConnections)
	busiest := slices.MaxFunc(roundRobin.workers, byBusy)
	overload := busiest.utilization(p, p.span())
	switch {
	case p.slots == 0 && p.slow == 1:
		return "No worker has a limit, so no request waited for another, and it did not matter who got it: the mean was " + means + "."
	case p.slots > 0 && ratio >= much && overload > 1:
		return overloaded(p, roundRobin, least, busiest) +
			fmt.Sprintf(" The mean was %s: %.1f times as long.", means, ratio)
	case ratio >= little && p.slots > 0 && overload <= 1:
		return fmt.Sprintf("Round robin gave no worker more than it could do (at most %.0f %%), so every queue that its turns caused soon got shorter again, "+
			"and the two differ less; least connections avoids most of these queues, since it sees them: the mean was %s, %.1f times as long.",
			100*overload, means, ratio)
	case ratio >= little:
		return fmt.Sprintf("Least connections had the shorter mean, since it gave less to the workers that took longer: %s, %.1f times as long.", means, ratio)
	case ratio > 1/little:
		return "It made little difference who got which request: the mean was " + means + "."
	}
	return "Round robin was ahead this time, since least connections sees how many requests a worker has and not how long they take: the mean was " + means + "."
}

// overloaded says what round robin did to its busiest worker, and least
// connections did not.
func overloaded(p plan, roundRobin, least outcome, busiest figures) string {
	idlest := slices.MinFunc(roundRobin.workers, byBusy)
	which := fmt.Sprintf("%d requests", busiest.requests())
	if busiest.shorts == 0 && busiest.longs > 0 {
		which = "every Long"
		if busiest.longs < total(roundRobin).longs {
			which = fmt.Sprintf("%d of the %d Longs", busiest.longs, total(roundRobin).longs)
		}
	}
	each := ""
	if p.slots > 1 {
		each = " for each of its slots"
	}
	return fmt.Sprintf("Round robin counts turns, not work: it sent %s to %s, %v of work%s in the %v in which requests came, "+
		"so that up to %d were there at once while %s was busy for %v in all; "+
		"least connections sees who still has something to do, and nobody had more than %d at once.",
		which, busiest.name, load.Span(busiest.busy/time.Duration(max(1, p.slots))), each, load.Span(p.span()),
		busiest.most, idlest.name, load.Span(idlest.busy), slices.MaxFunc(least.workers, byMost).most)
}

func byBusy(a, b figures) int { return int(a.busy - b.busy) }
func byMost(a, b figures) int { return a.most - b.most }

// total returns the sum of what all workers got.
func total(o outcome) (sum figures) {
	for _, f := range o.workers {
		sum.longs += f.longs
		sum.shorts += f.shorts
	}
	return sum
}

// capital returns text with a capital letter in front.
func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
