// Package bench is what the benchmarks share: the built programs in a temporary
// directory, free ports, a server that is waited for until it answers, a load
// run whose report is read, and a table in Markdown.
//
// Not here: what is measured, and against what.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 10 * time.Second

// A Lab is a set of the real programs, and a directory for what a run writes.
type Lab struct {
	programs.Set // in a temporary directory, with configurations and logs
}

// Open makes the directory, whose name begins with name, and builds the three
// programs into it. After an error nothing is left of it; otherwise the caller
// closes the lab.
func (l *Lab) Open(ctx context.Context, name string) (err error) {
	if l.Dir, err = os.MkdirTemp("", name); err != nil {
		return err
	}
	if err := programs.Build(ctx, l.Dir, "client", "broker", "worker"); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// Close stops what still runs and removes the files. It may be called twice.
func (l *Lab) Close() error { return errors.Join(l.Stop(), os.RemoveAll(l.Dir)) }

// StartReady starts a server and waits until each of ready returns nil. It
// calls them again and again. A server that is not ready in time is stopped.
func (l *Lab) StartReady(ctx context.Context, name string, cmd *exec.Cmd, ready ...func(context.Context) error) (*programs.Program, error) {
	p, err := l.Start(name, cmd)
	if err != nil {
		return nil, err
	}
	late, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, r := range ready {
		if err := await(late, p, r); err != nil {
			_ = p.Stop() // err says more
			return nil, err
		}
	}
	return p, nil
}

func await(ctx context.Context, p *programs.Program, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Gone():
			return fmt.Errorf("%s did not start (%s): %s", p.Name, p.State(), p.Said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", p.Name, err, p.Said())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Answers returns what asks the server at addr for a Short. Its error says why
// that was not answered.
func Answers(addr string) func(context.Context) error {
	dial := func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, addr, 0) }
	return func(ctx context.Context) error {
		_, err := protocol.Ask(ctx, dial, protocol.Request{Type: protocol.Short, Approach: protocol.LeastConnections})
		return err
	}
}

// Replies is Answers for a server whose refusal will do.
func Replies(addr string) func(context.Context) error {
	answers := Answers(addr)
	return func(ctx context.Context) error {
		err := answers(ctx)
		if refusal := (*protocol.RefusalError)(nil); errors.As(err, &refusal) {
			return nil
		}
		return err
	}
}

// Address returns that of a port of this machine.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreePorts returns n ports on which nothing listens. They are not those that the
// system would hand out: it hands the same ones out to outgoing connections,
// of which a run makes so many that one would soon have taken them.
func FreePorts(n int) ([]int, error) {
	const first, last = 20000, 32000 // Linux hands out from 32768 on
	var found []int
	for range 1000 {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			continue
		}
		l.Close()
		if slices.Contains(found, port) {
			continue
		}
		found = append(found, port)
		if len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("there are no %d free ports between %d and %d", n, first, last)
}

// Machine says in a line where the figures come from.
func Machine() string {
	return fmt.Sprintf("%s, %d processors, %s/%s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// processor returns what the machine calls its processors.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it they have no name
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "processor unknown"
}

// NeedsProc returns an error where there is no /proc to measure with.
func NeedsProc() error {
	if runtime.GOOS != "linux" {
		return errors.New("this needs Linux: CPU time and memory are read from /proc")
	}
	return nil
}

// Children returns the ids of the processes that this one has started and not
// waited for yet; "" also where the system does not list them.
func Children() (ids string) {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range files {
		text, _ := os.ReadFile(file) // without it, the thread has ended
		ids += string(text)
	}
	return ids
}
