package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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

// loadFlags are the flags that a load run looks at.
type loadFlags struct {
	broker  string
	timeout time.Duration
	n, c    int
	rate    float64
	json    bool
}

// isLoadRun reports whether the command line asks for a load run: by one of
// its flags, even one with its default value, or by a list of types. Without -n
// only -json is right: it does not ask for many requests, and gets a report on
// one.
func isLoadRun(line *cli.Line) bool {
	return strings.Contains(line.Arg(0), ",") || line.IsSet("n", "c", "rate", "json")
}

// needsN returns what on the command line makes sense only with -n, and stands
// there without it; "" if nothing does.
func needsN(line *cli.Line) string {
	switch {
	case line.IsSet("n"):
		return ""
	case line.IsSet("c"):
		return "-c"
	case line.IsSet("rate"):
		return "-rate"
	case strings.Contains(line.Arg(0), ","):
		return "a list of types"
	}
	return ""
}

// check returns what is wrong with the flags, or nil.
func (f loadFlags) check() error {
	switch {
	case f.timeout < 0:
		return fmt.Errorf("-timeout must not be negative: %v", f.timeout)
	case f.n < 1:
		return fmt.Errorf("-n must be at least 1: %d", f.n)
	case f.c < 1:
		return fmt.Errorf("-c must be at least 1: %d", f.c)
	case math.IsNaN(f.rate) || math.IsInf(f.rate, 0) || f.rate < 0:
		return fmt.Errorf("-rate must be a number of at least 0: %v", f.rate)
	}
	return nil
}

// config returns the load run that the command line asks for, without its
// progress. The error is for the person who typed it.
func (f loadFlags) config(line *cli.Line) (load.Config, error) {
	types, err := protocol.ParseTypes(line.Arg(0))
	if err != nil {
		return load.Config{}, err
	}
	approach, err := protocol.ParseApproach(line.Arg(1))
	if err != nil {
		return load.Config{}, err
	}
	if err := f.check(); err != nil {
		return load.Config{}, err
	}
	if alone := needsN(line); alone != "" {
		return load.Config{}, fmt.Errorf("%s takes -n, the number of requests", alone)
	}
	if f.rate > 0 && !line.IsSet("c") {
		f.c = atOnce
	}
	return load.Config{
		N: f.n, C: f.c, DefaultC: !line.IsSet("c"), Rate: f.rate, Types: types, Approach: approach,
		Timeout: f.timeout, Do: ask(f.broker),
	}, nil
}

// loadRun carries out a load run and returns the exit code: that all requests
// were answered, or not.
func loadRun(ctx context.Context, line *cli.Line, f loadFlags, stdout, stderr io.Writer) int {
	config, err := f.config(line)
	if err != nil {
		return line.Wrong("%v", err)
	}
	terminal := console.IsTerminal(stderr)
	config.Progress, config.Every = load.Show(stderr, terminal), everyElsewhere
	if terminal {
		config.Every = everyOnTerminal
	}
	report := load.Run(ctx, config)
	if w, ok := stderr.(*console.Writer); ok {
		w.Close() // the progress is to be complete before the report, which may go to the same terminal
	}
	write := report.WriteText
	if f.json {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return line.Fail(fmt.Errorf("standard output: %w", err))
	}
	if !report.Complete() {
		return cli.Failed
	}
	return cli.OK
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
		return errors.New("no local port is free: open connections and those closed within a minute hold them all; ask for less")
	case neterr.ProcessFiles:
		return errors.New("too many open files here: ask for less at once, or raise ulimit -n")
	}
	return neterr.Reason(err)
}
