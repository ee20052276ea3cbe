package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is generous: a test
// that needs all of it has failed.
const patience = 20 * time.Second

// binaries is where the programs are.
var binaries string

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
	binaries = dir
	args := []string{"build"}
	if raceDetector {
		args = append(args, "-race")
	}
	for _, name := range []string{"client", "broker", "worker"} {
		args := append(args[:len(args):len(args)], "-o", binary(name), "balancelab/cmd/"+name)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

func binary(name string) string {
	path := filepath.Join(binaries, name)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	return path
}

// command returns one of the programs, not yet started.
func command(name string, args ...string) *exec.Cmd {
	return inEnvironment(exec.Command(binary(name), args...))
}

// inEnvironment keeps a program that was built with the race detector from
// waiting for a second at its exit.
func inEnvironment(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// A screen is what a program has written so far.
type screen struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed at the next write, and replaced
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return s.text.Write(b)
}

// read returns the text so far, and a channel that is closed when there is more.
func (s *screen) read() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.text.String(), s.changed
}

func (s *screen) String() string {
	text, _ := s.read()
	return text
}

// A program is a running one. Its methods are for the test's own goroutine.
type program struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout screen
	stderr screen
	exited chan struct{} // closed when it has exited and all its output is there
	addr   string        // where it listens
	port   string
}

// start starts a server and waits until it listens.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	return startCommand(t, name, command(name, args...))
}

func startCommand(t *testing.T, name string, cmd *exec.Cmd) *program {
	t.Helper()
	p := launch(t, name, cmd)
	p.port = p.line(`(?:Listening on port |"address":"127\.0\.0\.1:)(\d+)(?:\.\.\.|"\})$`)[1]
	p.addr = "127.0.0.1:" + p.port
	return p
}

// launch starts a program and waits for nothing.
func launch(t *testing.T, name string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{t: t, name: name, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go p.wait()
	t.Cleanup(p.end)
	return p
}

func (p *program) wait() {
	_ = p.cmd.Wait() // the exit code says the same
	close(p.exited)
}

// end kills the program if it still runs, and looks for what must never be on
// anybody's standard error.
func (p *program) end() {
	_ = p.cmd.Process.Kill() // it may have exited already
	<-p.exited
	for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(p.stderr.String(), bad) {
			p.t.Errorf("%s wrote to standard error:\n%s", p.name, p.stderr.String())
			return
		}
	}
}

// lines returns the whole lines of standard output so far.
func (p *program) lines() []string { return wholeLines(p.stdout.String()) }

func wholeLines(text string) []string {
	i := strings.LastIndexByte(text, '\n')
	if i < 0 {
		return nil
	}
	return strings.Split(text[:i], "\n")
}

// line waits for a line that matches pattern and returns the match and its
// groups.
func (p *program) line(pattern string) []string {
	p.t.Helper()
	return p.linesLike(pattern, 1)[0]
}

// linesLike waits for at least n lines that match pattern.
func (p *program) linesLike(pattern string, n int) (found [][]string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%d lines like %q", n, pattern), func() bool {
		found = p.matches(pattern)
		return len(found) >= n
	})
	return found
}

// matches returns the lines so far that match pattern, each with its groups.
func (p *program) matches(pattern string) (found [][]string) {
	re := regexp.MustCompile(pattern)
	for _, line := range p.lines() {
		if m := re.FindStringSubmatch(line); m != nil {
			found = append(found, m)
		}
	}
	return found
}

// sync waits until the test has all that the program has printed before: it
// connects, says nothing, and waits for the line about that.
func (p *program) sync() {
	p.t.Helper()
	conn := connect(p.t, p.addr)
	conn.CloseWrite()
	receive(p.t, conn)
	_, port, _ := strings.Cut(conn.LocalAddr().String(), ":")
	p.line(`\('127\.0\.0\.1', ` + port + `\)`)
}

// until waits until what the program printed makes ok true.
func (p *program) until(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		_, more := p.stdout.read()
		if ok() {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			if ok() {
				return
			}
			p.t.Fatalf("%s exited before it showed %s; it showed:\n%s%s", p.name, what, p.stdout.String(), p.stderr.String())
		case <-deadline.C:
			p.t.Fatalf("%s has not shown %s; it showed:\n%s%s", p.name, what, p.stdout.String(), p.stderr.String())
		}
	}
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// kill ends the program as kill -9 does.
func (p *program) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("kill %s: %v", p.name, err)
	}
	p.exit()
}

// exit waits until the program has exited and returns its code.
func (p *program) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("%s has not exited; it showed:\n%s%s", p.name, p.stdout.String(), p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// A result is what a program that ran to its end left.
type result struct {
	stdout, stderr string
	code           int
}

// finish runs a program to its end. It may be called from any goroutine.
func finish(name string, args ...string) (result, error) {
	cmd := command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	giveUp := time.AfterFunc(patience, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	defer giveUp.Stop()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return result{}, fmt.Errorf("run %s: %w", name, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
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

// canSignal says whether a program can be stopped by SIGTERM.
const canSignal = runtime.GOOS != "windows"

// terminate sends SIGTERM and wants the orderly exit.
func (p *program) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		p.t.Errorf("%s exited with %d after SIGTERM, want 0; it showed:\n%s%s", p.name, code, p.stdout.String(), p.stderr.String())
	}
	if text := p.stderr.String(); text != "" {
		p.t.Errorf("%s wrote to standard error:\n%s", p.name, text)
	}
}
