package programs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// A Program is one that was started. Its methods may be called from any
// goroutine.
type Program struct {
	// Name is what errors call it.
	Name string
	// Stdout and Stderr are what it has written so far. One whose command has
	// a writer that is no Screen stays empty.
	Stdout, Stderr *Screen

	cmd         *exec.Cmd
	stdin       io.Closer     // its end tells a program of ours to stop; nil for another one
	addr        string        // set by Serve
	mustEndWell atomic.Bool   // with exit code 0; false when an error has said that it has not
	gone        chan struct{} // closed by reap
}

// reap waits until the program has ended, and ends what it has left.
func (p *Program) reap() {
	_ = p.cmd.Wait() // the process state says the same
	killGroup(p.cmd.Process)
	p.Stdout.end()
	p.Stderr.end()
	close(p.gone)
}

// Gone returns a channel that is closed when the program has ended, its lines
// are out, and nothing is left of its process group.
func (p *Program) Gone() <-chan struct{} { return p.gone }

// State says in words how the program ended. It is for after Gone.
func (p *Program) State() string { return p.cmd.ProcessState.String() }

// Code returns the exit code, or -1 if a signal ended the program. It is for
// after Gone.
func (p *Program) Code() int { return p.cmd.ProcessState.ExitCode() }

// Pid returns the id of the program's process.
func (p *Program) Pid() int { return p.cmd.Process.Pid }

// Addr returns where a program that [Set.Serve] has started listens.
func (p *Program) Addr() string { return p.addr }

// Said returns all that is on the program's screens, for an error's text.
func (p *Program) Said() string {
	text := p.Stdout.String()
	if p.Stderr != p.Stdout {
		text += p.Stderr.String()
	}
	return strings.TrimSpace(text)
}

// Until waits until ok returns true. It calls ok now and after whatever the
// program writes. what is what ok looks for. Until returns an error, with all
// that the program has written, when the program ends or ctx is done before.
func (p *Program) Until(ctx context.Context, what string, ok func() bool) error {
	switch err := p.await(ctx, ok); err {
	case nil:
		return nil
	case errGone:
		return fmt.Errorf("%s ended (%s) before it showed %s; it showed:\n%s", p.Name, p.State(), what, p.Said())
	default:
		return fmt.Errorf("%s has not shown %s (%w); it showed:\n%s", p.Name, what, err, p.Said())
	}
}

var errGone = errors.New("the program has ended")

// await waits until ok returns true. Otherwise its error is errGone or that of
// ctx.
func (p *Program) await(ctx context.Context, ok func() bool) error {
	for {
		more, moreErrors := p.Stdout.changed(), p.Stderr.changed()
		if ok() {
			return nil
		}
		select {
		case <-more:
		case <-moreErrors:
		case <-p.gone:
			if !ok() {
				return errGone
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Wait waits until the program has ended. It returns an error, with all that
// the program has written, when ctx is done before.
func (p *Program) Wait(ctx context.Context) error {
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s has not ended (%w); it showed:\n%s", p.Name, ctx.Err(), p.Said())
	}
}

// Signal sends a signal to the program. If that has ended, the error is
// [os.ErrProcessDone].
func (p *Program) Signal(s os.Signal) error {
	var err error
	select {
	case <-p.gone: // on Windows a process that was waited for is an invalid argument
		err = os.ErrProcessDone
	default:
		err = p.cmd.Process.Signal(s)
	}
	if err != nil {
		return fmt.Errorf("signal %v to %s: %w", s, p.Name, err)
	}
	return nil
}

// Kill kills the program with all that it has started, and returns when it is
// gone.
func (p *Program) Kill() {
	select {
	case <-p.gone: // as in tell
	default:
		killGroup(p.cmd.Process)
		<-p.gone
	}
}

// Stop tells the program to stop, waits until it is gone, and kills it after
// [Grace]. On Windows a program that is not ours is killed at once. The error
// says that it had to be killed, or that a program of ours that was started by
// Start or Serve did not end with exit code 0. What another program ends with
// is its own affair: HAProxy has 143.
func (p *Program) Stop() error {
	p.tell()
	return p.end()
}

// tell tells the program to stop.
func (p *Program) tell() {
	if p.stdin != nil {
		_ = p.stdin.Close() // an error says that it is closed
		return
	}
	select {
	case <-p.gone: // its number may be another program's by now
	default:
		tell(p.cmd.Process)
	}
}

// end waits until the program, which was told to stop, is gone.
func (p *Program) end() error {
	select {
	case <-p.gone:
	case <-time.After(Grace):
		p.Kill()
		return fmt.Errorf("%s did not stop within %v and was killed", p.Name, Grace)
	}
	if p.mustEndWell.Swap(false) && p.Code() != 0 {
		return fmt.Errorf("%s did not stop in good order (%s)", p.Name, p.State())
	}
	return nil
}

// listens reports whether the program says that it listens, and remembers
// where.
func (p *Program) listens() bool {
	for _, line := range p.Stdout.Lines() {
		if port, ok := listeningPort(line); ok {
			p.addr = net.JoinHostPort("127.0.0.1", port)
			return true
		}
	}
	return false
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
