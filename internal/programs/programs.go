// Package programs builds the lab's real programs, starts them, watches what
// they write, and stops them: for the scripts and the tests, which show,
// measure and check what a user would run.
//
//	err := programs.Build(ctx, dir, "broker", "worker")
//	set := programs.Set{Dir: dir}
//	defer set.Stop()
//	worker, err := set.Serve(ctx, "worker-1", set.Command("worker", "-listen", "127.0.0.1:0", "1"))
//	... worker.Addr() ...
//	err = worker.Until(ctx, "a job", func() bool {
//		return strings.Contains(worker.Stdout.String(), "Processing")
//	})
//
// A command is an [exec.Cmd], so that any other program can be started in the
// same way: HAProxy, or a shell that lowers a limit first.
//
// Nothing here sleeps until a server is "probably up": a server's Listening
// line says that it is, and its end says that it never will be. Nothing is
// started that is not waited for, and [Set.Stop] leaves nothing behind.
//
// A program that is stopped gets the time to finish what it has in flight. Ours
// are told by the end of their standard input ([cli.StopAtEnd]), which is there
// on every system, and which comes also when the script that started them is
// killed. Others are told by SIGTERM. On Windows, which has no such thing, they
// are killed.
//
// Not here: what a program's lines mean, but for the one that says where it
// listens.
package programs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/version"
)

// Patience is how long a server may take until it listens.
const Patience = time.Minute

// Grace is how long a program may take to stop. It includes a Long.
const Grace = 15 * time.Second

// outputGrace is how long a program that has ended may go on writing, which
// only what it has started and left can do.
const outputGrace = 5 * time.Second

// ErrInterrupted says that a script was told to stop, and that nothing which it
// started is running.
var ErrInterrupted = errors.New("interrupted; everything is stopped")

// Build builds the commands of these names into the directory dir; with the
// race detector if this program has it. They are not stamped with the state of
// the repository: they do not live long enough to be asked. The error is
// [ErrInterrupted] if ctx is done before the end.
func Build(ctx context.Context, dir string, names ...string) error {
	args := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	if version.RaceDetector {
		args = append(args, "-race")
	}
	for _, name := range names {
		args = append(args, "balancelab/cmd/"+name)
	}
	output, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ErrInterrupted
	case err != nil:
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(output))
	}
	return nil
}

// A Set is a set of running programs. Its methods may be called from any
// goroutine.
type Set struct {
	// Dir is where Build has put the programs.
	Dir string

	mu      sync.Mutex // guards started
	started []*Program
}

// Command returns the command that runs one of the programs in Dir.
func (s *Set) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.Dir, name), args...)
	// With the race detector it would wait for a second at its exit.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Joined makes cmd write standard output and standard error to one [Screen],
// whose Line is line; nil means none. It returns cmd.
func Joined(cmd *exec.Cmd, line func(string)) *exec.Cmd {
	s := &Screen{Line: line}
	cmd.Stdout, cmd.Stderr = s, s
	return cmd
}

// Start starts a command, in a process group of its own, and waits for nothing.
// The name is for errors. A stream for which cmd has no writer gets a new
// [Screen]. The standard input of a program in Dir belongs to the set. The
// caller leaves cmd alone afterwards.
func (s *Set) Start(name string, cmd *exec.Cmd) (*Program, error) {
	p, err := s.start(name, cmd)
	if err != nil {
		return nil, err
	}
	p.mustEndWell.Store(s.isOurs(cmd))
	return p, nil
}

// isOurs reports whether cmd runs one of the programs in Dir.
func (s *Set) isOurs(cmd *exec.Cmd) bool { return filepath.Dir(cmd.Path) == filepath.Clean(s.Dir) }

func (s *Set) start(name string, cmd *exec.Cmd) (*Program, error) {
	p := &Program{Name: name, cmd: cmd, gone: make(chan struct{})}
	p.Stdout, cmd.Stdout = screenOf(cmd.Stdout)
	p.Stderr, cmd.Stderr = screenOf(cmd.Stderr)
	cmd.WaitDelay = outputGrace
	ownGroup(cmd)
	if s.isOurs(cmd) {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		p.stdin, cmd.Env = stdin, append(cmd.Environ(), cli.StopAtEnd)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.mu.Lock()
	s.started = append(s.started, p)
	s.mu.Unlock()
	go p.reap()
	return p, nil
}

// screenOf returns the screen that w is, and what to write to. A writer of
// another kind has an empty screen.
func screenOf(w io.Writer) (*Screen, io.Writer) {
	switch w := w.(type) {
	case nil:
		s := new(Screen)
		return s, s
	case *Screen:
		return w, w
	}
	return new(Screen), w
}

// Run is Start for a program that ends by itself: it returns when it has. When
// ctx is done before, the program is stopped, and the error says what it has
// written. How the program has ended is for the caller to judge: see
// [Program.Code].
func (s *Set) Run(ctx context.Context, name string, cmd *exec.Cmd) (*Program, error) {
	p, err := s.start(name, cmd)
	if err != nil {
		return nil, err
	}
	if err := p.Wait(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Serve is Start for a broker or a worker: it returns when the program
// listens, or with the reason why it does not, at the latest after [Patience].
// It needs -log text or json, and standard output on a [Screen]. A program that
// runs and does not listen is left to [Set.Stop].
func (s *Set) Serve(ctx context.Context, name string, cmd *exec.Cmd) (*Program, error) {
	p, err := s.Start(name, cmd)
	if err != nil {
		return nil, err
	}
	late, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	switch err := p.await(late, p.listens); err {
	case nil:
		return p, nil
	case errGone:
		p.mustEndWell.Store(false)
		return nil, fmt.Errorf("%s did not start (%s): %s", name, p.State(), p.Said())
	default:
		return nil, fmt.Errorf("%s did not say within %v that it listens", name, Patience)
	}
}

// Started returns every program that was started, in order.
func (s *Set) Started() []*Program {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.started)
}

// Stop stops what still runs and waits until it is gone. All are told before
// any is waited for, so that a second Ctrl-C, which ends this program at once,
// leaves nothing behind for long. Stop returns the first error of
// [Program.Stop] that nothing has returned before. It may be called twice.
func (s *Set) Stop() error {
	started := s.Started()
	for _, p := range slices.Backward(started) {
		p.tell()
	}
	var first error
	for _, p := range slices.Backward(started) {
		first = cmp.Or(first, p.end())
	}
	return first
}
