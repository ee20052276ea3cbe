package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"balancelab/internal/load"
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
		fmt.Fprintf(t, "%s\t%v\t%v\t%v\t%v\t%v\n", o.way.name, load.Span(mean(l)), load.Span(percentile(l, 50)),
			load.Span(percentile(l, 95)), load.Span(percentile(l, 99)), load.Span(percentile(l, 100)))
	}
	fmt.Fprint(t, "\n\tworker\trequests\tshare\tbusy\tmost\n")
	for _, o := range outcomes {
		name := o.way.name
		for _, w := range o.workers {
			fmt.Fprintf(t, "%s\t%s\t%s\n", name, w.name, cells(p, o, w))
			name = ""
		}
	}
	t.Flush()
	b.WriteString("busy: of the time until the last answer; most: in flight at once, as the broker counts\n")
	for _, o := range outcomes {
		if o.late > 0 {
			fmt.Fprintf(&b, "%d requests under %s began more than 10ms late; latency is from when they were due\n", o.late, o.way.name)
		}
	}
	return b.String()
}

// cells returns a worker's columns in one way.
func cells(p plan, o outcome, f workerTotals) string {
	busy := load.Span(f.busy).String()
	if p.slots > 0 {
		busy += fmt.Sprintf(" (%.0f %%)", 100*f.utilization(p, o.took))
	}
	return fmt.Sprintf("%d (%s)\t%.0f %%\t%s\t%d", f.requests(), kinds(f),
		100*float64(f.requests())/float64(max(1, len(o.latencies))), busy, f.peak)
}

// kinds says how many requests were of which type.
func kinds(f workerTotals) string {
	switch {
	case f.shorts == 0:
		return "all Long"
	case f.longs == 0:
		return "all Short"
	}
	return fmt.Sprintf("%d Long", f.longs)
}

// utilization returns the part of its slots' time for which a worker was busy,
// in a time of this length.
func (f workerTotals) utilization(p plan, in time.Duration) float64 {
	return f.busy.Seconds() / (in.Seconds() * float64(max(1, p.slots)))
}

// little is the ratio of two means that is called a difference.
const little = 1.1

// under returns the outcome of a way; false if there is none.
func under(w way, outcomes []outcome) (outcome, bool) {
	for _, o := range outcomes {
		if o.way.name == w.name {
			return o, true
		}
	}
	return outcome{}, false
}

// sentences say what happened and why.
func sentences(p plan, outcomes []outcome) string {
	turns, _ := under(roundRobin, outcomes)
	least, _ := under(leastConnections, outcomes)
	text := comparison(p, turns, least)
	if queue, ok := under(oneQueue, outcomes); ok {
		text += "\n\n" + queueSentence(least, queue)
	}
	return text
}

// comparison compares round robin with least connections.
func comparison(p plan, turns, least outcome) string {
	means := [2]time.Duration{mean(turns.latencies), mean(least.latencies)}
	ratio := means[0].Seconds() / means[1].Seconds()
	result := fmt.Sprintf("the mean was %v under %s and %v under %s",
		load.Span(means[0]), turns.way.name, load.Span(means[1]), least.way.name)
	busiest := slices.MaxFunc(turns.workers, byBusy)
	overload := busiest.utilization(p, p.span())
	switch {
	case p.slots == 0 && p.slow == 1:
		return "No worker has a limit, so no request waited for another, and it did not matter which worker got it: " + result + "."
	case ratio >= little && p.slots > 0 && overload > 1:
		return overloaded(p, turns, least, busiest) + fmt.Sprintf("; %s, a factor of %.1f.", result, ratio)
	case ratio >= little && p.slots > 0:
		return fmt.Sprintf("Round robin gave no worker more than it could do, so a queue that its turns caused went away again; "+
			"least connections sees queues and avoids most of them: %s, a factor of %.1f.", result, ratio)
	case ratio >= little:
		return fmt.Sprintf("Least connections gave less to the worker that takes longer: %s, a factor of %.1f.", result, ratio)
	case ratio > 1/little:
		return "It made little difference which worker got which request: " + result + "."
	}
	return "Round robin was ahead this time, since least connections sees how many requests a worker has and not how long they take: " + result + "."
}

// queueSentence compares least connections with one queue.
func queueSentence(least, queue outcome) string {
	p95 := [2]time.Duration{percentile(least.latencies, 95), percentile(queue.latencies, 95)}
	result := fmt.Sprintf("p95 was %v under %s and %v with %s, the mean %v and %v", load.Span(p95[0]), least.way.name,
		load.Span(p95[1]), queue.way.name, load.Span(mean(least.latencies)), load.Span(mean(queue.latencies)))
	switch ratio := p95[0].Seconds() / p95[1].Seconds(); {
	case ratio >= little:
		return "Least connections chooses when a request comes, and that request may then wait behind a long job while another worker is already free; " +
			"from one queue it goes to the first worker that is free: " + result + "."
	case ratio > 1/little:
		return "One queue made little difference to least connections, which gives a request to a free worker too, if there is one: " + result + "."
	}
	return "One queue was behind this time: first come, first served lets a short job wait for long ones that came before: " + result + "."
}

// overloaded says what round robin did to its busiest worker, and least
// connections did not.
func overloaded(p plan, turns, least outcome, busiest workerTotals) string {
	idlest := slices.MinFunc(turns.workers, byBusy)
	slots := time.Duration(p.slots)
	each := ""
	if p.slots > 1 {
		each = " for each slot"
	}
	return fmt.Sprintf("Round robin counts turns and not work: it sent %s to %s, %v of work%s in %v, and up to %d were there at once "+
		"while %s had %v of work; least connections sees which worker is not done yet, and no worker had more than %d at once",
		gotten(busiest, total(turns)), busiest.name, load.Span(busiest.busy/slots), each, load.Span(p.span()), busiest.peak,
		idlest.name, load.Span(idlest.busy/slots), slices.MaxFunc(least.workers, byPeak).peak)
}

// gotten says which requests of all a worker got.
func gotten(f, all workerTotals) string {
	switch {
	case f.longs == all.longs && f.shorts == 0 && all.shorts > 0:
		return "every Long"
	case f.shorts == 0 && all.shorts > 0:
		return fmt.Sprintf("%d of the %d Longs", f.longs, all.longs)
	}
	return fmt.Sprintf("%d of the %d requests", f.requests(), all.requests())
}

func byBusy(a, b workerTotals) int { return cmp.Compare(a.busy, b.busy) }
func byPeak(a, b workerTotals) int { return a.peak - b.peak }

// total returns the sum of what all workers got.
func total(o outcome) (sum workerTotals) {
	for _, f := range o.workers {
		sum.longs += f.longs
		sum.shorts += f.shorts
	}
	return sum
}
