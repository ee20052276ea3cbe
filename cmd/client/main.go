// Client sends one request to the broker and prints the answer; or it sends many
// and reports how they fared. Its usage is the text below, and stands in
// cmd/README.md with what there is to know of a load run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"balancelab/internal/command"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
)

// usage is what -h prints. The same text stands in cmd/README.md, and a test of
// internal/e2e compares the two.
const usage = `usage: client [flags] <type> <approach>

  <type>      Long (5 seconds of work) or Short (1 second); a load run takes
              a list too, and cycles through it: Long,Short,Short
  <approach>  round_robin or least_connections

  -broker addr   where the broker listens (default 127.0.0.1:8000)
  -timeout time  how long to wait for the answer; 0 means for ever (default 0)

Any of the following, or a list of types, makes it a load run: many requests,
and a report at the end.

  -n count       how many requests in all (default 1)
  -c count       how many at once, at most (default 1, with -rate 1000)
  -rate number   how many are started a second, whether or not the ones before
                 were answered; latency counts from these planned starts;
                 0 means as fast as -c allows (default 0)
  -json          the report as JSON

example: client Long least_connections
example: client -n 300 -rate 20 Long,Short,Short least_connections
`

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := command.NewLine("client", usage, stdout, stderr)
	broker := line.String("broker", "127.0.0.1:8000", "")
	timeout := line.Duration("timeout", 0, "")
	n := line.Int("n", 1, "")
	c := line.Int("c", 1, "")
	rate := line.Float64("rate", 0, "")
	asJSON := line.Bool("json", false, "")
	if code, ok := line.Parse(args, "type", "approach"); !ok {
		return code
	}
	if isLoadRun(line) {
		return loadRun(ctx, line, loadFlags{*broker, *timeout, *n, *c, *rate, *asJSON}, stdout, stderr)
	}
	appType, err := protocol.ParseAppType(line.Arg(0))
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
	answer, err := ask(ctx, *broker, protocol.Request{Type: appType, Approach: approach})
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("no answer from the broker at %s within %v", *broker, *timeout)
	case ctx.Err() != nil:
		err = errors.New("interrupted before the answer came")
	}
	if err != nil {
		fmt.Fprintf(stderr, "[Client] Error: %v\n", err)
		return command.Failed
	}
	if reason, refused := protocol.CutRefusal(answer); refused {
		fmt.Fprintf(stderr, "[Client] Error: %s\n", console.Shown(reason))
		return command.Failed
	}
	fmt.Fprintf(stdout, "[Client] Received: %s\n", console.Shown(answer))
	return command.OK
}

// ask sends one request, with nothing after it and no half-close, as the
// original does, and returns the answer.
func ask(ctx context.Context, addr string, r protocol.Request) (string, error) {
	var d net.Dialer // its connections notice that the broker's machine is gone, however long the answer takes
	conn, err := d.DialContext(ctx, "tcp", addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "", fmt.Errorf("no broker at %s: start one with \"broker\", or name another with -broker", addr)
	}
	if err != nil {
		return "", fmt.Errorf("connect to the broker: %w", err)
	}
	defer conn.Close()
	stopGivingUp := context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })
	defer stopGivingUp()
	if _, err := io.WriteString(conn, r.String()); err != nil {
		return "", fmt.Errorf("send the request: %w", err)
	}
	answer, _, err := protocol.ReadAnswer(conn)
	if err != nil {
		return "", fmt.Errorf("the broker at %s: %w", addr, err)
	}
	return answer, nil
}
