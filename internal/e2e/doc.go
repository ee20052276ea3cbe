// Package e2e tests the three real programs as their users meet them: it
// builds client, broker and worker once, starts them as processes on ports
// that the system chooses, and looks only at what a user can see: what they
// print, what travels over TCP, and how they exit.
//
//	lab := newLab(t, "-keepalive")             // three workers and a broker
//	lab.ask("Short", "round_robin")            // runs the real client
//	say(lab.broker.addr, "AppID:Long:")        // arbitrary bytes instead
//	lab.workers[0].signal(syscall.SIGSTOP)
//	lab.stop()                                 // SIGTERM, exit 0, the summary
//
// How programs are built, started, watched and stopped is in package programs.
// Here is the tests' vocabulary for it.
//
// Beside the real programs there are fakes, written for these tests: of the
// original lab's worker, broker and client, with their weaknesses, because any
// mix of old and new must work; and of workers that fail in the ways that only
// TCP knows.
//
// Every test that uses a broker ends with its orderly stop. A broker waits for
// its requests before it exits, so an exit with 0 says that none of them hangs,
// and the summary says what became of every request that was assigned. No
// program may have written a stack trace to standard error.
//
// The tests wait for lines and for bytes, never for a length of time. A
// deadline of theirs either passes because the other side does nothing at all,
// or is there against hanging only: no test needs a fast machine. With the race
// detector in the test, the programs have it too.
//
// "go test" does not see what the programs are built from, so its cached
// results go stale: run this package with -count=1.
//
// Not here: durations, cool-downs, and whatever else other packages test
// against a fake clock; and speed.
package e2e
