package e2e

import (
	"runtime"
	"testing"

	"balancelab/internal/version"
)

// A request that waits for its worker takes the broker about 5 KB, its
// goroutine's stack of 2 KB included: that must not have grown before. It would
// grow to 4 KB at least.
func TestMemoryOfWaiting(t *testing.T) {
	const limit = 6500
	held := newHeldWorker(t)
	l := newBroker(t, []string{held.addr})
	each := memoryOfRequests(t, l, func() { await(t, "the job", held.got) }, func(int) {})
	t.Logf("%d bytes for each request in flight", each)
	if each > limit {
		t.Errorf("%d bytes for each request in flight, want at most %d", each, limit)
	}
}

// One that waits in the queue costs at most as much. What the garbage collector
// has not collected yet is in each figure, so the least of three counts. They still
// differ by a few percent; a stack that has grown adds a third.
func TestMemoryOfTheQueue(t *testing.T) {
	measure := func(flags ...string) int64 {
		held := newHeldWorker(t)
		l := newBroker(t, []string{held.addr}, append(flags, "-status", "127.0.0.1:0")...)
		return memoryOfRequests(t, l, func() {}, func(n int) {
			for s := l.snapshot(); s.Workers[0].InFlight+s.Queue.Waiting < n && t.Context().Err() == nil; s = l.snapshot() {
				runtime.Gosched()
			}
		})
	}
	inFlight, queued := measure(), measure("-max-per-worker", "1")
	for range 2 {
		inFlight, queued = min(inFlight, measure()), min(queued, measure("-max-per-worker", "1"))
	}
	t.Logf("%d bytes for each request in flight, %d for each in the queue", inFlight, queued)
	if queued > inFlight+inFlight/8 {
		t.Errorf("%d bytes for each request in the queue, %d for each in flight", queued, inFlight)
	}
}

// memoryOfRequests returns the bytes that the broker takes for each of many
// requests that are sent, one after another. It calls sent after each, and all
// with their number at the end.
func memoryOfRequests(t *testing.T, l *lab, sent func(), all func(n int)) int64 {
	t.Helper()
	if version.RaceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	const n = 1000
	l.say("\n") // what a first request needs is not what each one needs
	all(0)
	resident := func() int64 {
		t.Helper()
		bytes, err := l.broker.Resident()
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	before := resident()
	for range n {
		send(t, connect(t, l.broker.addr), longLeast)
		sent()
	}
	all(n)
	return (resident() - before) / n
}
