package main

import (
	"fmt"
	"slices"
	"time"

	"balancelab/scripts/bench"
)

// A group is some cases that differ in one thing.
type group struct {
	name, title string
	cases       []namedCase
	note        string // lines about it, for under the table
}

// A namedCase is a line of the table.
type namedCase struct {
	name string
	setting
	rounds []figures // what was measured so far
}

// A setting is all that differs between cases. The zero value is the broker with
// three workers under a closed loop.
type setting struct {
	workers int    // 0 means 3
	down    int    // of each three workers
	atOnce  int    // requests in flight, which come at the rate of calls; 0 means a closed loop
	viewers int    // of the page
	page    bool   // there is a page, which takes orders
	log     string // empty means off
}

const (
	loop  = 50   // requests at once, in a closed loop
	calls = 2000 // a second, otherwise
)

// work is how long a job takes: as many requests are in flight as come meanwhile.
func (s setting) work() time.Duration { return time.Duration(s.atOnce) * time.Second / calls }

// allGroups returns the groups, for processes that may have limit files open.
func allGroups(limit int) []group {
	return []group{
		workerGroup(3, 100, 1000, 10000),
		clientGroup(limit, 1, 100, 1000, 5000, 20000),
		viewerGroup(0, 1, 10, 100),
		logGroup(),
	}
}

func workerGroup(counts ...int) group {
	g := group{name: "workers", title: "workers"}
	for _, n := range counts {
		for _, down := range []int{0, 1, 3} {
			state := map[int]string{0: "all up", 1: "a third down", 3: "all down"}[down]
			g.cases = append(g.cases, namedCase{
				name:    fmt.Sprintf("%s workers, %s", bench.Number(float64(n)), state),
				setting: setting{workers: n, down: down, page: true},
			})
		}
	}
	g.note = "All down: the answers are refusals, and p99 is that of answers.\n"
	return g
}

// clientGroup leaves out the counts that the limit does not allow, and has in
// their place the most that it allows.
func clientGroup(limit int, counts ...int) group {
	g := group{name: "clients", title: "clients at once"}
	g.note = fmt.Sprintf("Clients at once: %s requests a second come evenly, and their jobs take until so many wait. "+
		"p99 is what is beyond that.\n", bench.Number(calls))
	most := mostAtOnce(limit)
	asked := slices.Max(counts)
	for i := range counts {
		counts[i] = min(counts[i], most)
	}
	for _, n := range slices.Compact(counts) {
		name := fmt.Sprintf("%s clients", bench.Number(float64(n)))
		if n == 1 {
			name = "1 client"
		}
		g.cases = append(g.cases, namedCase{name: name, setting: setting{atOnce: n}})
	}
	if most < asked {
		g.note += fmt.Sprintf("%s clients at once need more than the %s open files that are allowed here (ulimit -n).\n",
			bench.Number(float64(asked)), bench.Number(float64(limit)))
	}
	return g
}

// mostAtOnce returns how many requests the broker can have in flight, each of
// which takes two files, without reaching its limit: how many there are varies.
// It is a round number. A limit of 0 is none.
func mostAtOnce(limit int) int {
	if limit == 0 {
		return 1_000_000
	}
	most := max(1, (limit-100)/2*95/100)
	for _, unit := range []int{1000, 100} {
		if most >= unit {
			return most / unit * unit
		}
	}
	return most
}

func viewerGroup(counts ...int) group {
	g := group{name: "viewers", title: "viewers of the page"}
	for _, n := range counts {
		name := fmt.Sprintf("%d viewers", n)
		if n == 1 {
			name = "1 viewer"
		}
		g.cases = append(g.cases, namedCase{name: name, setting: setting{viewers: n, page: true}})
	}
	return g
}

func logGroup() group {
	g := group{name: "log", title: "the log, to a file"}
	for _, format := range []string{"off", "text", "json"} {
		g.cases = append(g.cases, namedCase{name: "-log " + format, setting: setting{log: format}})
	}
	return g
}
