// Client sends one request to the broker and prints the answer; or it sends many
// and reports what became of them. Its usage is the text below, and stands in
// cmd/README.md with what there is to know of a load run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// usage is what -h prints. The same text stands in cmd/README.md, and a test
// compares the two.
const usage = `usage: client [flags] <type> <approach>
       client [flags] -mix shares <approach>
       client -raw text

  <type>      Long (5 seconds of work) or Short (1 second); a load run takes
              a list too, and cycles through it: Long,Short,Short
  <approach>  round_robin or least_connections; a load run takes both, in turn:
              round_robin,least_connections

  -broker addr   where the broker listens (default 127.0.0.1:8000)
  -timeout time  how long to wait for the answer; 0 means for ever (default 0)
  -version       print the version and exit

With -n or -d it is a load run: many requests, and a report at the end. Lists
and the flags below need one of the two; -json and -csv without them report on
one request.

  -n count       how many requests in all (default 1)
  -d time        for how long requests are started, instead of -n
  -c count       how many at once, at most (default 1, with -rate 1000)
  -rate number   how many are started a second, whether or not the ones before
                 were answered; latency counts from these planned starts;
                 10..200 rises evenly; 0 means as fast as -c allows (default 0)
  -arrivals how  even, or poisson: random as those of many users (default even)
  -mix shares    types in random order instead of in turn: Long=1,Short=2
  -seed number   chooses what is random (default: another one each time, which
                 the report shows)
  -json          the report as JSON
  -csv file      a row for each request; - means standard output, and then the
                 report goes to standard error
  -q             show no progress

With -raw it sends any text, and prints what comes back until the broker closes;
what can't be printed is quoted.

  -raw text      what to send, and nothing after it; \n, \r, \x00 and \\ are
                 escapes, as in Go; waits for 30s, or for -timeout

example: client Long least_connections
example: client -n 300 -rate 20 Long,Short,Short least_connections
example: client -d 30s -rate 10..60 -mix Long=1,Short=2 least_connections
example: client -raw 'AppID:Medium:round_robin'
`

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("client", usage, stdout, stderr)
	f, code, ok := parseFlags(line, args)
	switch {
	case !ok:
		return code
	case line.IsSet("raw"):
		return sendRaw(ctx, line, f, stderr)
	case isLoadRun(line):
		return loadRun(ctx, line, f, stdout, stderr)
	}
	return sendOne(ctx, line, f, stderr)
}

// sendOne sends the one request that the command line asks for, prints the
// answer, and returns the exit code.
func sendOne(ctx context.Context, line *cli.Line, f flags, stderr io.Writer) int {
	appType, err := protocol.ParseType(line.Arg(0))
	if err != nil {
		return line.Wrong("%v", err)
	}
	approach, err := protocol.ParseApproach(line.Arg(1))
	if err != nil {
		return line.Wrong("%v", err)
	}
	if err := f.checkTimeout(); err != nil {
		return line.Wrong("%v", err)
	}
	ctx, cancel := f.limit(ctx)
	defer cancel()
	answer, err := protocol.Ask(ctx, dialer(f.broker), protocol.Request{Type: appType, Approach: approach})
	if err != nil {
		return fail(stderr, explain(err, f.broker, f.timeout))
	}
	return line.Print(fmt.Sprintf("[Client] Received: %s\n", protocol.Printable(answer)))
}

// fail says why no answer came, and returns the exit code.
func fail(stderr io.Writer, reason string) int {
	fmt.Fprintf(stderr, "[Client] Error: %s\n", reason)
	return cli.Failed
}

// dialer returns what connects to addr. Its connections notice that the
// broker's machine is gone, however long the answer takes, and they take an
// answer that has come by the deadline, however late it is looked at.
func dialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return socket.Of(conn), nil
	}
}

// explain says why one request got no answer, and what to do.
func explain(err error, addr string, timeout time.Duration) string {
	var refusal *protocol.RefusalError
	var failed *protocol.AskError
	switch {
	case errors.As(err, &refusal):
		return protocol.Printable(refusal.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer from the broker at %s within %v", addr, timeout)
	case errors.Is(err, context.Canceled):
		return "interrupted before the answer came"
	case !errors.As(err, &failed):
		return err.Error()
	}
	switch {
	case neterr.KindOf(err) == neterr.Refused:
		return fmt.Sprintf("no broker at %s: start one with \"broker\", or name another with -broker", addr)
	case failed.Step == protocol.Connect:
		return fmt.Sprintf("connect to the broker: %v", neterr.InWords(failed.Err))
	case failed.Step == protocol.Receive:
		return fmt.Sprintf("the broker at %s: %v", addr, neterr.InWords(failed.Err))
	}
	return neterr.InWords(err).Error()
}
