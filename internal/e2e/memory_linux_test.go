package e2e

import (
	"testing"

	"balancelab/internal/programs"
)

// A request that waits for its worker takes the broker about 5 KB, its
// goroutine's stack of 2 KB included: that must not have grown before. It would
// grow to 4 KB at least.
func TestMemoryOfWaiting(t *testing.T) {
	if programs.RaceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	const n, limit = 1000, 6500
	held := newHeldWorker(t)
	l := newBroker(t, []string{held.addr})
	l.say("\n") // what a first request needs is not what each one needs
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
		await(t, "the job", held.got)
	}
	each := (resident() - before) / n
	t.Logf("%d bytes for each of %d requests in flight", each, n)
	if each > limit {
		t.Errorf("%d bytes for each of %d requests in flight, want at most %d", each, n, limit)
	}
}
