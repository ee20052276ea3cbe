// Broker gives each client's request to one of the workers and relays the
// answer. Its usage is the text below, and stands in cmd/README.md with what
// there is to know of its events.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/cli"
	"balancelab/internal/console"
	"balancelab/internal/control"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/status"
)

// usage is what -h prints. The same text stands in cmd/README.md, and a test of
// internal/e2e compares the two.
const usage = `usage: broker [flags]
       broker workers [-status addr] [order]   (see broker workers -h)

  -listen addr           where clients connect (default 127.0.0.1:8000)
  -workers list          the workers, in order; host:port=3 has a weight of 3,
                         host:port=3/10 also gets 10 requests at once at most
                         (default 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004)
  -max-per-worker n      how many requests at once for each worker; more wait in
                         the broker, first come first served (default 0: no limit)
  -request-timeout time  for a client's whole request (default 5s)
  -dial-timeout time     for one connect to a worker (default 2s)
  -answer-timeout time   for a worker's answer (default 30s)
  -queue-timeout time    how long a request waits for a worker (default 30s)
  -drain-timeout time    how long the first Ctrl-C waits for requests (default 30s)
  -max-conns n           how many clients at once; more wait to be accepted
                         (default: from the limit on open files)
  -redispatch            hand a request on even after it was sent, when its
                         worker failed; jobs may then run twice
  -abort-on-close        a client's end of stream means that it has left; without
                         this flag one that half-closes gets its answer
  -keepalive             keep connections to workers that can (not the original)
  -status addr           where to show a live page, such as 127.0.0.1:8080;
                         /status.json and /metrics are there too (default: none)
  -control               let "broker workers" add, drain and remove workers, and
                         the page send requests; both through -status, which
                         must be a loopback address
  -log format            text, json or off (default text)
  -check                 say whether the command line is right and the workers'
                         hosts are found, and exit
  -version               print the version and exit

example: broker -workers 127.0.0.1:9002=2,127.0.0.1:9003
`

func main() {
	collectLess()
	cli.Main(run)
}

// collectLess lets the heap grow to three times what is live before it is collected,
// unless the environment says GOGC: twice is Go's default. While requests come in a
// burst nearly all of it is live, so collections free next to nothing and take
// processors away from the requests. With 8,000 Longs at once the slowest is
// answered a tenth of a second sooner, and the memory is the same.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "workers" {
		return runWorkers(ctx, args[1:], stdout, stderr)
	}
	line := cli.NewLine("broker", usage, stdout, stderr)
	f, code, ok := parseFlags(line, args)
	if !ok {
		return code
	}
	log, err := newLog(f.log, stdout)
	if err != nil {
		return line.Wrong("%v", err)
	}
	defer log.Close()
	if f.check {
		return check(ctx, line, f)
	}
	if err := serve(ctx, line, f, log); err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// serve runs the broker until ctx is done and what is in flight is finished.
func serve(ctx context.Context, line *cli.Line, f flags, log observer) error {
	l, err := socket.Listen(ctx, f.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	b := broker.Broker{
		Pool: balance.NewPool(f.workers, selectors()...), Dial: socket.Dial,
		RequestTimeout: f.request, DialTimeout: f.dial, AnswerTimeout: f.answer, QueueTimeout: f.queue,
		Redispatch: f.redispatch, Observer: log,
		Watch: &socket.Watch{EndIsGone: f.abortOnClose},
	}
	defer runWatch(ctx, b.Watch)()
	if f.keepalive {
		b.Idle = f.idlePool()
		defer b.Idle.Close()
	}
	page, err := openPage(ctx, line, f.status)
	if err != nil {
		return err
	}
	if f.control {
		page.control, page.atOnce, page.orders = true, f.atOnce, control.Handler(b.Pool, f.perWorker)
	}
	b.Pool.OnChange = func(c balance.Change) { changed(c, b.Idle, page, log) }
	log.Listening(l.Addr())
	if page != nil {
		log.StatusPage(status.URL(page.Addr()))
		b.Observer = page.start(ctx, b.Pool, l.Addr(), log, max(1, f.viewers))
		defer page.close()
	}
	s := server.Server{
		Handle: b.Handle, MaxConns: f.maxConns,
		Stopping: func(n int) time.Duration { return line.Finishing(ctx, n, "request", f.drain) },
		Paused:   log.Paused, Panicked: line.Panicked,
	}
	err = s.Serve(page.afterRuns(ctx), l)
	log.Summary(b.Pool.Snapshot())
	return err
}

// changed tells all what has happened to a worker. One that drains needs no idle
// connection any more.
func changed(c balance.Change, idle *broker.IdlePool, page *page, log observer) {
	if c.State == balance.Draining || c.State == balance.Drained {
		idle.Drop(c.Index)
	}
	if page != nil {
		page.feed.Changed(c)
	}
	log.Changed(c)
}

// runWatch runs w, also while the broker drains, until stop is called.
func runWatch(ctx context.Context, w *socket.Watch) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// selectors returns the selector of each approach, at its place.
func selectors() []balance.Selector {
	return []balance.Selector{
		protocol.RoundRobin:       new(balance.RoundRobin),
		protocol.LeastConnections: new(balance.LeastConnections),
	}
}

// An observer is what -log chooses.
type observer interface {
	broker.Observer
	Listening(at net.Addr)
	StatusPage(url string)
	Paused(err error, pause time.Duration)
	Close()
	Changed(balance.Change)
	NotShown() int // lines that could not be written
	Summary(balance.Snapshot)
}

type off struct{ console.Off }

func (off) Listening(net.Addr) {}
func (off) StatusPage(string)  {}

func newLog(format string, w io.Writer) (observer, error) {
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
