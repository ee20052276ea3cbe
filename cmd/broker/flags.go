package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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
	atOnce                       int // requests of a run, with control
	perWorker                    int // the limit of a worker that has none of its own
	control, check               bool
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
	line.IntVar(&f.perWorker, "max-per-worker", 0, "")
	line.DurationVar(&f.queue, "queue-timeout", 30*time.Second, "")
	line.IntVar(&f.maxConns, "max-conns", 0, "")
	line.BoolVar(&f.redispatch, "redispatch", false, "")
	line.BoolVar(&f.abortOnClose, "abort-on-close", false, "")
	line.BoolVar(&f.keepalive, "keepalive", false, "")
	line.StringVar(&f.status, "status", "", "")
	line.BoolVar(&f.control, "control", false, "")
	line.StringVar(&f.log, "log", "text", "")
	line.BoolVar(&f.check, "check", false, "")
	if code, ok := line.Parse(args); !ok {
		return f, code, false
	}
	if err := f.parseWorkers(*list); err != nil {
		return f, line.Wrong("%v", err), false
	}
	if err := f.wrong(); err != nil {
		return f, line.Wrong("%v", err), false
	}
	f.setMaxConns(line)
	return f, cli.OK, true
}

func (f *flags) parseWorkers(list string) (err error) {
	if f.perWorker < 0 || f.perWorker > control.MaxLimit {
		return fmt.Errorf("-max-per-worker must be from 0 to %d: %d", control.MaxLimit, f.perWorker)
	}
	if f.workers, err = parseWorkers(list, f.perWorker); err != nil {
		return fmt.Errorf("-workers: %w", err)
	}
	return nil
}

// wrong returns what is wrong with the flags, or nil.
func (f *flags) wrong() error {
	switch {
	case cli.CheckListen(f.listen) != nil:
		return fmt.Errorf("-listen: %w", cli.CheckListen(f.listen))
	case f.status != "" && cli.CheckListen(f.status) != nil:
		return fmt.Errorf("-status: %w", cli.CheckListen(f.status))
	case min(f.request, f.dial, f.answer, f.queue) <= 0:
		return errors.New("-request-timeout, -dial-timeout, -answer-timeout and -queue-timeout must be more than 0")
	case f.drain < 0:
		return fmt.Errorf("-drain-timeout must not be negative: %v", f.drain)
	case f.maxConns < 0:
		return fmt.Errorf("-max-conns must not be negative: %d", f.maxConns)
	case f.control && f.status == "":
		return errors.New("-control needs -status, such as -status 127.0.0.1:8080")
	case f.control && !onLoopback(f.status):
		return fmt.Errorf("-control takes orders on a loopback address only, such as -status 127.0.0.1:8080: -status is %q", f.status)
	}
	return nil
}

// onLoopback reports whether an address, which has a port, is this machine's own.
func onLoopback(addr string) bool {
	host, _, _ := cli.SplitAddr(addr)
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// setMaxConns works out the default of -max-conns. A number that the open files
// do not allow is lowered, and that is said.
func (f *flags) setMaxConns(line *cli.Line) {
	limit, limited := cli.OpenFiles()
	b := f.budget(limit, limited)
	f.viewers, f.atOnce = b.viewers, f.ownClients(limit, limited)
	if limited && f.maxConns > b.clients {
		line.Note("-max-conns %d needs more than the %d open files that are allowed; it is lowered to %d, and more clients wait (see ulimit -n)",
			f.maxConns, limit, b.clients)
	}
	if f.maxConns == 0 || limited {
		f.maxConns = min(cmp.Or(f.maxConns, b.clients), b.clients)
	}
}
