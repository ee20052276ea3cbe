// Compare shows why least connections exists: it sends the same requests to
// the same workers under both approaches, and once more with one queue in the
// broker, and prints how they fared.
//
//	usage: go run ./scripts/compare [flags]
//
//	  -rate r        requests a second (default: 85 % of what the workers can do)
//	  -n n           how many requests in each run (default 132)
//	  -pattern list  their types, in turn (default Long,Short,Short)
//	  -slots n       how many jobs a worker does at once; 0: any number (default 1)
//	  -slow factor   Worker-3 takes factor times as long (default 1)
//	  -random=false  leave out the second scenario, in random order
//	  -seed n        chooses the random order (default 1)
//	  -svg file      draw the latencies
//
//	example: go run ./scripts/compare -slow 3 -svg latency.svg
//
// # The experiment
//
// The programs are the real ones, on free ports: three workers and a broker
// for each way. A Long takes 500 ms and a Short 100 ms, so that it is over soon.
// All ways are measured at the same time, each in a lab of its own: all that the
// workers do is wait, so they are not in each other's way.
//
// One queue in the broker is -max-per-worker with as many places as a worker has
// slots. With it each request goes to the first worker that is free, so the
// approach hardly matters; it is round robin.
//
// The load is an open loop (see package load): a request comes when the plan
// says, whatever became of those before it. A closed loop, in which every client
// waits for an answer first, slows down with its workers and hides the queues
// that are to be seen.
//
// In the first scenario the types come in turn. Three workers and a pattern of
// three are what round robin deals with worst: it sends every Long to the same
// worker. In the second one the same requests come in random order, and the two
// approaches differ much less. That is what the lab wants to teach: not that
// one approach is better by a number, but what the number depends on.
//
// # Where the figures are from
//
// Latencies are the client's. How many requests a worker got is counted in the
// broker's events, and what it did in the worker's own lines; the two must
// agree. The most in flight is from the broker's summary.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"

	"balancelab/internal/cli"
	"balancelab/internal/programs"
	"balancelab/internal/protocol"
)

const usage = `usage: go run ./scripts/compare [flags]

  -rate r        requests a second (default: 85 % of what the workers can do)
  -n n           how many requests in each run (default 132)
  -pattern list  their types, in turn (default Long,Short,Short)
  -slots n       how many jobs a worker does at once; 0: any number (default 1)
  -slow factor   Worker-3 takes factor times as long (default 1)
  -random=false  leave out the second scenario, in random order
  -seed n        chooses the random order (default 1)
  -svg file      draw the latencies

example: go run ./scripts/compare -slow 3 -svg latency.svg
`

func main() { cli.Main(cli.Checked("compare", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("compare", usage, stdout, stderr)
	rate := line.Float64("rate", 0, "")
	n := line.Int("n", 132, "")
	pattern := line.String("pattern", "Long,Short,Short", "")
	slots := line.Int("slots", 1, "")
	slow := line.Float64("slow", 1, "")
	random := line.Bool("random", true, "")
	seed := line.Uint64("seed", 1, "")
	svg := line.String("svg", "", "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	types, err := protocol.ParseTypes(*pattern)
	switch {
	case err != nil:
		return line.Wrong("-pattern: %v", err)
	case !(*rate >= 0) || math.IsInf(*rate, 1):
		return line.Wrong("-rate must be a number of at least 0: %v", *rate)
	case *n < 1:
		return line.Wrong("-n must be at least 1: %d", *n)
	case *slots < 0:
		return line.Wrong("-slots must not be negative: %d", *slots)
	case !(*slow > 0) || math.IsInf(*slow, 1):
		return line.Wrong("-slow must be a number above 0: %v", *slow)
	}
	plan := newPlan(types, *n, *slots, *slow, *rate)
	scenarios := []scenario{plan.inTurn()}
	if *random {
		scenarios = append(scenarios, plan.shuffled(*seed))
	}
	if err := compare(ctx, plan, scenarios, *svg, stdout); err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// compare builds the programs, measures one scenario after another, and prints
// each one's figures as they come. When it returns, nothing that it started is
// running.
func compare(ctx context.Context, p plan, scenarios []scenario, svg string, stdout io.Writer) error {
	bin, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	fmt.Fprintf(stdout, "Building broker and worker...\n\n%s\n", p)
	if err := programs.Build(ctx, bin, "broker", "worker"); err != nil {
		return err
	}
	for i := range scenarios {
		s := &scenarios[i]
		fmt.Fprintf(stdout, "\n%s, for about %.0f s...\n", s.name, p.lasts(s.types).Seconds())
		s.outcomes, err = measureAll(ctx, bin, p, s.types)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "\n%s\n%s\n", table(p, s.outcomes), sentences(p, s.outcomes))
	}
	if svg == "" {
		return nil
	}
	var picture bytes.Buffer
	draw(&picture, p, scenarios)
	if err := os.WriteFile(svg, picture.Bytes(), 0o666); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe picture is in %s.\n", svg)
	return nil
}
