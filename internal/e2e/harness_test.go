package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"testing"

	"balancelab/internal/programs"
)

// patience is how long a test waits for what must come. It is there against
// hanging: a test that needs all of it has failed.
const patience = programs.Patience

// names are those of the programs.
var names = []string{"client", "broker", "worker"}

// set is all that the tests start.
var set programs.Set

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "balancelab-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	set.Dir = dir
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt)
	defer restore()
	if err := programs.Build(ctx, dir, names...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// A terminal's Ctrl-C does not reach the programs.
	leave := context.AfterFunc(ctx, func() {
		for _, p := range set.Started() {
			p.Kill()
		}
		_ = os.RemoveAll(dir)
		os.Exit(1)
	})
	defer leave()
	return m.Run()
}

// A program is a running one. Its methods are for the test's own goroutine.
type program struct {
	*programs.Program
	t    *testing.T
	addr string // where it listens, if that is known
}

// start starts a server and waits until it listens.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return startCommand(t, name, set.Command(name, args...))
}

func startCommand(t *testing.T, name string, cmd *exec.Cmd) *program {
	t.Helper()
	started, err := set.Serve(t.Context(), name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return watch(t, started)
}

// launch starts a program and waits for nothing.
func launch(t *testing.T, name string, cmd *exec.Cmd) *program {
	t.Helper()
	started, err := set.Start(name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return watch(t, started)
}

// watch has the program killed at the end of the test, if it still runs, and
// its standard error looked at.
func watch(t *testing.T, started *programs.Program) *program {
	t.Cleanup(func() {
		started.Kill()
		if err := crash(started.Name, started.Stderr.String()); err != nil {
			t.Error(err)
		}
	})
	return &program{Program: started, t: t, addr: started.Addr()}
}

var trace = regexp.MustCompile(`panic|fatal error: |DATA RACE|goroutine \d+ \[`)

// crash returns an error if there is, on a program's standard error, what must
// never be there: a panic, a stack trace, a data race.
func crash(name, stderr string) error {
	if trace.MatchString(stderr) {
		return fmt.Errorf("%s wrote to standard error:\n%s", name, stderr)
	}
	return nil
}

func TestCrash(t *testing.T) {
	for text, bad := range map[string]bool{
		"panic: runtime error: index out of range\n":                       true,
		"broker: a handler's panic: runtime error\ngoroutine 7 [running]:": true,
		"goroutine 1 [chan receive]:\n":                                    true,
		"fatal error: all goroutines are asleep - deadlock!\n":             true,
		"==================\nWARNING: DATA RACE\n":                         true,
		"broker: listen on 127.0.0.1:8000: the address is in use\n":        false,
		"": false,
	} {
		if got := crash("broker", text) != nil; got != bad {
			t.Errorf("%q: %v, want %v", text, got, bad)
		}
	}
}

// line waits for a line of standard output that matches pattern and returns the
// match and its groups.
func (p *program) line(pattern string) []string {
	p.t.Helper()
	return p.linesLike(pattern, 1)[0]
}

// linesLike waits for at least n lines that match pattern.
func (p *program) linesLike(pattern string, n int) (found [][]string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	err := p.Until(ctx, fmt.Sprintf("%d lines like %q", n, pattern), func() bool {
		found = p.matches(pattern)
		return len(found) >= n
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// matches returns the lines so far that match pattern, each with its groups.
func (p *program) matches(pattern string) (found [][]string) {
	re := regexp.MustCompile(pattern)
	for _, line := range p.Stdout.Lines() {
		if m := re.FindStringSubmatch(line); m != nil {
			found = append(found, m)
		}
	}
	return found
}

// sync waits until the test has all that the program has printed before: it
// connects, sends an empty line, and waits for the line about that.
func (p *program) sync() {
	p.t.Helper()
	conn := connect(p.t, p.addr)
	send(p.t, conn, "\n")
	receive(p.t, conn)
	p.line(peerOf(conn))
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits until the program has exited and returns its code.
func (p *program) exit() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		p.t.Fatal(err)
	}
	return p.Code()
}

// exited reports whether the program has exited.
func (p *program) exited() bool {
	select {
	case <-p.Gone():
		return true
	default:
		return false
	}
}

// notes are what a server may say on standard error.
var notes = regexp.MustCompile(`(?m)^(broker|worker): (stopping; no (request|job) is in flight|finishing \d+ (request|job)s?, at most \S+; once more to end now|tell the broker of this worker: broker -workers \S+; or if it runs with -control: broker workers add \S+)\n`)

// complaints returns what a server wrote to standard error, but for its notes.
func (p *program) complaints() string { return notes.ReplaceAllString(p.Stderr.String(), "") }

// terminate tells the program to stop, and wants the orderly exit.
func (p *program) terminate() {
	p.t.Helper()
	if err := p.Stop(); err != nil {
		p.t.Error(err)
	}
	if code := p.exit(); code != 0 {
		p.t.Errorf("%s exited with %d after it was told to stop, want 0; it showed:\n%s", p.Name, code, p.Said())
	}
	if text := p.complaints(); text != "" {
		p.t.Errorf("%s wrote to standard error:\n%s", p.Name, text)
	}
}

// A result is what a program that ran to its end left.
type result struct {
	stdout, stderr string
	code           int
}

// finish runs a program to its end. It may be called from any goroutine.
func finish(name string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := set.Run(ctx, name, set.Command(name, args...))
	if err != nil {
		return result{}, err
	}
	r := result{p.Stdout.String(), p.Stderr.String(), p.Code()}
	return r, crash(name, r.stderr)
}

// run is finish for the test's own goroutine.
func run(t *testing.T, name string, args ...string) result {
	t.Helper()
	r, err := finish(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
