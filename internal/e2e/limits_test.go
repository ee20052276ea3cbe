//go:build unix

package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"balancelab/internal/version"
)

// limited starts a broker that may open no more than 64 files.
func limited(t *testing.T, workers []*program, flags ...string) *lab {
	t.Helper()
	broker := set.Command("broker", append([]string{"-listen", "127.0.0.1:0", "-workers", strings.Join(addrsOf(workers), ",")}, flags...)...)
	sh := exec.Command("sh", append([]string{"-c", `ulimit -n 64 && exec "$@"`, "sh", broker.Path}, broker.Args[1:]...)...)
	sh.Env = broker.Env
	return &lab{t: t, broker: startCommand(t, "broker", sh), workers: workers, names: len(workers)}
}

// Under a low limit on open files the broker takes as many clients at once as
// it can serve; the others wait, and all are answered.
func TestFileLimit(t *testing.T) {
	l := limited(t, threeWorkers(t, quick...))
	allAnswered(t, volley(l.broker.addr, shortLeast, 500))
	if n := len(l.broker.matches("Waiting")); n != 0 {
		t.Errorf("the broker ran out of files %d times", n)
	}
	l.balanced()
	l.stopWith(506, 0)
}

// Told to take more clients than the limit allows, the broker takes fewer and
// says so. The others wait, and all are answered.
func TestFileLimitLowersMaxConns(t *testing.T) {
	l := limited(t, threeWorkers(t, quick...), "-max-conns", "1000")
	allAnswered(t, volley(l.broker.addr, shortLeast, 500))
	l.balanced()
	if text := l.broker.Stderr.String(); !regexp.MustCompile(`^broker: -max-conns 1000 needs more than the \d+ open files that are allowed; it is lowered to \d+, and more clients wait \(see ulimit -n\)\n$`).MatchString(text) {
		t.Errorf("standard error: %q", text)
	}
	if n := len(l.broker.matches("Waiting")); n != 0 {
		t.Errorf("the broker ran out of files %d times", n)
	}
}

// Thousands of clients at once: all are answered, and evenly.
func TestThousandsAtOnce(t *testing.T) {
	n := 5000
	switch {
	case testing.Short():
		n = 1000
	case version.RaceDetector:
		n = 2000 // the detector gives up at 8128 goroutines, and is slow
	}
	const others = 500 // files that are open anyway
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if uint64(limit.Max) < uint64(2*n+others) {
		t.Skipf("the broker needs %d open files for %d clients, and the limit is %d", 2*n+others, n, limit.Max)
	}
	l := newLabOf(t, []string{"-short", "200ms"})
	allAnswered(t, volley(l.broker.addr, shortRoundRobin, n))
	l.balanced()
	tallies := l.stop()
	sum := 0
	for i, tl := range tallies {
		sum += tl.roundRobin
		if tl.failed != 0 || tl.roundRobin < n/3 || tl.roundRobin > n/3+1 {
			t.Errorf("Worker-%d: %+v, want a third of %d", i+1, tl, n)
		}
	}
	if sum != n {
		t.Errorf("%d answered of %d", sum, n)
	}
}
