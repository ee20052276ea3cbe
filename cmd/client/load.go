package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/console"
	"balancelab/internal/load"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// How often a load run shows its progress: one line that changes on a
// terminal, and a line each time elsewhere.
const (
	everyOnTerminal = 200 * time.Millisecond
	everyElsewhere  = time.Second
)

// atOnce is the default of -c with -rate: enough for most rates. With the 1 of a
// closed loop a slow answer would delay all that follow, and the rate would
// not be kept.
const atOnce = 1000

// isLoadRun reports whether the command line asks for a load run: by one of
// its flags, even one with its default value, or by a list.
func isLoadRun(line *cli.Line) bool {
	return hasList(line) || line.IsSet(loadFlags...)
}

func hasList(line *cli.Line) bool { return strings.Contains(strings.Join(line.Args(), " "), ",") }

// needsLength returns what on the command line makes sense only for many
// requests, if it does not say how many; "" if nothing does. A report, or a row,
// may be about one request.
func needsLength(line *cli.Line) string {
	if line.IsSet("n", "d") {
		return ""
	}
	for _, name := range loadFlags {
		if name != "json" && name != "csv" && line.IsSet(name) {
			return "-" + name
		}
	}
	if hasList(line) {
		return "a list"
	}
	return ""
}

// check returns what is wrong with the flags, or nil.
func (f flags) check(line *cli.Line) error {
	if err := f.checkTimeout(); err != nil {
		return err
	}
	alone := needsLength(line)
	switch {
	case f.n < 1:
		return fmt.Errorf("-n must be at least 1: %d", f.n)
	case f.c < 1:
		return fmt.Errorf("-c must be at least 1: %d", f.c)
	case alone != "":
		return fmt.Errorf("%s takes -n, the number of requests, or -d, the time", alone)
	case line.IsSet("n") && line.IsSet("d"):
		return errors.New("-d says for how long: leave out -n")
	case line.IsSet("csv") && f.csv == "":
		return fmt.Errorf("-csv takes the name of a file, or %s", standardOutput)
	case line.IsSet("d") && f.lasts <= 0:
		return fmt.Errorf("-d must be above 0: %v", f.lasts)
	case f.arrivals == load.Poisson && f.rate == 0 && f.rateTo == 0:
		return errors.New("-arrivals poisson takes -rate")
	}
	return nil
}

// config returns the load run that the command line asks for, without what
// follows it as it runs. The error is for the person who typed it.
func (f flags) config(line *cli.Line) (load.Config, error) {
	plan := load.Plan{
		N: f.n, Rate: f.rate, RateTo: f.rateTo, Arrivals: f.arrivals, Mix: f.mix, Seed: f.seed,
	}
	if f.lasts > 0 {
		plan.N, plan.For = 0, load.Span(f.lasts)
	}
	var err error
	if f.mix == nil {
		if plan.Types, err = protocol.ParseTypes(line.Arg(0)); err != nil {
			return load.Config{}, err
		}
	}
	if plan.Approaches, err = parseApproaches(line.Arg(line.NArg() - 1)); err != nil {
		return load.Config{}, err
	}
	if err := f.check(line); err != nil {
		return load.Config{}, err
	}
	if plan.Paced() && !line.IsSet("c") {
		f.c = atOnce
	}
	return load.Config{Plan: plan, C: f.c, DefaultC: !line.IsSet("c"), Timeout: f.timeout, Do: ask(f.broker)}, nil
}

// parseApproaches returns the approaches that list names, as
// [protocol.ParseTypes] does for types.
func parseApproaches(list string) (all []protocol.Approach, err error) {
	for item := range strings.SplitSeq(list, ",") {
		a, err := protocol.ParseApproach(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// loadRun carries out a load run and returns the exit code: that all requests
// were answered, or not.
func loadRun(ctx context.Context, line *cli.Line, f flags, stdout, stderr io.Writer) int {
	config, err := f.config(line)
	if err != nil {
		return line.Wrong("%v", err)
	}
	if !f.quiet && !f.jsonOnStderr() {
		showProgress(&config, stderr)
	}
	rows, err := f.openRows(stdout)
	if err != nil {
		return line.Fail(err)
	}
	if rows != nil {
		config.Ended = rows.Add
	}
	report := load.Run(ctx, config)
	rowsErr := rows.close()
	if err := f.print(report, stdout, stderr); err != nil {
		return line.Fail(err)
	}
	if rowsErr != nil {
		return line.Fail(rowsErr)
	}
	if !report.Complete() {
		return cli.Failed
	}
	return cli.OK
}

// showProgress has config show the progress on stderr.
func showProgress(config *load.Config, stderr io.Writer) {
	terminal := console.IsTerminal(stderr)
	config.Progress, config.Every = load.Show(stderr, terminal), everyElsewhere
	if terminal {
		config.Every = everyOnTerminal
	}
}

// jsonOnStderr reports whether the report is JSON on standard error. Then nothing
// else is to be there, so that a program can read it.
func (f flags) jsonOnStderr() bool { return f.json && f.csv == standardOutput }

// print prints the report where the rows are not.
func (f flags) print(report load.Report, stdout, stderr io.Writer) error {
	write := report.WriteText
	if f.json {
		write = report.WriteJSON
	}
	if f.csv == standardOutput {
		return printOnStderr(write, stderr)
	}
	if w, ok := stderr.(*console.Writer); ok {
		w.Close() // the progress is to be complete before the report, which may go to the same terminal
	}
	if err := write(stdout); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// printOnStderr has write write the report there. A [console.Writer] never fails,
// and tells afterwards what it dropped.
func printOnStderr(write func(io.Writer) error, stderr io.Writer) error {
	w, drops := stderr.(*console.Writer)
	before := 0
	if drops {
		before = w.NotShown()
	}
	if err := write(stderr); err != nil {
		return fmt.Errorf("standard error: %w", err)
	}
	if !drops {
		return nil
	}
	w.Close()
	if w.NotShown() > before {
		return errors.New("standard error: the report was not written whole")
	}
	return nil
}

// ask returns what carries out one request of a load run, with a connection of
// its own. Its errors are short: each is a row of a table.
func ask(addr string) func(context.Context, protocol.Request) error {
	dial := cheapDialer(addr)
	return func(ctx context.Context, r protocol.Request) error {
		_, err := protocol.Ask(ctx, dial, r)
		if failed := (*protocol.AskError)(nil); errors.As(err, &failed) {
			return &protocol.AskError{Step: failed.Step, Err: cause(failed.Err)}
		}
		return err
	}
}

// cheapDialer returns what connects to addr, with few system calls.
func cheapDialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, addr, 0) }
}

// cause returns the part of a network error that says what went wrong, and what
// to do where this side is the cause.
func cause(err error) error {
	switch neterr.KindOf(err) {
	case neterr.NoPort, neterr.InUse:
		return &load.LocalError{Err: errors.New("no local port is free: open connections and those closed within a minute hold them all; ask for less")}
	case neterr.ProcessFiles:
		return &load.LocalError{Err: errors.New("too many open files here: ask for less at once, or raise ulimit -n")}
	}
	if neterr.Exhausted(err) {
		return &load.LocalError{Err: neterr.Reason(err)}
	}
	return neterr.Reason(err)
}
