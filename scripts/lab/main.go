// Lab starts a broker with its live page, and workers behind it, to see load
// balancing happen.
//
//	usage: go run ./scripts/lab [flags]
//
//	  -workers n   how many workers (default 3)
//	  -slots n     how many jobs each of them does at once; 0: any number (default 1)
//	  -long time   how long a Long takes (default 2s)
//	  -short time  how long a Short takes (default 400ms)
//	  -port n      the broker's port, for clients (default 8000)
//	  -page n      the page's port (default 8080)
//	  -first n     the first worker's port; the others have the next ones
//	               (default 9002)
//	  -no-open     do not open the page in a browser
//
//	example: go run ./scripts/lab -workers 5 -long 4s
//
// It builds the programs into a temporary directory, starts them, opens the page
// in a browser, and goes on until Ctrl-C. Then the broker stops, and after it the
// workers. What a program prints is shown with its name in front, as
// [scripts/demo] does it. A port of 0 is any that is free.
//
// The page gives orders (broker -control), so that a class needs nothing else. The
// work is scaled down: a comparison is over in a minute. A worker that ends, or is
// killed to see what happens then, does not end the lab; the broker does.
//
// [scripts/demo]: ../demo
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/neterr"
	"balancelab/internal/programs"
)

const usage = `usage: go run ./scripts/lab [flags]

  -workers n   how many workers (default 3)
  -slots n     how many jobs each of them does at once; 0: any number (default 1)
  -long time   how long a Long takes (default 2s)
  -short time  how long a Short takes (default 400ms)
  -port n      the broker's port, for clients (default 8000)
  -page n      the page's port (default 8080)
  -first n     the first worker's port; the others have the next ones
               (default 9002)
  -no-open     do not open the page in a browser

example: go run ./scripts/lab -workers 5 -long 4s
`

// maxWorkers is as many as a class may want to see. Each is a process.
const maxWorkers = 100

// patience is how long the broker may take to say where its page is.
const patience = time.Minute

// kept is how many bytes of what a program has printed are kept, after they were
// shown: a lab may run all day.
const kept = 64 << 10

// draining is for how long the broker finishes what it has when the lab ends. The
// lab kills programs that take longer than [programs.Grace].
const draining = "10s"

// waiting is for how long a request may wait in the broker, and at its worker: what
// a queue does is to be seen.
const waiting = "10m"

// name is what this program calls itself, in front of its own lines.
const name = "lab"

func main() { cli.Main(cli.Checked(name, run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine(name, usage, stdout, stderr)
	var p plan
	line.IntVar(&p.workers, "workers", 3, "")
	line.IntVar(&p.slots, "slots", 1, "")
	line.DurationVar(&p.long, "long", 2*time.Second, "")
	line.DurationVar(&p.short, "short", 400*time.Millisecond, "")
	line.IntVar(&p.port, "port", 8000, "")
	line.IntVar(&p.page, "page", 8080, "")
	line.IntVar(&p.first, "first", 9002, "")
	noOpen := line.Bool("no-open", false, "")
	if code, ok := line.Parse(args); !ok {
		return code
	}
	if err := p.check(); err != nil {
		return line.Wrong("%v", err)
	}
	l := &lab{plan: p, listing: &programs.Listing{W: stdout}}
	if !*noOpen {
		l.opener = opener
	}
	if err := l.show(ctx); err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// A plan says what is started.
type plan struct {
	workers, slots    int
	long, short       time.Duration
	port, page, first int // 0 for any
}

// check returns what is wrong with a plan, or nil.
func (p plan) check() error {
	switch {
	case p.workers < 1 || p.workers > maxWorkers:
		return fmt.Errorf("-workers must be from 1 to %d: %d", maxWorkers, p.workers)
	case p.slots < 0:
		return fmt.Errorf("-slots must not be negative: %d", p.slots)
	case min(p.long, p.short) < 0:
		return fmt.Errorf("a time must not be negative: %v", min(p.long, p.short))
	}
	for _, a := range p.addrs() {
		if _, port, err := net.SplitHostPort(a.addr); err != nil || !isPort(port) {
			return fmt.Errorf("%s gives %s the port %s: want one from 0 to 65535", a.flag, a.name, port)
		}
	}
	return nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n <= 65535
}

// An address is one that a program of a plan listens at.
type address struct {
	name string // of the program
	addr string
	flag string // that says so
}

// addrs returns those of the workers, in order, of the broker and of its page.
func (p plan) addrs() (all []address) {
	local := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	for i := range p.workers {
		port := p.first
		if port != 0 {
			port += i
		}
		all = append(all, address{fmt.Sprintf("worker-%d", i+1), local(port), "-first"})
	}
	return append(all, address{"broker", local(p.port), "-port"}, address{"the page", local(p.page), "-page"})
}

// taken returns an error that names an address which can't be had, and the flag for
// another one. It is asked first, so that nothing is built in vain, and nothing is
// left to explain that a program could not start.
func (p plan) taken() error {
	for _, a := range p.addrs() {
		l, err := net.Listen("tcp", a.addr)
		switch neterr.KindOf(err) {
		case neterr.InUse:
			return fmt.Errorf("%s is in use, which %s needs: stop the program that has it (another lab?), or choose another port with %s", a.addr, a.name, a.flag)
		case neterr.NoPermission:
			return fmt.Errorf("%s, which %s needs, is reserved on this system: choose a port %s with %s", a.addr, a.name, neterr.Unreserved, a.flag)
		}
		if err != nil {
			return fmt.Errorf("listen on %s for %s: %w", a.addr, a.name, err)
		}
		defer l.Close() // two programs can't have the same port either
	}
	return nil
}

// A lab is a set of running programs.
type lab struct {
	plan    plan
	listing *programs.Listing
	opener  func(url string) *exec.Cmd // opens the page; nil: nothing does
	ready   func(url string)           // is told when all runs; nil: nobody is
	set     programs.Set               // the workers, and then the broker
	broker  *programs.Program          // nil if it has not started
}

func (l *lab) say(format string, args ...any) {
	l.listing.Show(name, '|', fmt.Sprintf(format, args...))
}

// show runs the lab until ctx is done, or until its broker has ended. When it
// returns, nothing that it started is running, but a browser.
func (l *lab) show(ctx context.Context) error {
	if err := l.plan.taken(); err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "lab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	l.set.Dir = bin
	l.say("Building broker and worker...")
	err = programs.Build(ctx, bin, "broker", "worker")
	if err == nil {
		err = l.perform(ctx)
	}
	if ctx.Err() != nil {
		l.say("Stopping...")
		err = nil // whatever was going on was to end
	}
	if l.broker != nil {
		err = cmp.Or(err, l.broker.Stop()) // before the workers: what waits in it needs them
	}
	if err = cmp.Or(err, l.set.Stop()); err == nil {
		l.say("Everything is stopped.")
	}
	return err
}

// perform starts the programs, and returns when ctx is done, or the broker has
// ended.
func (l *lab) perform(ctx context.Context) error {
	workers, err := l.startWorkers(ctx)
	if err != nil {
		return err
	}
	broker, url, err := l.startBroker(ctx, workers)
	l.broker = broker
	if err != nil {
		return err
	}
	l.say("The page is at %s", url)
	l.say("Requests from another terminal: go run ./cmd/client -broker %s -n 30 -c 30 Long round_robin", broker.Addr())
	l.say("Ctrl-C stops everything.")
	opened := l.open(url)
	if l.ready != nil {
		l.ready(url)
	}
	return l.watch(ctx, broker, workers, opened, url)
}

// watch says what becomes of the programs and the browser, until ctx is done or the
// broker has ended.
func (l *lab) watch(ctx context.Context, broker *programs.Program, workers []*programs.Program, opened <-chan error, url string) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan *programs.Program)
	for _, w := range workers {
		watching.Go(func() { tell(ctx, w, ended) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-broker.Gone():
			return fmt.Errorf("the broker has ended (%s)", broker.State())
		case w := <-ended:
			_ = w.Stop() // so that the lab's own end does not return this as an error
			l.say("%s has ended (%s)", w.Name, w.State())
		case err := <-opened:
			opened = nil
			if err != nil {
				l.say("No browser could be opened (%v): open %s yourself.", err, url)
			}
		}
	}
}

// tell sends a program when it has ended, unless ctx is done.
func tell(ctx context.Context, p *programs.Program, ended chan<- *programs.Program) {
	select {
	case <-p.Gone():
	case <-ctx.Done():
		return
	}
	select {
	case ended <- p:
	case <-ctx.Done():
	}
}

func (l *lab) startWorkers(ctx context.Context) (all []*programs.Program, err error) {
	for i, a := range l.plan.addrs()[:l.plan.workers] {
		w, err := l.serve(ctx, a.name, "worker", "-listen", a.addr, "-slots", strconv.Itoa(l.plan.slots),
			"-long", l.plan.long.String(), "-short", l.plan.short.String(), strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// startBroker returns the broker, and the URL of its page.
func (l *lab) startBroker(ctx context.Context, workers []*programs.Program) (broker *programs.Program, url string, err error) {
	var list []string
	for _, w := range workers {
		list = append(list, w.Addr())
	}
	at := l.plan.addrs()[l.plan.workers:]
	broker, err = l.serve(ctx, "broker", "broker", "-listen", at[0].addr, "-workers", strings.Join(list, ","), "-status", at[1].addr, "-control",
		"-queue-timeout", waiting, "-answer-timeout", waiting, "-drain-timeout", draining)
	if err != nil {
		return nil, "", err
	}
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = broker.Until(late, "where its page is", func() bool {
		url = pageIn(broker.Stdout.Lines())
		return url != ""
	})
	return broker, url, err
}

// pageIn returns the URL of the page that one of the broker's lines names; "" if
// none does.
func pageIn(lines []string) string {
	for _, line := range lines {
		if url, ok := strings.CutPrefix(line, "[Broker] Status page on "); ok {
			return url
		}
	}
	return ""
}

// serve starts a program and returns when it listens.
func (l *lab) serve(ctx context.Context, name, program string, args ...string) (*programs.Program, error) {
	l.listing.Show(name, '$', program+" "+strings.Join(args, " "))
	screen := &programs.Screen{Line: func(line string) { l.listing.Show(name, '|', line) }, Most: kept}
	cmd := l.set.Command(program, args...)
	cmd.Stdout, cmd.Stderr = screen, screen
	return l.set.Serve(ctx, name, cmd)
}

// open opens a URL in a browser. The channel gets what has come of it, which may
// be never: some openers run for as long as the browser. Such a one is left alone.
func (l *lab) open(url string) <-chan error {
	opened := make(chan error, 1)
	if l.opener == nil {
		return opened
	}
	cmd := l.opener(url)
	if err := cmd.Start(); err != nil {
		opened <- err
		return opened
	}
	go func() { opened <- cmd.Wait() }()
	return opened
}
