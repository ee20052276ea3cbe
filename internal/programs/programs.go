// Package programs builds the lab's real programs, starts them, and stops
// them: for the scripts, which show and measure what a user would run.
//
//	err := programs.Build(ctx, dir, "broker", "worker")
//	set := programs.Set{Dir: dir}
//	defer set.Stop()
//	worker, err := set.Serve(ctx, "worker-1", "worker -listen 127.0.0.1:0 1", nil)
//	... worker.Addr() ...
//
// Nothing here sleeps until a server is "probably up": a server's Listening
// line says that it is, and its end says that it never will be. Nothing is
// started that is not waited for, and [Set.Stop] leaves nothing behind.
//
// Where programs can be interrupted they are, and get the time to finish what
// they have in flight; on Windows they are killed.
package programs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Patience is how long a server may take until it listens.
const Patience = time.Minute

// Grace is how long a program may take to stop. It includes a Long.
const Grace = 15 * time.Second

// ErrInterrupted says that a script was told to stop, and that nothing which it
// started is running.
var ErrInterrupted = errors.New("interrupted; everything is stopped")

// Build builds the commands of these names into the directory dir. They are
// not stamped with the state of the repository: they do not live long enough
// to be asked.
func Build(ctx context.Context, dir string, names ...string) error {
	args := []string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
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

// A Set is a set of running programs. It is used by one goroutine.
type Set struct {
	// Dir is where the programs are.
	Dir string
	// Started holds every program that was started, in order.
	Started []*Program
}

// A Program is a started command.
type Program struct {
	Name string
	// Gone is closed when the program has ended and its lines are out.
	Gone chan struct{}
	// Err is how it ended; Last is its last line. Both are set before Gone is
	// closed.
	Err  error
	Last string

	cmd  *exec.Cmd
	addr string
}

// Start starts a command line whose first word is one of the programs in Dir;
// words are separated by spaces. If printed is not nil it is called with each
// line of the program's output and error output, in order, from one goroutine.
func (s *Set) Start(name, line string, printed func(line string)) (*Program, error) {
	words := strings.Fields(line)
	p := &Program{Name: name, Gone: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(s.Dir, words[0]), words[1:]...)
	out := &lineWriter{line: func(text string) {
		p.Last = text
		if printed != nil {
			printed(text)
		}
	}}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.Started = append(s.Started, p)
	go p.wait(out)
	return p, nil
}

// Serve is Start for a server: it returns when the program listens, or with
// the reason why it does not. It needs -log text or json.
func (s *Set) Serve(ctx context.Context, name, line string, printed func(line string)) (*Program, error) {
	listening := make(chan string, 1) // gets the port, once
	p, err := s.Start(name, line, func(text string) {
		if printed != nil {
			printed(text)
		}
		port, ok := listeningPort(text)
		if !ok {
			return
		}
		select {
		case listening <- port:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	late, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case port := <-listening:
		p.addr = net.JoinHostPort("127.0.0.1", port)
		return p, nil
	case <-p.Gone:
		return nil, fmt.Errorf("%s did not start (%v): %s", p.Name, p.State(), p.Last)
	case <-late.Done():
		return nil, fmt.Errorf("%s did not say within %v that it listens", p.Name, Patience)
	}
}

// listeningPort returns the port that a server's line says it listens on.
func listeningPort(line string) (port string, ok bool) {
	if _, rest, found := strings.Cut(line, "] Listening on port "); found {
		return strings.TrimSuffix(rest, "..."), true
	}
	var event struct{ Msg, Address string }
	if json.Unmarshal([]byte(line), &event) != nil || event.Msg != "listening" {
		return "", false
	}
	_, port, err := net.SplitHostPort(event.Address)
	return port, err == nil
}

// Addr returns where a program that [Set.Serve] started listens.
func (p *Program) Addr() string { return p.addr }

// State says in words how the program ended; it is for after Gone.
func (p *Program) State() string { return p.cmd.ProcessState.String() }

func (p *Program) wait(out *lineWriter) {
	p.Err = p.cmd.Wait()
	out.end()
	close(p.Gone)
}

// Stop stops what still runs and waits until it is gone. All are told before
// any is waited for, so that a second Ctrl-C, which ends this program at once,
// leaves nothing behind for long. Stop returns the first complaint.
func (s *Set) Stop() error {
	for _, p := range slices.Backward(s.Started) {
		p.interrupt()
	}
	var first error
	for _, p := range slices.Backward(s.Started) {
		first = cmp.Or(first, p.end())
	}
	return first
}

// interrupt tells p to stop, or kills it where a program cannot be told, which
// is on Windows.
func (p *Program) interrupt() {
	if p.cmd.Process.Signal(os.Interrupt) != nil {
		_ = p.cmd.Process.Kill() // an error says that it is gone
	}
}

// end waits until p, which was interrupted, is gone.
func (p *Program) end() error {
	late := time.AfterFunc(Grace, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.Gone
	if p.Err != nil && runtime.GOOS != "windows" {
		return fmt.Errorf("%s did not stop in good order (%v)", p.Name, p.State())
	}
	return nil
}

// A lineWriter calls line with each line that is written to it, without its
// end.
type lineWriter struct {
	line func(string)
	rest []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.rest = append(w.rest, b...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte{'\n'})
		if !whole {
			return len(b), nil
		}
		w.line(string(line))
		w.rest = rest
	}
}

// end passes on a last line that has no end.
func (w *lineWriter) end() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
	}
}
