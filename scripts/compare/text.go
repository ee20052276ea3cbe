package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/runs"
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
		text += "\n\n" + runs.OneQueue(least.told(), queue.told())
	}
	return text
}

// told returns what package runs needs for its sentences.
func (o outcome) told() runs.Outcome {
	t := runs.Outcome{Name: o.way.name, Mean: mean(o.latencies), P95: percentile(o.latencies, 95)}
	for _, w := range o.workers {
		t.Workers = append(t.Workers, w.share())
	}
	return t
}

func (f workerTotals) share() runs.Share {
	return runs.Share{Worker: f.name, Longs: f.longs, Shorts: f.shorts, Most: f.peak}
}

// comparison compares round robin with least connections.
func comparison(p plan, turns, least outcome) string {
	if p.slots == 0 && p.slow == 1 {
		return "No worker has a limit, so no request waited for another, and it did not matter which worker got it: " +
			runs.Means(turns.told(), least.told()) + "."
	}
	return runs.Approaches(turns.told(), least.told(), why(p, turns, least))
}

// why says why least connections was ahead, if it was.
func why(p plan, turns, least outcome) string {
	busiest := slices.MaxFunc(turns.workers, byBusy)
	switch {
	case p.slots > 0 && busiest.utilization(p, p.span()) > 1:
		return overloaded(p, turns, least, busiest) + ";"
	case p.slots > 0:
		return "Round robin gave no worker more than it could do, so a queue that its turns caused went away again; " +
			"least connections sees queues and avoids most of them:"
	}
	return "Least connections gave less to the worker that takes longer:"
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
		turns.told().Gotten(busiest.share()), busiest.name, load.Span(busiest.busy/slots), each, load.Span(p.span()), busiest.peak,
		idlest.name, load.Span(idlest.busy/slots), slices.MaxFunc(least.workers, byPeak).peak)
}

func byBusy(a, b workerTotals) int { return cmp.Compare(a.busy, b.busy) }
func byPeak(a, b workerTotals) int { return a.peak - b.peak }
