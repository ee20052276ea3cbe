package broker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// many returns a change that gives the broker n workers with this limit.
func many(n, limit int) func(*Broker) {
	return func(b *Broker) {
		var all []balance.Worker
		for i := range n {
			name := fmt.Sprintf("Worker-%d", i+1)
			all = append(all, balance.Worker{Name: name, Addr: name, Limit: limit})
		}
		b.Pool = balance.NewPool(all, selectors()...)
		b.QueueTimeout = 30 * time.Second
	}
}

const refusedByThree = "Error: no worker available: Worker-1: connection refused; Worker-2: connection refused; Worker-3: connection refused"

// failAll lets requests fail at the pool's workers until none is up.
func (l *lab) failAll() {
	for slices.ContainsFunc(l.Pool.Snapshot().Workers, func(w balance.Status) bool { return w.State == balance.Up }) {
		r := new(balance.Request)
		for {
			lease, ok := l.Pool.Assign(int(protocol.LeastConnections), r)
			if !ok {
				break
			}
			lease.Release(balance.Failed)
		}
	}
}

// When no worker is up, a request is sent to three of them, and its client is told
// how many there are beside.
func TestFewAreAskedWhenNoneIsUp(t *testing.T) {
	for _, limit := range []int{0, 1} {
		for n, want := range map[int]string{
			3:   refusedByThree,
			4:   refusedByThree + " (1 more had failed before and was not asked)",
			100: refusedByThree + " (97 more had failed before and were not asked)",
		} {
			inLab(t, many(n, limit), func(l *lab) {
				l.failAll()
				l.expect(least, want, 0)
				if x := l.book.done[0]; x.Attempts != 3 || x.Failure.Reason != NoWorker {
					t.Errorf("limit %d, %d workers: %d attempts, %+v", limit, n, x.Attempts, x.Failure)
				}
			})
		}
	}
}

// When all of many machines vanish at once, a request asks one after the other only
// for as long as three may take. Three are all asked.
func TestManyVanishAtOnce(t *testing.T) {
	for n, want := range map[int]string{
		3:   "Error: no worker available: Worker-1: no connection within 2s; Worker-2: no connection within 2s; Worker-3: no connection within 2s",
		100: "Error: no worker available: Worker-1 and 48 more: no connection within 2s (no more are asked after 1m36s)",
	} {
		inLab(t, many(n, 0), func(l *lab) {
			for i := range n {
				l.net.BlackHole(fmt.Sprintf("Worker-%d", i+1))
			}
			l.expect(long, want, time.Duration(min(n, 49))*l.DialTimeout)
		})
	}
}

// With Redispatch it is the same for workers that take a job and do not answer.
func TestManyHangAtOnce(t *testing.T) {
	const hung = 10
	inLab(t, func(b *Broker) {
		many(hung, 0)(b)
		b.Redispatch = true
	}, func(l *lab) {
		for i := range hung {
			l.worker(fmt.Sprintf("Worker-%d", i+1), hangs)
		}
		got, took := l.ask(long)
		if want := "(no more are asked after 1m36s)"; !strings.HasSuffix(got, want) || took != 4*l.AnswerTimeout {
			t.Errorf("%q after %v, want %q", got, took, want)
		}
	})
}

// When no machine answers a connect, a request takes as long as three of them, also
// when the others are due for a trial.
func TestManyBlackHoles(t *testing.T) {
	inLab(t, many(100, 0), func(l *lab) {
		l.Dial = func(_ context.Context, _ string, within time.Duration) (socket.Conn, error) {
			time.Sleep(within)
			return nil, os.ErrDeadlineExceeded
		}
		l.failAll()
		for _, request := range []string{long, least} {
			for range 20 {
				if got, took := l.ask(request); took != 3*l.DialTimeout || strings.Count(got, "no connection within 2s") != 3 {
					t.Fatalf("%q after %v", got, took)
				}
			}
		}
	})
}

// A request that has used up its attempts waits as long as a worker is only full.
// When that one drains, the client is told at once that none is left.
func TestNoneIsLeftForOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, many(4, 1))
		const maxAsked = 3
		asked := 0
		l.Dial = func(context.Context, string, time.Duration) (socket.Conn, error) {
			if asked++; asked == maxAsked {
				l.Pool.Add(balance.Worker{Addr: "full", Limit: 1})
				if _, ok := l.Pool.Assign(int(protocol.RoundRobin), new(balance.Request)); !ok {
					t.Error("the new worker takes nothing")
				}
			}
			return nil, neterr.Errno(neterr.Refused)
		}
		l.failAll()
		c := l.asks(least)
		if q := l.Pool.Queue(); q.Waiting != 1 {
			t.Fatalf("%+v after %d attempts", q, asked)
		}
		time.Sleep(time.Second / 2)
		l.Pool.Drain("Worker-5")
		if got, took := l.reads(c); got != refusedByThree+" (1 more had failed before and was not asked)" || took != 0 {
			t.Errorf("%q after %v", got, took)
		}
		if x := l.book.done[0]; x.Failure.Reason != NoWorker || x.Attempts != 3 || x.Queued != time.Second/2 {
			t.Errorf("%+v, %d attempts, queued for %v", x.Failure, x.Attempts, x.Queued)
		}
		l.stop()
		<-l.done
	})
}
