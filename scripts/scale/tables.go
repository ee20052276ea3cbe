package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"balancelab/internal/load"
)

// A grid is the values that the cells of a table have. A table is meant to have
// one list with several values, but may have more.
type grid struct {
	brokers []int
	workers []int
	busy    []float64 // in percent
	ages    []time.Duration
}

// options is what all cells of a run have in common.
type options struct {
	n      int // as in a cell; if 0, a cell with more workers has more requests
	seed   uint64
	rotate bool
}

// base is the values that a table has unless it is about others.
var base = grid{brokers: []int{16}, workers: []int{100}, busy: []float64{90}, ages: []time.Duration{0}}

// standard is the tables that are shown when nothing else is asked for.
func standard() []grid {
	byBrokers, byWorkers, byBusy, byAge := base, base, base, base
	byBrokers.brokers = []int{1, 2, 4, 16, 64}
	byWorkers.workers = []int{10, 100, 1000, 10_000}
	byBusy.busy = []float64{60, 80, 90, 95}
	byAge.ages = []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}
	return []grid{byBrokers, byWorkers, byBusy, byAge}
}

// ways returns the rows of the table: those that its values matter to.
func (g grid) ways() (rows []way) {
	for _, w := range allWays {
		if w.shared() || len(g.ages) == 1 {
			rows = append(rows, w)
		}
	}
	return rows
}

// columns returns a cell for each column, without its way.
func (g grid) columns(o options) (all []cell) {
	for _, brokers := range g.brokers {
		for _, workers := range g.workers {
			for _, busy := range g.busy {
				for _, age := range g.ages {
					c := cell{brokers: brokers, workers: workers, busy: busy / 100, age: age, n: o.n, seed: o.seed, rotate: o.rotate}
					if o.n == 0 {
						c.n = max(200_000, 100*workers)
					}
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// A table is what a grid came to.
type table struct {
	grid
	columns []cell
	rows    []way
	results [][]result // by the row, then by the column
}

// play plays all cells, as many at once as there are processors. It returns
// early, with ctx's cause, if ctx ends.
func (g grid) play(ctx context.Context, o options) (table, error) {
	t := table{grid: g, columns: g.columns(o), rows: g.ways()}
	t.results = make([][]result, len(t.rows))
	var all sync.WaitGroup
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, way := range t.rows {
		t.results[i] = make([]result, len(t.columns))
		for j, c := range t.columns {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				if ctx.Err() == nil {
					c.way = way
					t.results[i][j] = c.play()
				}
			})
		}
	}
	all.Wait()
	return t, context.Cause(ctx)
}

// String returns the table as text.
func (t table) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", t.title())
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "mean wait, p99, most")
	for _, c := range t.columns {
		if heading := t.values(c, true); len(heading) > 0 {
			fmt.Fprintf(w, "\t%s", strings.Join(heading, ", "))
		}
	}
	fmt.Fprintln(w)
	for i, way := range t.rows {
		fmt.Fprint(w, way)
		for _, r := range t.results[i] {
			fmt.Fprintf(w, "\t%v %v %d", load.Span(r.mean), load.Span(r.p99), r.most)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

// title says what is the same in all columns.
func (t table) title() string { return strings.Join(t.values(t.columns[0], false), ", ") + ":" }

// values returns those values of c in words that differ between the columns, or
// those that do not.
func (t table) values(c cell, differ bool) (all []string) {
	view := "a shared view "
	if differ {
		view = "" // the title of the rows says it
	}
	for _, v := range []struct {
		n    int
		text string
	}{
		{len(t.brokers), counted(c.brokers, "broker")},
		{len(t.workers), counted(c.workers, "worker")},
		{len(t.busy), fmt.Sprintf("%.4g %% busy", 100*c.busy)},
		{len(t.ages), fmt.Sprintf("%s%v old", view, c.age)},
	} {
		if v.n > 1 == differ {
			all = append(all, v.text)
		}
	}
	return all
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
