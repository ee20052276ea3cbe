package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"balancelab/internal/programs"
	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

// load has the client send n requests to addr, c at once. A request that was
// not answered is an error.
func (l *lab) load(ctx context.Context, addr string, n, c int, t protocol.Type, a protocol.Approach) (bench.Report, error) {
	r, err := l.Load(ctx, addr, "-n", strconv.Itoa(n), "-c", strconv.Itoa(c), t.String(), a.String())
	switch {
	case err != nil:
		return r, err
	case r.Requests.Sent != int64(n):
		return r, fmt.Errorf("the client sent %d of %d requests", r.Requests.Sent, n)
	}
	return r, r.Failed()
}

// measureLoad starts a peer, measures it under load, and stops it.
func (l *lab) measureLoad(ctx context.Context, p peer, a protocol.Approach) (f measurement, err error) {
	s, err := l.startPeer(ctx, p)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop(s)) }()
	addr := p.address(l, a)
	if _, err := l.load(ctx, addr, max(1, l.size.n/10), l.size.c, protocol.Short, a); err != nil {
		return f, err
	}
	before, err := cpuOf(s)
	if err != nil {
		return f, err
	}
	r, err := l.load(ctx, addr, l.size.n, l.size.c, protocol.Short, a)
	if err != nil {
		return f, err
	}
	after, err := cpuOf(s)
	f = unmeasured()
	f.rate, f.p50, f.p99 = r.Rate.Answered, r.Latency.P50, r.Latency.P99
	if s != nil {
		f.cpu = (after - before).Seconds() / float64(l.size.n)
	}
	return f, err
}

// stop stops a peer; nil, where there is none, is stopped already.
func stop(p *programs.Program) error {
	if p == nil {
		return nil
	}
	return p.Stop()
}

// cpuOf returns the CPU time of a peer so far: 0 if there is none.
func cpuOf(p *programs.Program) (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	return p.CPU()
}

// measureMemory starts a peer and returns how much its resident memory grows
// with each Long in flight, in bytes.
func (l *lab) measureMemory(ctx context.Context, p peer) (bytesEach float64, err error) {
	s, err := l.startPeer(ctx, p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop(s)) }()
	addr, longs := p.address(l, protocol.LeastConnections), l.size.longs
	// One after another: what a first request needs is not what each one needs.
	if _, err := l.load(ctx, addr, 100, 1, protocol.Short, protocol.LeastConnections); err != nil {
		return 0, err
	}
	before, err := s.Resident()
	if err != nil {
		return 0, err
	}
	done := make(chan error, 1) // gets one value: how the load run ended
	go func() {
		_, err := l.load(ctx, addr, longs, longs, protocol.Long, protocol.LeastConnections)
		done <- err
	}()
	during, err := l.whenAllWait(done, s)
	err = errors.Join(err, <-done)
	return float64(during-before) / float64(longs), err
}

// whenAllWait returns the resident memory of p when all Longs wait in the
// workers. It gives up when done has a value, and leaves one there.
func (l *lab) whenAllWait(done chan error, p *programs.Program) (resident int64, err error) {
	allWait := func() (bool, error) {
		n, err := l.waiting()
		return n >= l.size.longs, err
	}
	const pause = 20 * time.Millisecond
	for {
		yes, err := allWait()
		if err != nil {
			return 0, err
		}
		if yes {
			break
		}
		select {
		case err := <-done:
			done <- err
			return 0, errors.New("there was no moment when all of them were in flight")
		case <-time.After(pause):
		}
	}
	time.Sleep(10 * pause) // for what the last ones still cause
	resident, err = p.Resident()
	if err != nil {
		return 0, err
	}
	if still, err := allWait(); err != nil || !still {
		return 0, errors.Join(err, errors.New("they took so long to start that the first ones were answered before the last one came"))
	}
	return resident, nil
}
