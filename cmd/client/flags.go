package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/load"
)

// flags are the flags of the command line; see usage.
type flags struct {
	broker       string
	timeout      time.Duration
	raw          string
	n, c         int
	lasts        time.Duration
	rate, rateTo float64
	arrivals     load.Arrivals
	mix          []load.Share
	seed         uint64
	json, quiet  bool
	csv          string
}

// loadFlags are the flags of a load run.
var loadFlags = []string{"n", "d", "c", "rate", "arrivals", "mix", "seed", "json", "csv", "q"}

// parseFlags returns the flags of args. It reports false when the program is to
// exit with code: it has printed the help, or what is wrong. The number of
// arguments is right, but they have not been looked at.
func parseFlags(line *cli.Line, args []string) (f flags, code int, ok bool) {
	f.seed = uint64(rand.Uint32()) // short enough to be typed
	line.StringVar(&f.broker, "broker", "127.0.0.1:8000", "")
	line.DurationVar(&f.timeout, "timeout", 0, "")
	line.StringVar(&f.raw, "raw", "", "")
	line.IntVar(&f.n, "n", 1, "")
	line.IntVar(&f.c, "c", 1, "")
	line.DurationVar(&f.lasts, "d", 0, "")
	line.Func("rate", "", func(text string) (err error) { f.rate, f.rateTo, err = load.ParseRate(text); return err })
	line.Func("arrivals", "", func(text string) (err error) { f.arrivals, err = load.ParseArrivals(text); return err })
	line.Func("mix", "", func(text string) (err error) { f.mix, err = load.ParseMix(text); return err })
	line.Func("seed", "", func(text string) (err error) { f.seed, err = parseSeed(text); return err })
	line.BoolVar(&f.json, "json", false, "")
	line.StringVar(&f.csv, "csv", "", "")
	line.BoolVar(&f.quiet, "q", false, "")
	if code, ok := line.ParseFlags(args); !ok {
		return flags{}, code, false
	}
	if code, ok := checkArgs(line); !ok {
		return flags{}, code, false
	}
	if err := cli.CheckDial(f.broker); err != nil {
		return flags{}, line.Wrong("-broker: %v", err), false
	}
	return f, cli.OK, true
}

// checkArgs looks whether there are as many arguments as the flags leave room
// for, as [cli.Line.CheckArgs] does.
func checkArgs(line *cli.Line) (code int, ok bool) {
	switch {
	case line.IsSet("raw"):
		for _, name := range loadFlags {
			if line.IsSet(name) {
				return line.Wrong("-raw sends one text: leave out -%s", name), false
			}
		}
		return line.CheckArgs()
	case line.IsSet("mix") && line.NArg() == 2:
		return line.Wrong("-mix says the types: leave out %q", line.Arg(0)), false
	case line.IsSet("mix"):
		return line.CheckArgs("approach")
	}
	return line.CheckArgs("type", "approach")
}

func parseSeed(text string) (uint64, error) {
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errors.New("want a whole number of at least 0")
	}
	return seed, nil
}

// checkTimeout returns what is wrong with -timeout, or nil.
func (f flags) checkTimeout() error {
	if f.timeout < 0 {
		return fmt.Errorf("-timeout must not be negative: %v", f.timeout)
	}
	return nil
}

// limit returns ctx with the timeout, if there is one.
func (f flags) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.timeout)
}
