// Benchgrowth measures what a request costs the broker as the work grows: more
// workers, more requests at once, more viewers of the page, more written down.
//
//	usage: go run ./scripts/benchgrowth [flags]
//
//	  -only group    measure one group: workers, clients, viewers or log
//	  -d time        how long requests are sent in each case (default 4s)
//	  -rounds count  how often everything is measured; shown is the median (default 1)
//
//	example: go run ./scripts/benchgrowth -only workers -rounds 3
//
// It prints one table in Markdown. It needs Linux: CPU time and memory come from
// /proc. When it ends, and after Ctrl-C too, all that it started is gone.
//
// # What is measured
//
// Each case starts the broker anew, with three processes behind it that are
// workers whose jobs take no time, warms it up for a second, and has "client"
// send requests by least connections. CPU time and memory are those of the
// broker's process alone; the memory is the most that was resident. The ratios
// are to the first case of a group.
//
// In most groups the load is a closed loop, 50 requests at once: its requests a
// second are what the broker can do at most, with the client and the workers on
// the same processors. The group "clients" is about many requests in flight. A
// closed loop would begin all of them at one moment, and would measure how the
// kernel drops connections that are opened faster than anybody accepts them. So
// there requests come evenly, at the same rate in each case, and the jobs take
// as long as it needs until that many are in flight. The time of the job is not
// in the p99 that is shown.
//
// # How there can be 10,000 workers
//
// The three processes listen on all addresses of this machine, so every
// 127.x.y.z is another worker. One that is down has a port at which nobody
// listens. The list of -workers must fit into one argument; the others are
// added as "broker workers add" does it.
//
// # What a viewer is
//
// What a browser with the page open asks for: the stream of events, and
// /status.json twice a second.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/process"
	"balancelab/internal/programs"
	"balancelab/scripts/bench"
)

const usage = `usage: go run ./scripts/benchgrowth [flags]

  -only group    measure one group: workers, clients, viewers or log
  -d time        how long requests are sent in each case (default 4s)
  -rounds count  how often everything is measured; shown is the median (default 1)

example: go run ./scripts/benchgrowth -only workers -rounds 3
`

// An effort says how much is measured.
type effort struct {
	d, warmUp time.Duration
	rounds    int
	listSize  int // how many bytes of workers the broker's command line has
}

// listSize fits into one argument, which may have 128 KiB on Linux.
const listSize = 100_000

func main() { cli.Main(cli.Checked("benchgrowth", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("benchgrowth", usage, stdout, stderr)
	e := effort{warmUp: time.Second, listSize: listSize}
	only := line.String("only", "", "")
	line.DurationVar(&e.d, "d", 4*time.Second, "")
	line.IntVar(&e.rounds, "rounds", 1, "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	limit, _ := process.MaxFiles()
	groups := allGroups(limit)
	if *only != "" {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == *only })
		if i < 0 {
			return line.Wrong("-only is %q, want workers, clients, viewers or log", *only)
		}
		groups = groups[i : i+1]
	}
	switch {
	case e.rounds < 1 || e.rounds > 100:
		return line.Wrong("-rounds is %d, want 1 to 100", e.rounds)
	case e.d < 100*time.Millisecond || e.d > time.Minute:
		return line.Wrong("-d is %v, want 100ms to 1m", e.d)
	}
	if err := bench.NeedsProc(); err != nil {
		return line.Fail(err)
	}
	err := grow(ctx, groups, e, stdout, stderr)
	if ctx.Err() != nil {
		err = programs.ErrInterrupted
	}
	if err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// grow measures and prints. When it returns, nothing that it started is running.
func grow(ctx context.Context, groups []group, e effort, stdout, progress io.Writer) (err error) {
	fmt.Fprintln(progress, "Building client, broker and worker...")
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for round := range e.rounds {
		for _, g := range groups {
			for i := range g.cases {
				c := &g.cases[i]
				f, err := l.measure(ctx, c.setting, e)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				c.rounds = append(c.rounds, f)
				fmt.Fprintf(progress, "round %d of %d, %s: %s requests/s\n", round+1, e.rounds, c.name, bench.Number(f.rate))
			}
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	write(stdout, groups, e)
	return nil
}

// write writes the table, with what must be known to read it.
func write(w io.Writer, groups []group, e effort) {
	fmt.Fprintf(w, "\n%s\nJobs of no work, %d at once, for %v in each case, by least_connections", bench.Machine(), loop, e.d)
	if e.rounds > 1 {
		fmt.Fprintf(w, ", median of %d rounds", e.rounds)
	}
	fmt.Fprint(w, "\n\n")
	lines := [][]string{{"the broker", "requests/s", "×", "p99", "CPU µs/request", "×", "MB"}}
	for _, g := range groups {
		lines = append(lines, []string{"**" + g.title + "**", "", "", "", "", "", ""})
		first := medians(g.cases[0].rounds)
		for _, c := range g.cases {
			f := medians(c.rounds)
			lines = append(lines, []string{
				c.name,
				bench.Number(f.rate), bench.Ratio(f.rate, first.rate),
				beyond(f.p99, c.work().Seconds()),
				bench.Number(f.cpu * 1e6), bench.Ratio(f.cpu, first.cpu),
				fmt.Sprintf("%.1f", f.memory/1e6),
			})
		}
	}
	bench.WriteTable(w, lines)
	fmt.Fprint(w, "\n×: the ratio to the first line of a group. CPU and memory are the broker's alone.\n")
	for _, g := range groups {
		fmt.Fprint(w, g.note)
	}
}

// beyond returns a latency from which the time of the job was taken. The
// client's percentiles are within 1 % of the whole.
func beyond(p99, work float64) string {
	if grain := (p99 + work) / 100; work > 0 && p99 < grain {
		return "< " + bench.Milliseconds(grain)
	}
	return bench.Milliseconds(p99)
}
