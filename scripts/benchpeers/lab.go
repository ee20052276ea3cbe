package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// How long one step may take.
const (
	startTimeout = 10 * time.Second // a server's start, and its first answer
	stopTimeout  = 10 * time.Second // a server's stop; then it is killed
	loadTimeout  = 2 * time.Minute  // one run of the client
)

// A lab is what a run needs: the built programs, the ports, the workers.
type lab struct {
	ports
	size    size
	root    string // of this module
	dir     string // temporary: programs, configurations, output
	started []*server
	// idle is how many files the workers have open when they have nothing to
	// do: the fewest that were seen.
	idle int
}

// newLab builds the programs. The caller closes the lab.
func newLab(ctx context.Context, s size) (l *lab, err error) {
	l = &lab{size: s}
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	l.root = filepath.Dir(string(bytes.TrimSpace(gomod)))
	if l.ports, err = freePorts(); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp("", "benchpeers"); err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", l.dir+string(filepath.Separator),
		"balancelab/cmd/client", "balancelab/cmd/broker", "balancelab/cmd/worker")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(output)), l.close())
	}
	return l, nil
}

// close stops what still runs and removes the files. All are told before any is
// waited for, so that a second Ctrl-C, which ends the run at once, leaves
// nothing behind for long. It may be called twice.
func (l *lab) close() error {
	for _, s := range l.started {
		s.terminate()
	}
	var errs []error
	for _, s := range slices.Backward(slices.Clone(l.started)) {
		errs = append(errs, l.stop(s))
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

func (l *lab) startWorkers(ctx context.Context) error {
	for i, port := range l.workers {
		id := strconv.Itoa(i + 1)
		_, err := l.start(ctx, "Worker-"+id, []string{address(port)},
			filepath.Join(l.dir, "worker"), "-listen", address(port), "-short", "0s", "-long", "5s",
			"-drain-timeout", "0s", "-log", "off", id)
		if err != nil {
			return err
		}
	}
	// A worker may not have closed the connection yet by which it was found to
	// answer, and there is no event that says when.
	l.idle = math.MaxInt
	for range 5 {
		if _, err := l.waiting(); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// waiting returns how many requests wait in the workers. Each one is a file
// that a worker has open.
func (l *lab) waiting() (int, error) {
	sum := 0
	for _, s := range l.started[:len(l.workers)] {
		n, err := openFiles(s.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	l.idle = min(l.idle, sum)
	return sum - l.idle, nil
}

// startPeer starts a peer, which is to be stopped by the caller; nil if the
// peer is nobody.
func (l *lab) startPeer(ctx context.Context, p peer) (*server, error) {
	if p.command == nil {
		return nil, nil
	}
	addrs := []string{p.address(l, protocol.LeastConnections), p.address(l, protocol.RoundRobin)}
	return l.start(ctx, p.name, addrs, p.command(l)...)
}

// A server is a program that runs until it is stopped.
type server struct {
	name   string
	cmd    *exec.Cmd
	output *os.File      // all that it prints
	gone   chan struct{} // closed when it has ended
}

// start starts a server and waits until it answers a request at each of addrs.
func (l *lab) start(ctx context.Context, name string, addrs []string, args ...string) (*server, error) {
	output, err := os.CreateTemp(l.dir, "output")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, cmd: exec.Command(args[0], args[1:]...), output: output, gone: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = output, output
	ownGroup(s.cmd)
	if err := s.cmd.Start(); err != nil {
		output.Close()
		return nil, err
	}
	l.started = append(l.started, s)
	go s.wait()
	late, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, addr := range addrs {
		if err := s.answers(late, addr); err != nil {
			return nil, errors.Join(err, l.stop(s))
		}
	}
	return s, nil
}

func (s *server) wait() {
	_ = s.cmd.Wait() // the process state says the same
	close(s.gone)
}

// answers waits until a Short is answered at addr.
func (s *server) answers(ctx context.Context, addr string) error {
	for {
		err := askShort(ctx, addr)
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("%s did not start (%v): %s", s.name, s.cmd.ProcessState, s.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", s.name, err, s.said())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// said returns the beginning of what the server has printed.
func (s *server) said() string {
	const most = 500
	text, err := os.ReadFile(s.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[:min(len(text), most)]))
}

// askShort sends a Short to addr and reads the answer.
func askShort(ctx context.Context, addr string) error {
	dial := func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, addr, 0) }
	_, err := protocol.Ask(ctx, dial, protocol.Request{Type: protocol.Short, Approach: protocol.LeastConnections})
	return err
}

// terminate tells a server to stop.
func (s *server) terminate() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error says that it is gone
}

// stop stops a server, waits until it is gone, and throws away its output.
func (l *lab) stop(s *server) error {
	if s == nil {
		return nil
	}
	l.started = slices.DeleteFunc(l.started, func(other *server) bool { return other == s })
	s.terminate()
	var err error
	select {
	case <-s.gone:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("%s did not stop within %v and was killed", s.name, stopTimeout)
		killGroup(s.cmd)
		<-s.gone
	}
	return errors.Join(err, s.output.Close(), os.Remove(s.output.Name()))
}
