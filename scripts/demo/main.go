// Demo plays the session of the course notes on the real programs, and checks
// which worker answered.
//
//	usage: go run ./scripts/demo
//
// It builds the client, the broker and the worker into a temporary directory,
// starts three workers and the broker as the notes do, without a flag, and then
// runs the notes' six commands one after another. What a program prints is
// shown as it comes, with the program's name in front:
//
//	worker-1 $ worker 1
//	worker-1 | [Worker-1] Listening on port 9002...
//
// A $ marks what was run, a | what it printed. It ends with one line that says
// what was checked and exit code 0, or with one that says what is wrong and
// exit code 1. Either way, and after Ctrl-C too, all that it started is gone.
//
// # What a demo can teach
//
// How programs are started, known to listen, and stopped is in the package
// internal/programs. After Ctrl-C the servers first finish what they have in
// flight: seconds, if that is a Long.
//
// Lines of two programs that come at the same moment may change places, with
// one exception: a client's answer is held back until the broker's line about
// it is there.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/programs"
)

const usage = `usage: go run ./scripts/demo
`

// patience is how long one step may take. The longest is a Long: 5 seconds.
const patience = time.Minute

// A server is a program that runs until it is stopped.
type server struct {
	name string
	line string // what to run: words, with a space between two
}

// A step is one command of the course notes.
type step struct {
	line   string
	worker string // the one that is to answer
}

var servers = []server{
	{"worker-1", "worker 1"},
	{"worker-2", "worker 2"},
	{"worker-3", "worker 3"},
	{"broker", "broker"},
}

var session = []step{
	{"client Short round_robin", "Worker-1"},
	{"client Long least_connections", "Worker-1"},
	{"client Long round_robin", "Worker-2"},
	{"client Short least_connections", "Worker-2"},
	{"client Short round_robin", "Worker-3"},
	{"client Short round_robin", "Worker-1"},
}

func main() { cli.Main(cli.Checked("demo", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("demo", usage, stdout, stderr)
	if code, ok := line.Parse(args); !ok {
		return code
	}
	bin, err := os.MkdirTemp("", "demo")
	if err != nil {
		return line.Fail(err)
	}
	defer os.RemoveAll(bin)
	screen := &programs.Listing{W: stdout}
	screen.Show("demo", '|', "Building client, broker and worker...")
	if err := programs.Build(ctx, bin, "client", "broker", "worker"); err != nil {
		return line.Fail(err)
	}
	if err := newLab(bin, screen).play(ctx, servers, session); err != nil {
		return line.Fail(err)
	}
	screen.Show("demo", '|', fmt.Sprintf("Checked: %d commands were answered by Worker %s, as in the course notes, and every program has stopped.",
		len(session), numbers(expected(session))))
	return cli.OK
}

// A lab is a set of running programs.
type lab struct {
	set    programs.Set
	screen *programs.Listing
	broker *programs.Program // the last of the servers
}

func newLab(bin string, s *programs.Listing) *lab {
	return &lab{set: programs.Set{Dir: bin}, screen: s}
}

// play starts the servers, runs the steps one after another, and checks
// which worker answered. When it returns, nothing that it started is running.
func (l *lab) play(ctx context.Context, servers []server, steps []step) error {
	answered, err := l.perform(ctx, servers, steps)
	if ctx.Err() != nil {
		err = programs.ErrInterrupted
	}
	if err == nil {
		err = check(steps, answered)
	}
	return cmp.Or(err, l.set.Stop())
}

func (l *lab) perform(ctx context.Context, servers []server, steps []step) (answered []string, err error) {
	for _, s := range servers {
		if err := l.serve(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, s := range steps {
		worker, err := l.ask(ctx, s.line)
		if err != nil {
			return nil, err
		}
		answered = append(answered, worker)
	}
	return answered, nil
}

// serve starts a server and returns when it listens.
func (l *lab) serve(ctx context.Context, s server) (err error) {
	l.screen.Show(s.name, '$', s.line)
	l.broker, err = l.set.Serve(ctx, s.name, l.command(s.line, func(line string) { l.screen.Show(s.name, '|', line) }))
	return err
}

// command returns the command that line is, with its output joined.
func (l *lab) command(line string, printed func(string)) *exec.Cmd {
	words := strings.Fields(line)
	return programs.Joined(l.set.Command(words[0], words[1:]...), printed)
}

// answered returns the workers that the broker says have answered, in order.
func (l *lab) answered() (workers []string) {
	for _, line := range l.broker.Stdout.Lines() {
		if worker, ok := answeredBy(line); ok {
			workers = append(workers, worker)
		}
	}
	return workers
}

// answeredBy returns the worker that a line of the broker names as the one that
// answered.
func answeredBy(line string) (worker string, ok bool) {
	rest, ok := strings.CutPrefix(line, "[Broker] Response from ")
	if !ok {
		return "", false
	}
	worker, _, ok = strings.Cut(rest, ":")
	return worker, ok
}

// ask runs one client to its end and returns which worker the broker says has
// answered it.
func (l *lab) ask(ctx context.Context, line string) (worker string, err error) {
	const name = "client"
	l.screen.Show(name, '$', line)
	before := len(l.answered())
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := l.set.Run(late, name, l.command(line, nil))
	switch {
	case late.Err() != nil:
		return "", fmt.Errorf("%q had no answer within %v", line, patience)
	case err != nil:
		return "", err
	}
	if p.Code() == 0 && l.broker.Until(late, "which worker answered", func() bool { return len(l.answered()) > before }) != nil {
		err = fmt.Errorf("%q was answered, but the broker did not say by which worker", line)
	}
	for text := range strings.Lines(p.Stdout.String()) {
		l.screen.Show(name, '|', strings.TrimSuffix(text, "\n"))
	}
	if p.Code() != 0 {
		reason, _, _ := strings.Cut(p.Said(), "\n")
		return "", fmt.Errorf("%q failed (%s): %s", line, p.State(), reason)
	}
	if err != nil {
		return "", err
	}
	return l.answered()[before], nil
}

// check compares the workers that answered with those that had to answer.
func check(steps []step, answered []string) error {
	want := expected(steps)
	if slices.Equal(answered, want) {
		return nil
	}
	for i, s := range steps {
		if i == len(answered) {
			return fmt.Errorf("command %d, %q, was not answered, want %s", i+1, s.line, s.worker)
		}
		if answered[i] != s.worker {
			return fmt.Errorf("command %d, %q, was answered by %s, want %s: the order was %s, the course notes have %s",
				i+1, s.line, answered[i], s.worker, numbers(answered), numbers(want))
		}
	}
	return fmt.Errorf("%d answers to %d commands", len(answered), len(steps))
}

func expected(steps []step) (workers []string) {
	for _, s := range steps {
		workers = append(workers, s.worker)
	}
	return workers
}

// numbers shortens Worker-1, Worker-2 to 1, 2.
func numbers(workers []string) string {
	return strings.ReplaceAll(strings.Join(workers, ", "), "Worker-", "")
}
