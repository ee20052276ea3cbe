package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

// A lab is what a run needs: the built programs, the ports, the workers.
type lab struct {
	ports
	bench.Lab // configurations and logs are in its directory too
	size      size
	root      string              // of this module
	running   []*programs.Program // the workers
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
	if err := l.Open(ctx, "benchpeers"); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *lab) startWorkers(ctx context.Context) error {
	for i, port := range l.workers {
		id := strconv.Itoa(i + 1)
		w, err := l.StartReady(ctx, "Worker-"+id,
			l.Command("worker", "-listen", bench.Address(port), "-short", "0s", "-long", "5s",
				"-drain-timeout", "0s", "-log", "off", id),
			bench.Answers(bench.Address(port)))
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
	return l.StartReady(ctx, p.name, cmd,
		bench.Answers(p.address(l, protocol.LeastConnections)), bench.Answers(p.address(l, protocol.RoundRobin)))
}
