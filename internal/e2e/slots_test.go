package e2e

import "testing"

// A broker that gives up closes its connection, and its job, which still waits
// for a slot, never starts.
func TestWaitingJobIsDropped(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"plain": nil, "kept": {"-keepalive"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorker(t, 1, "127.0.0.1:0", "-slots", "1", "-long", "1h")
			l := newBroker(t, []string{w.addr}, append(flags, "-answer-timeout", "300ms")...)
			isRefusal(t, l.say(longLeast), "no whole answer within 300ms")
			isRefusal(t, l.say(longLeast), "no whole answer within 300ms")
			w.linesLike(`^\[Worker\] Dropped \('127\.0\.0\.1', \d+\): left while it waited$`, 1)
			w.sync()
			if n := len(w.matches(`^\[Worker\] Processing `)); n != 1 {
				t.Errorf("%d jobs were started, want one", n)
			}
		})
	}
}

// A client that half-closes is taken for one that has left, but only while its
// job waits, and is told.
func TestHalfCloseWhileWaiting(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-slots", "1", "-long", "1h")
	send(t, connect(t, w.addr), "AppID:Long")
	w.linesLike(`^\[Worker\] Processing long `, 1)
	second := connect(t, w.addr)
	send(t, second, "AppID:Long")
	second.CloseWrite()
	isRefusal(t, receive(t, second), "closed", "not started")
}
