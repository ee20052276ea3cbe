// Broker hands each client's request to one of the workers and relays the
// answer.
//
//	usage: broker [flags]
//
//	  -listen addr           where clients connect (default 127.0.0.1:8000)
//	  -workers list          the workers, in order; host:port=3 has a weight of 3
//	                         (default 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004)
//	  -request-timeout time  for a client's whole request (default 5s)
//	  -dial-timeout time     for one connect to a worker (default 2s)
//	  -answer-timeout time   for a worker's answer (default 30s)
//	  -drain-timeout time    how long the first Ctrl-C waits for requests (default 30s)
//	  -max-conns n           how many clients at once; more wait to be accepted
//	                         (default: from the limit on open files)
//	  -redispatch            hand a request on even after it was sent, when its
//	                         worker failed; jobs may then run twice
//	  -keepalive             keep connections to workers that can (not the original)
//	  -status addr           where to show a live page, such as 127.0.0.1:8080;
//	                         /status.json and /metrics are there too (default: none)
//	  -log format            text, json or off (default text)
//
//	example: broker -workers 127.0.0.1:9002=2,127.0.0.1:9003
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/command"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

const usage = `usage: broker [flags]

  -listen addr           where clients connect (default 127.0.0.1:8000)
  -workers list          the workers, in order; host:port=3 has a weight of 3
                         (default 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004)
  -request-timeout time  for a client's whole request (default 5s)
  -dial-timeout time     for one connect to a worker (default 2s)
  -answer-timeout time   for a worker's answer (default 30s)
  -drain-timeout time    how long the first Ctrl-C waits for requests (default 30s)
  -max-conns n           how many clients at once; more wait to be accepted
                         (default: from the limit on open files)
  -redispatch            hand a request on even after it was sent, when its
                         worker failed; jobs may then run twice
  -keepalive             keep connections to workers that can (not the original)
  -status addr           where to show a live page, such as 127.0.0.1:8080;
                         /status.json and /metrics are there too (default: none)
  -log format            text, json or off (default text)

example: broker -workers 127.0.0.1:9002=2,127.0.0.1:9003
`

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := command.NewLine("broker", usage, stdout, stderr)
	listen := line.String("listen", "127.0.0.1:8000", "")
	list := line.String("workers", "127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004", "")
	request := line.Duration("request-timeout", 5*time.Second, "")
	dial := line.Duration("dial-timeout", 2*time.Second, "")
	answer := line.Duration("answer-timeout", 30*time.Second, "")
	drain := line.Duration("drain-timeout", 30*time.Second, "")
	maxConns := line.Int("max-conns", 0, "")
	redispatch := line.Bool("redispatch", false, "")
	keepalive := line.Bool("keepalive", false, "")
	statusAddr := line.String("status", "", "")
	format := line.String("log", "text", "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	workers, err := parseWorkers(*list)
	if err != nil {
		return line.Wrong("-workers: %v", err)
	}
	switch {
	case min(*request, *dial, *answer) <= 0:
		return line.Wrong("-request-timeout, -dial-timeout and -answer-timeout must be more than 0")
	case *drain < 0:
		return line.Wrong("-drain-timeout must not be negative: %v", *drain)
	case *maxConns < 0:
		return line.Wrong("-max-conns must not be negative: %d", *maxConns)
	}
	log, err := newLog(*format, stdout)
	if err != nil {
		return line.Wrong("%v", err)
	}
	defer log.Close()
	l, err := socket.Listen(ctx, *listen)
	if err != nil {
		return line.Fail(err)
	}
	defer l.Close()
	selectors := newSelectors()
	pool := balance.NewPool(workers, selectors.all()...)
	var told broker.Journal = log
	var page *page
	if *statusAddr != "" {
		if page, err = openPage(ctx, *statusAddr); err != nil {
			return line.Fail(err)
		}
	}
	if *maxConns == 0 {
		*maxConns = defaultMaxConns(*keepalive, page != nil)
	}
	log.Listening(l.Addr())
	if page != nil {
		page.announce(*format, stdout)
		told = page.start(ctx, pool, l.Addr(), log, func(err error) { line.Fail(err) })
		defer page.close()
	}

	b := broker.Broker{
		Pool: pool, Selector: selectors.of, Dial: socket.Dial,
		RequestTimeout: *request, DialTimeout: *dial, AnswerTimeout: *answer,
		Redispatch: *redispatch, Journal: told,
	}
	if *keepalive {
		b.Kept = broker.NewKept(len(workers), min(128, max(1, *maxConns/len(workers))))
		defer b.Kept.Close()
	}
	s := server.Server{
		Handle: b.Handle, DrainTimeout: *drain, MaxConns: *maxConns,
		Paused: func(err error, pause time.Duration) { log.Paused(err, pause) },
	}
	err = s.Serve(ctx, l)
	log.Summary(pool.Snapshot(), protocol.Approaches())
	if err != nil {
		return line.Fail(err)
	}
	return command.OK
}

// selectors maps approaches to who carries them out, in the order of
// protocol.Approaches.
type selectors [2]balance.Selector

func newSelectors() selectors {
	return selectors{new(balance.RoundRobin), new(balance.LeastConnections)}
}

func (s *selectors) all() []balance.Selector { return s[:] }

func (s *selectors) of(a protocol.Approach) balance.Selector {
	if a == protocol.RoundRobin {
		return s[0]
	}
	return s[1]
}

// A journal is what -log chooses.
type journal interface {
	broker.Journal
	Listening(at net.Addr)
	Paused(err error, pause fmt.Stringer)
	Close()
	Summary([]balance.Status, []protocol.Approach)
}

type off struct{ console.Off }

func (off) Listening(net.Addr) {}

func newLog(format string, w io.Writer) (journal, error) {
	switch format {
	case "text":
		return console.NewBroker(w), nil
	case "json":
		return console.NewBrokerJSON(w), nil
	case "off":
		return off{}, nil
	}
	return nil, fmt.Errorf("-log is %q, want text, json or off", format)
}
