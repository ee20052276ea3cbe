// Benchpeers compares the broker with HAProxy and nginx, on this machine.
//
//	usage: go run ./scripts/benchpeers [flags]
//
//	  -rounds count  how often everything is measured; shown is the median (default 3)
//	  -n count       requests of each measurement (default 20000)
//	  -c count       requests at once (default 50)
//	  -longs count   Longs in flight for the memory; 0 leaves it out (default 2000)
//
//	example: go run ./scripts/benchpeers -rounds 5 -longs 8000
//
// It starts three workers whose Shorts take no time, and in front of them, one
// after another, each of the peers: the broker with different flags, HAProxy
// and nginx as scripts/peers configures them, and nothing, which is the limit of
// what this machine's clients and workers can do. "client -n" makes the load.
// All listen on free ports of 127.0.0.1. It needs Linux: CPU time and memory
// come from /proc. A peer that is not installed is named and left out. When it
// ends, and after Ctrl-C too, all that it started is gone.
//
// # What is measured
//
// Whatever else the machine does disturbs one round of all peers rather than
// all rounds of one: a round measures each peer once, by each approach, each
// time as a process that was started anew and has answered some requests
// before. The load is a closed loop, see package load: its requests a second
// are what a peer can do at most, with clients and workers on the same
// processors. CPU time is that of the peer's processes alone, so it says more
// about the peer than the requests a second do.
//
// For the memory, Longs are sent until all of them wait in the workers. What
// the peer's processes hold then, less what they held when nothing was in
// flight, is divided by their number.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"balancelab/internal/cli"
	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

const usage = `usage: go run ./scripts/benchpeers [flags]

  -rounds count  how often everything is measured; shown is the median (default 3)
  -n count       requests of each measurement (default 20000)
  -c count       requests at once (default 50)
  -longs count   Longs in flight for the memory; 0 leaves it out (default 2000)

example: go run ./scripts/benchpeers -rounds 5 -longs 8000
`

// size says how much is measured.
type size struct {
	rounds, n, c, longs int
}

func main() { cli.Main(cli.Checked("benchpeers", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("benchpeers", usage, stdout, stderr)
	var s size
	line.IntVar(&s.rounds, "rounds", 3, "")
	line.IntVar(&s.n, "n", 20000, "")
	line.IntVar(&s.c, "c", 50, "")
	line.IntVar(&s.longs, "longs", 2000, "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	for _, f := range []struct {
		name                 string
		value, least, atMost int
	}{
		{"rounds", s.rounds, 1, 100},
		{"n", s.n, 1, 1_000_000},
		{"c", s.c, 1, 1000},
		{"longs", s.longs, 0, 9000},
	} {
		if f.value < f.least || f.value > f.atMost {
			return line.Wrong("-%s is %d, want %d to %d", f.name, f.value, f.least, f.atMost)
		}
	}
	if err := bench.NeedsProc(); err != nil {
		return line.Fail(err)
	}
	err := compare(ctx, s, stdout, stderr)
	if ctx.Err() != nil {
		err = programs.ErrInterrupted
	}
	if err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// compare measures and prints. When it returns, nothing that it started is
// running.
func compare(ctx context.Context, s size, stdout, progress io.Writer) (err error) {
	fmt.Fprintln(progress, "Building client, broker and worker...")
	l, err := newLab(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	peers, leftOut := l.installed(ctx, allPeers(s))
	for _, why := range leftOut {
		fmt.Fprintf(progress, "Left out: %s\n", why)
	}
	if err := l.startWorkers(ctx); err != nil {
		return err
	}
	r := newResults(peers)
	if err := measureAll(ctx, l, r, progress); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	r.write(stdout, s)
	for _, why := range leftOut {
		fmt.Fprintf(stdout, "Left out: %s\n", why)
	}
	return nil
}

// measureAll measures everything, in rounds, and then the memory.
func measureAll(ctx context.Context, l *lab, r *results, progress io.Writer) error {
	for round := range l.size.rounds {
		for _, approach := range protocol.Approaches() {
			for i, p := range r.peers {
				f, err := l.measureLoad(ctx, p, approach)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, approach, err)
				}
				r.add(i, approach, f)
				fmt.Fprintf(progress, "round %d of %d, %s, %s: %s requests/s\n",
					round+1, l.size.rounds, approach, p.name, bench.Number(f.rate))
			}
		}
	}
	for i, p := range r.peers {
		if p.command == nil || l.size.longs == 0 {
			continue
		}
		memory, err := l.measureMemory(ctx, p)
		if err != nil {
			return fmt.Errorf("%s, %d Longs in flight: %w", p.name, l.size.longs, err)
		}
		r.memory[i] = memory
		fmt.Fprintf(progress, "%d Longs in flight, %s: %s bytes each\n", l.size.longs, p.name, bench.Number(memory))
	}
	return nil
}

// results are the figures of all peers.
type results struct {
	peers  []peer
	rounds []map[protocol.Approach][]measurement // of each peer
	memory []float64                             // of each peer
}

func newResults(peers []peer) *results {
	r := &results{peers: peers}
	for range peers {
		r.rounds = append(r.rounds, map[protocol.Approach][]measurement{})
		r.memory = append(r.memory, unmeasured().memory)
	}
	return r
}

func (r *results) add(i int, a protocol.Approach, f measurement) {
	r.rounds[i][a] = append(r.rounds[i][a], f)
}

// rows returns the table of one approach.
func (r *results) rows(a protocol.Approach) (rows []row) {
	for i, p := range r.peers {
		f := medians(r.rounds[i][a])
		f.memory = r.memory[i]
		rows = append(rows, row{p.name, f, p.rival})
	}
	return rows
}

func (r *results) write(w io.Writer, s size) {
	fmt.Fprintf(w, "\n%s\n", bench.Machine())
	fmt.Fprintf(w, "%d Shorts of no work, %d at once, median of %d rounds", s.n, s.c, s.rounds)
	if s.longs > 0 {
		fmt.Fprintf(w, "; memory with %d Longs in flight, measured once, by least_connections", s.longs)
	}
	fmt.Fprintln(w)
	for _, a := range protocol.Approaches() {
		fmt.Fprintln(w)
		writeTable(w, a.String(), r.rows(a))
	}
	fmt.Fprintln(w, "\n×: the ratio to the better of HAProxy and nginx. CPU and memory are of the peer's processes alone.")
	fmt.Fprintln(w, "nginx has a port for each approach.")
}
