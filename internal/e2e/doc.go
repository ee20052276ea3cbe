// Package e2e tests the three real programs as their users meet them: it
// builds client, broker and worker once, starts them as processes on ports
// that the system chooses, and looks only at what a user can see: what they
// print, what travels over TCP, and how they exit.
//
//	lab := newLab(t, "-answer-timeout", "1s")  // three workers and a broker
//	lab.ask("Short", "round_robin")            // runs the real client
//	say(lab.broker.addr, "AppID:Long:")        // arbitrary bytes instead
//	lab.workers[0].signal(syscall.SIGSTOP)
//	lab.stop()                                 // SIGTERM, exit 0, the summary
//
// Beside the real programs there are fakes, written for these tests: of the
// original lab's worker, broker and client, with their weaknesses, because any
// mix of old and new must work; and of workers that fail in every way of the
// fault table.
//
// Every test that uses a broker ends with its orderly stop. A broker waits for
// its visits before it exits, so an exit with 0 says that none of them hangs,
// and the summary says what became of every request that was assigned.
//
// The tests wait for lines and for bytes, never for a length of time, except
// where the time is the subject; then the bounds are generous. With the race
// detector in the test, the programs have it too.
//
// "go test" does not see what the programs are built from, so its cached
// results go stale: run this package with -count=1.
//
// Not here: exact durations, which other packages test against a fake clock,
// and speed.
package e2e
