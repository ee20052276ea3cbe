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
	"strconv"
	"time"

	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// How long one step may take.
const (
	startTimeout = 10 * time.Second // a server's start, and its first answer
	loadTimeout  = 2 * time.Minute  // one run of the client
)

// A lab is what a run needs: the built programs, the ports, the workers.
type lab struct {
	ports
	programs.Set // in a temporary directory, with configurations and logs
	size         size
	root         string              // of this module
	running      []*programs.Program // the workers
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
	if l.Dir, err = os.MkdirTemp("", "benchpeers"); err != nil {
		return nil, err
	}
	if err := programs.Build(ctx, l.Dir, "client", "broker", "worker"); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// close stops what still runs and removes the files. It may be called twice.
func (l *lab) close() error { return errors.Join(l.Stop(), os.RemoveAll(l.Dir)) }

func (l *lab) startWorkers(ctx context.Context) error {
	for i, port := range l.workers {
		id := strconv.Itoa(i + 1)
		w, err := l.start(ctx, "Worker-"+id, []string{address(port)},
			l.Command("worker", "-listen", address(port), "-short", "0s", "-long", "5s",
				"-drain-timeout", "0s", "-log", "off", id))
		if err != nil {
			return err
		}
		l.running = append(l.running, w)
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
	for _, w := range l.running {
		n, err := w.OpenFiles()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	l.idle = min(l.idle, sum)
	return sum - l.idle, nil
}

// startPeer starts a peer, which is to be stopped by the caller; nil if
// there is nothing to start. Its standard output is a file, as in use.
func (l *lab) startPeer(ctx context.Context, p peer) (*programs.Program, error) {
	if p.command == nil {
		return nil, nil
	}
	log, err := os.Create(filepath.Join(l.Dir, "peer.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the peer has it, too
	cmd := p.command(l)
	cmd.Stdout = log
	return l.start(ctx, p.name, []string{p.address(l, protocol.LeastConnections), p.address(l, protocol.RoundRobin)}, cmd)
}

// start starts a server and waits until it answers a request at each of addrs.
func (l *lab) start(ctx context.Context, name string, addrs []string, cmd *exec.Cmd) (*programs.Program, error) {
	p, err := l.Start(name, cmd)
	if err != nil {
		return nil, err
	}
	late, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, addr := range addrs {
		if err := answers(late, p, addr); err != nil {
			_ = p.Stop() // err says more
			return nil, err
		}
	}
	return p, nil
}

// answers waits until p answers a Short at addr.
func answers(ctx context.Context, p *programs.Program, addr string) error {
	for {
		err := askShort(ctx, addr)
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

// askShort sends a Short to addr and reads the answer.
func askShort(ctx context.Context, addr string) error {
	dial := func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, addr, 0) }
	_, err := protocol.Ask(ctx, dial, protocol.Request{Type: protocol.Short, Approach: protocol.LeastConnections})
	return err
}
