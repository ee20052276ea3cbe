package main

import (
	"context"
	"fmt"
	"time"

	"balancelab/internal/cli"
)

// flags are the flags of the command line; see usage.
type flags struct {
	broker  string
	timeout time.Duration
	raw     string
	n, c    int
	rate    float64
	json    bool
}

// parseFlags returns the flags of args. It reports false when the program is to
// exit with code: it has printed the help, or what is wrong. The arguments after
// the flags are there, but have not been looked at.
func parseFlags(line *cli.Line, args []string) (f flags, code int, ok bool) {
	line.StringVar(&f.broker, "broker", "127.0.0.1:8000", "")
	line.DurationVar(&f.timeout, "timeout", 0, "")
	line.StringVar(&f.raw, "raw", "", "")
	line.IntVar(&f.n, "n", 1, "")
	line.IntVar(&f.c, "c", 1, "")
	rate := line.Float64("rate", 0, "")
	line.BoolVar(&f.json, "json", false, "")
	if code, ok := line.ParseFlags(args); !ok {
		return flags{}, code, false
	}
	f.rate = *rate
	arguments := []string{"type", "approach"}
	if line.IsSet("raw") {
		arguments = nil
		for _, name := range []string{"n", "c", "rate", "json"} {
			if line.IsSet(name) {
				return flags{}, line.Wrong("-raw sends one text: leave out -%s", name), false
			}
		}
	}
	if code, ok := line.CheckArgs(arguments...); !ok {
		return flags{}, code, false
	}
	if err := cli.CheckDial(f.broker); err != nil {
		return flags{}, line.Wrong("-broker: %v", err), false
	}
	return f, cli.OK, true
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
