package main

import (
	"cmp"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
	"balancelab/internal/control"
)

// flags are what the command line says; the usage text says what each means.
type flags struct {
	listen, status, log          string
	workers                      []balance.Worker
	request, dial, answer, drain time.Duration
	queue                        time.Duration
	maxConns                     int // with the default worked out
	viewers                      int // connections to the live page at once
	redispatch, keepalive        bool
	abortOnClose                 bool
}

// parseFlags reports false when the program is to exit with code.
func parseFlags(line *cli.Line, args []string) (f flags, code int, ok bool) {
	line.StringVar(&f.listen, "listen", "127.0.0.1:8000", "")
	list := line.String("workers", "127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004", "")
	line.DurationVar(&f.request, "request-timeout", 5*time.Second, "")
	line.DurationVar(&f.dial, "dial-timeout", 2*time.Second, "")
	line.DurationVar(&f.answer, "answer-timeout", 30*time.Second, "")
	line.DurationVar(&f.drain, "drain-timeout", 30*time.Second, "")
	limit := line.Int("max-per-worker", 0, "")
	line.DurationVar(&f.queue, "queue-timeout", 30*time.Second, "")
	line.IntVar(&f.maxConns, "max-conns", 0, "")
	line.BoolVar(&f.redispatch, "redispatch", false, "")
	line.BoolVar(&f.abortOnClose, "abort-on-close", false, "")
	line.BoolVar(&f.keepalive, "keepalive", false, "")
	line.StringVar(&f.status, "status", "", "")
	line.StringVar(&f.log, "log", "text", "")
	if code, ok := line.Parse(args); !ok {
		return f, code, false
	}
	workers, err := parseWorkers(*list, *limit)
	f.workers = workers
	switch {
	case *limit < 0 || *limit > control.MaxLimit:
		return f, line.Wrong("-max-per-worker must be from 0 to %d: %d", control.MaxLimit, *limit), false
	case err != nil:
		return f, line.Wrong("-workers: %v", err), false
	case cli.CheckListen(f.listen) != nil:
		return f, line.Wrong("-listen: %v", cli.CheckListen(f.listen)), false
	case f.status != "" && cli.CheckListen(f.status) != nil:
		return f, line.Wrong("-status: %v", cli.CheckListen(f.status)), false
	case min(f.request, f.dial, f.answer, f.queue) <= 0:
		return f, line.Wrong("-request-timeout, -dial-timeout, -answer-timeout and -queue-timeout must be more than 0"), false
	case f.drain < 0:
		return f, line.Wrong("-drain-timeout must not be negative: %v", f.drain), false
	case f.maxConns < 0:
		return f, line.Wrong("-max-conns must not be negative: %d", f.maxConns), false
	}
	f.setMaxConns(line)
	return f, cli.OK, true
}

// setMaxConns works out the default of -max-conns. A number that the open files
// do not allow is lowered, and that is said.
func (f *flags) setMaxConns(line *cli.Line) {
	limit, limited := cli.OpenFiles()
	b := f.budget(limit, limited)
	f.viewers = b.viewers
	if limited && f.maxConns > b.clients {
		line.Note("-max-conns %d needs more than the %d open files that are allowed; it is lowered to %d, and more clients wait (see ulimit -n)",
			f.maxConns, limit, b.clients)
	}
	if f.maxConns == 0 || limited {
		f.maxConns = min(cmp.Or(f.maxConns, b.clients), b.clients)
	}
}
