package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
)

// A wrong command line is answered with one line, and nothing is started.
func TestWrongCommandLines(t *testing.T) {
	const positive = "-request-timeout, -dial-timeout, -answer-timeout and -queue-timeout must be more than 0"
	for args, reason := range map[string]string{
		"-listen :":                    `-listen: ":" has no port from 0 to 65535`,
		"-listen 8001":                 `-listen: "8001" is no address: want host:port, such as 127.0.0.1:8001`,
		"-status 8080":                 `-status: "8080" is no address: want host:port, such as 127.0.0.1:8080`,
		"-workers 127.0.0.1":           `-workers: "127.0.0.1" is no address: want host:port, such as 127.0.0.1:8001`,
		"-workers 127.0.0.1:9002=0":    `-workers: "127.0.0.1:9002=0" has no weight from 1 to 1000`,
		"-workers 127.0.0.1:9002=1001": `-workers: "127.0.0.1:9002=1001" has no weight from 1 to 1000`,
		"-request-timeout 0s":          positive,
		"-dial-timeout 0s":             positive,
		"-answer-timeout 0s":           positive,
		"-answer-timeout -1s":          positive,
		"-queue-timeout 0s":            positive,
		"-max-per-worker -1":           "-max-per-worker must be from 0 to 1000000: -1",
		"-answer-timeout 5":            `invalid value "5" for flag -answer-timeout: want a unit, such as 5s`,
		"-drain-timeout -1s":           "-drain-timeout must not be negative: -1s",
		"-max-conns -1":                "-max-conns must not be negative: -1",
		"-max-conns many":              `invalid value "many" for flag -max-conns: want a whole number`,
		"-log xml":                     `-log is "xml", want text, json or off`,
		"-nosuch":                      "flag provided but not defined: -nosuch",
		"extra":                        `"extra" is one argument too many`,
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &stdout, &stderr)
		if want := "broker: " + reason + " (see broker -h)\n"; code != cli.Usage || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("%s: exit code %d, %q, %q\nwant %q", args, code, stdout.String(), stderr.String(), want)
		}
	}
}

// parse parses args, which are right, and returns what is said on standard
// error too.
func parse(t *testing.T, args ...string) (f flags, note string) {
	t.Helper()
	var stderr bytes.Buffer
	f, code, ok := parseFlags(cli.NewLine("broker", "", nil, &stderr), args)
	if !ok || code != cli.OK {
		t.Errorf("%q: exit code %d: %s", args, code, stderr.String())
	}
	return f, stderr.String()
}

// Without a flag the broker is the original's, with the times of the usage text.
func TestDefaults(t *testing.T) {
	f, note := parse(t)
	if f.listen != "127.0.0.1:8000" || f.status != "" || f.log != "text" || f.redispatch || f.keepalive || note != "" {
		t.Errorf("%+v; %q", f, note)
	}
	for i, addr := range []string{"127.0.0.1:9002", "127.0.0.1:9003", "127.0.0.1:9004"} {
		if want := (balance.Worker{Name: fmt.Sprintf("Worker-%d", i+1), Addr: addr, Weight: 1}); len(f.workers) != 3 || f.workers[i] != want {
			t.Errorf("the workers are %+v", f.workers)
		}
	}
	for flag, d := range map[string]time.Duration{"request": f.request, "dial": f.dial, "answer": f.answer, "drain": f.drain} {
		if want := fmt.Sprintf("(default %gs)", d.Seconds()); !strings.Contains(usageOf(flag+"-timeout"), want) {
			t.Errorf("-%s-timeout is %v, and the usage says %s", flag, d, usageOf(flag+"-timeout"))
		}
	}
}

// usageOf returns what the usage text says of a flag.
func usageOf(flag string) string {
	_, text, _ := strings.Cut(usage, "\n  -"+flag+" ")
	text, _, _ = strings.Cut(text, "\n  -")
	return text
}

// A number of clients that the open files do not allow is lowered, and that is
// said; one that they allow stands.
func TestMaxConns(t *testing.T) {
	limit, limited := cli.OpenFiles()
	if !limited {
		t.Skip("this system sets no limit on open files")
	}
	f, note := parse(t)
	most := f.maxConns
	if want := f.budget(limit, true); most != want.clients || most < 1 || note != "" {
		t.Errorf("by default %d, want %+v; %q", most, want, note)
	}
	if f, note := parse(t, "-max-conns", "1"); f.maxConns != 1 || note != "" {
		t.Errorf("1 is %d; %q", f.maxConns, note)
	}
	if f, note := parse(t, "-max-conns", fmt.Sprint(most)); f.maxConns != most || note != "" {
		t.Errorf("%d is %d; %q", most, f.maxConns, note)
	}
	f, note = parse(t, "-max-conns", fmt.Sprint(most+1))
	want := fmt.Sprintf("broker: -max-conns %d needs more than the %d open files that are allowed; it is lowered to %d, and more clients wait (see ulimit -n)\n", most+1, limit, most)
	if f.maxConns != most || note != want {
		t.Errorf("%d is %d; %q, want %q", most+1, f.maxConns, note, want)
	}
}

// What the page's connections need is not for clients.
func TestViewers(t *testing.T) {
	limit, limited := cli.OpenFiles()
	f, _ := parse(t, "-status", "127.0.0.1:8080")
	if want := f.budget(limit, limited); f.viewers != want.viewers || f.viewers == 0 {
		t.Errorf("%d viewers, want %+v", f.viewers, want)
	}
	if f, _ := parse(t); f.viewers != 0 {
		t.Errorf("%d viewers of no page", f.viewers)
	}
}

// No more idle connections are kept than there are clients at once; for each
// worker at least one, and at most idleMax.
func TestIdle(t *testing.T) {
	for _, test := range []struct{ maxConns, workers, want int }{
		{100_000, 3, idleMax}, {3 * idleMax, 3, idleMax}, {300, 3, 100}, {100, 3, 33}, {2, 3, 1}, {1, 1, 1},
	} {
		f := flags{maxConns: test.maxConns, workers: make([]balance.Worker, test.workers)}
		if got := f.idle(); got != test.want {
			t.Errorf("%d clients, %d workers: %d idle, want %d", test.maxConns, test.workers, got, test.want)
		}
	}
}

// Orders are taken on a loopback address only, however it is written.
func TestControlIsOnLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:8080", "127.1.2.3:0", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "localhost:8080", "LocalHost:8080"} {
		if f, _ := parse(t, "-control", "-status", addr); !f.control {
			t.Errorf("%s: no control", addr)
		}
	}
	const only = "-control takes orders on a loopback address only, such as -status 127.0.0.1:8080: -status is "
	for addr, reason := range map[string]string{
		"": "-control needs -status, such as -status 127.0.0.1:8080", ":8080": only + `":8080"`, "0.0.0.0:8080": only + `"0.0.0.0:8080"`,
		"[::]:8080": only + `"[::]:8080"`, "192.0.2.1:8080": only + `"192.0.2.1:8080"`, "localhost.example:8080": only + `"localhost.example:8080"`,
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{"-control", "-status", addr}, &stdout, &stderr)
		if want := "broker: " + reason + " (see broker -h)\n"; code != cli.Usage || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("%q: exit code %d, %q, %q, want %q", addr, code, stdout.String(), stderr.String(), want)
		}
	}
}
