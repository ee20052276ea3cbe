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

  <type>      Long (5 seconds of work) or Short (1 second); a load run takes
              a list too, and cycles through it: Long,Short,Short
  <approach>  round_robin or least_connections

  -broker addr   where the broker listens (default 127.0.0.1:8000)
  -timeout time  how long to wait for the answer; 0 means for ever (default 0)
  -version       print the version and exit

With -n it is a load run: many requests, and a report at the end. -c, -rate
and a list of types need -n; -json without it reports on one request.

  -n count       how many requests in all (default 1)
  -c count       how many at once, at most (default 1, with -rate 1000)
  -rate number   how many are started a second, whether or not the ones before
                 were answered; latency counts from these planned starts;
                 0 means as fast as -c allows (default 0)
  -json          the report as JSON

example: client Long least_connections
example: client -n 300 -rate 20 Long,Short,Short least_connections
`

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("client", usage, stdout, stderr)
	broker := line.String("broker", "127.0.0.1:8000", "")
	timeout := line.Duration("timeout", 0, "")
	n := line.Int("n", 1, "")
	c := line.Int("c", 1, "")
	rate := line.Float64("rate", 0, "")
	asJSON := line.Bool("json", false, "")
	if code, ok := line.Parse(args, "type", "approach"); !ok {
		return code
	}
	if err := cli.CheckDial(*broker); err != nil {
		return line.Wrong("-broker: %v", err)
	}
	if isLoadRun(line) {
		return loadRun(ctx, line, loadFlags{*broker, *timeout, *n, *c, *rate, *asJSON}, stdout, stderr)
	}
	appType, err := protocol.ParseType(line.Arg(0))
	if err != nil {
		return line.Wrong("%v", err)
	}
	approach, err := protocol.ParseApproach(line.Arg(1))
	if err != nil {
		return line.Wrong("%v", err)
	}
	if *timeout < 0 {
		return line.Wrong("-timeout must not be negative: %v", *timeout)
	}
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	answer, err := protocol.Ask(ctx, dialer(*broker), protocol.Request{Type: appType, Approach: approach})
	if err != nil {
		fmt.Fprintf(stderr, "[Client] Error: %s\n", explain(err, *broker, *timeout))
		return cli.Failed
	}
	return line.Print(fmt.Sprintf("[Client] Received: %s\n", protocol.Printable(answer)))
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
