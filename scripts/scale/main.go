// Scale shows what becomes of the wait when one broker is not enough: it plays
// the pool of package balance, in simulated time, in many brokers that know only
// their own requests.
//
//	usage: go run ./scripts/scale [flags]
//
//	  -brokers list  how many brokers (default 16)
//	  -workers list  how many workers, with one slot each (default 100)
//	  -busy list     how busy the workers are, in percent (default 90)
//	  -ages list     how old a view is that all brokers share (default 0s)
//	  -n n           how many requests are measured in each cell (default
//	                 200000, or 100 for each worker if that is more)
//	  -seed n        chooses what comes, and when (default 1)
//	  -rotate        begin each broker's list of workers with another one
//	  -svg file      draw the first and the last of the standard tables
//
//	Without a list it shows the standard tables: one list at a time varies.
//
//	example: go run ./scripts/scale -brokers 1,64 -busy 60,95
//
// # The experiment
//
// Requests come at random (a Poisson process), each to any of the brokers. One of
// three is a Long of 500 ms, the others are Shorts of 100 ms. The broker gives it
// to a worker, which does one job at a time, in the order in which they came.
// Sending takes no time, and nothing fails. What is measured is the wait: the
// time from the arrival at the broker until a worker begins with it, in the
// broker's queue or at the worker.
//
// Only the ratios of times matter. With the jobs of the course, which are ten
// times as long, all waits are so too, and a view may be ten times as old.
//
// # The ways
//
// Round robin, least connections and one queue for each broker are the real pool;
// the queue is [balance.Worker.Limit] 1, as with broker -max-per-worker 1. The
// other ways are choosers of this room, since the pool has no such selector:
//
//   - Two choices, own view: of two random workers, the one that has fewer of this
//     broker's requests.
//   - Least of a shared view: the worker with the fewest requests of all brokers
//     together, as they were when the view was taken; among equals, a random one.
//   - Two choices, shared view: of two random workers, the better one in that view.
//
// A shared view that is 0s old is what one broker knows that gets all requests.
//
// # How it is simulated
//
// A cell of a table is one loop over a heap of events, with a clock that jumps
// from one to the next. There are no goroutines in it and no sleeps, so a seed
// always gives the same figures. Cells are played at the same time, one on each
// processor.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/cli"
)

const usage = `usage: go run ./scripts/scale [flags]

  -brokers list  how many brokers (default 16)
  -workers list  how many workers, with one slot each (default 100)
  -busy list     how busy the workers are, in percent (default 90)
  -ages list     how old a view is that all brokers share (default 0s)
  -n n           how many requests are measured in each cell (default
                 200000, or 100 for each worker if that is more)
  -seed n        chooses what comes, and when (default 1)
  -rotate        begin each broker's list of workers with another one
  -svg file      draw the first and the last of the standard tables

Without a list it shows the standard tables: one list at a time varies.

example: go run ./scripts/scale -brokers 1,64 -busy 60,95
`

func main() { cli.Main(cli.Checked("scale", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("scale", usage, stdout, stderr)
	asked := base
	list(line, "brokers", &asked.brokers, whole)
	list(line, "workers", &asked.workers, whole)
	list(line, "busy", &asked.busy, percent)
	list(line, "ages", &asked.ages, age)
	var o options
	line.IntVar(&o.n, "n", 0, "")
	line.Uint64Var(&o.seed, "seed", 1, "")
	line.BoolVar(&o.rotate, "rotate", false, "")
	svg := line.String("svg", "", "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	lists := line.IsSet("brokers", "workers", "busy", "ages")
	switch {
	case line.IsSet("n") && o.n < 1:
		return line.Wrong("-n must be at least 1: %d", o.n)
	case lists && *svg != "":
		return line.Wrong("-svg draws the standard tables: it goes with no list")
	}
	grids := standard()
	if lists {
		grids = []grid{asked}
	}
	if err := show(ctx, grids, o, *svg, stdout); err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// list defines a flag whose value is a list with commas.
func list[T any](line *cli.Line, name string, to *[]T, parse func(string) (T, error)) {
	line.Func(name, "", func(text string) error {
		*to = nil
		for part := range strings.SplitSeq(text, ",") {
			v, err := parse(part)
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	})
}

func whole(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 100_000 {
		return 0, fmt.Errorf("want whole numbers from 1 to 100000, not %q", text)
	}
	return n, nil
}

func percent(text string) (float64, error) {
	p, err := strconv.ParseFloat(text, 64)
	if err != nil || !(p > 0 && p < 100) {
		return 0, fmt.Errorf("want numbers above 0 and below 100, not %q", text)
	}
	return p, nil
}

func age(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want times such as 50ms, not %q", text)
	}
	return d, nil
}

// show plays and prints one table after another, and draws them unless svg is "".
func show(ctx context.Context, grids []grid, o options, svg string, stdout io.Writer) error {
	fmt.Fprint(stdout, "The wait until the work begins, and the most requests at one worker at once\n")
	var tables []table
	for _, g := range grids {
		t, err := g.play(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "\n%s", t)
		tables = append(tables, t)
	}
	if svg == "" {
		return nil
	}
	var picture bytes.Buffer
	draw(&picture, tables[0], tables[len(tables)-1])
	if err := os.WriteFile(svg, picture.Bytes(), 0o666); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe picture is in %s.\n", svg)
	return nil
}
