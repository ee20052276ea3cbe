package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/console"
	"balancelab/internal/load"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// A fake is a broker on a free port of the loopback.
type fake struct {
	t      *testing.T
	addr   string
	answer func(i int, r protocol.Request) string // "" closes without an answer

	mu       sync.Mutex // guards requests
	requests []protocol.Request
}

// always answers every request with the same text.
func always(text string) func(int, protocol.Request) string {
	return func(int, protocol.Request) string { return text }
}

func newFake(t *testing.T, answer func(i int, r protocol.Request) string) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String(), answer: answer}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return f
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	r, err := protocol.ReadRequest(conn)
	if err != nil {
		return
	}
	f.mu.Lock()
	i := len(f.requests)
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if text := f.answer(i, r); text != "" {
		_, _ = io.WriteString(conn, text)
	}
}

// client runs the client against f.
func (f *fake) client(args ...string) result {
	f.t.Helper()
	return client(append([]string{"-broker", f.addr}, args...)...)
}

type result struct {
	code           int
	stdout, stderr string
}

func client(args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// reportFields is what the tests look at in a report.
type reportFields struct {
	Requests load.Requests
	Rate     struct {
		Asked, Achieved float64
		Late            int64
	}
	Types  []struct{ OK int }
	Errors []load.Cause
}

func (r result) report(t testing.TB) (report reportFields) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v in %q (standard error: %s)", err, r.stdout, r.stderr)
	}
	return report
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q is not in:\n%s", want, text)
	}
}

// Without a load run's flags the client does what the original does, to the
// byte.
func TestSingleRequest(t *testing.T) {
	for _, test := range []struct {
		answer         string
		code           int
		stdout, stderr string
	}{
		{"Response from Worker", 0, "[Client] Received: Response from Worker\n", ""},
		{"a\x1b[31m", 0, "[Client] Received: \"a\\x1b[31m\"\n", ""},
		{"Error: no", 1, "", "[Client] Error: no\n"},
		{"Error: \x1b[31m", 1, "", "[Client] Error: \"\\x1b[31m\"\n"},
	} {
		f := newFake(t, always(test.answer))
		got := f.client("Long", "round_robin")
		expect(t, test.answer, got, result{test.code, test.stdout, test.stderr})
		expect(t, "requests", fmt.Sprint(f.requests), "[AppID:Long:round_robin]")
	}
}

// A client without an answer says why, and what to do.
func TestSingleRequestFails(t *testing.T) {
	over := make(chan struct{})
	silent := newFake(t, func(int, protocol.Request) string { <-over; return "" })
	defer close(over)
	closing := newFake(t, always(""))
	gone := freeAddr(t)
	for _, test := range []struct {
		name, addr, args, reason string
	}{
		{"no broker", gone, "", "no broker at " + gone + `: start one with "broker", or name another with -broker`},
		{"no answer", silent.addr, "-timeout 5ms", "no answer from the broker at " + silent.addr + " within 5ms"},
		{"closed", closing.addr, "-timeout 1m", "the broker at " + closing.addr + ": closed without an answer"},
	} {
		args := append([]string{"-broker", test.addr}, strings.Fields(test.args+" Short round_robin")...)
		expect(t, test.name, client(args...), result{1, "", "[Client] Error: " + test.reason + "\n"})
	}
}

// Without -broker the original's broker is asked.
func TestDefaultBroker(t *testing.T) {
	want := result{1, "", "[Client] Error: no answer from the broker at 127.0.0.1:8000 within 1ns\n"}
	expect(t, "it says", client("-timeout", "1ns", "Long", "round_robin"), want)
}

// With a rate and no -c many requests may be in flight at once; what -c says
// holds.
func TestAtOnce(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	for args, want := range map[string]int{
		"-n 2": 1, "-n 2 -rate 0": 1, "-n 8 -c 7": 7, "-n 8 -rate 1e6 -c 7": 7, "-n 1001 -rate 1e6": atOnce, "-n 1001 -rate 0..1e6": atOnce,
	} {
		got := f.client(append(strings.Fields(args), "-json", "Short", "round_robin")...)
		expect(t, args, got.report(t).Requests.AtOnce, want)
	}
}

func TestSingleRequestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	f := newFake(t, func(int, protocol.Request) string { cancel(); <-over; return "" })
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-broker", f.addr, "Short", "round_robin"}, &stdout, &stderr)
	close(over)
	expect(t, "it says", result{code, stdout.String(), stderr.String()},
		result{1, "", "[Client] Error: interrupted before the answer came\n"})
}

// freeAddr returns an address where no program listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestExplain(t *testing.T) {
	unreachable := os.NewSyscallError("connect", neterr.Errno(neterr.HostUnreachable))
	for _, test := range []struct {
		err  error
		want string
	}{
		{&protocol.AskError{Step: protocol.Connect, Err: errors.New("no such host")}, "connect to the broker: no such host"},
		{&protocol.AskError{Step: protocol.Connect, Err: unreachable}, "connect to the broker: connect: no route to host"},
		{&protocol.AskError{Step: protocol.Send, Err: io.ErrClosedPipe}, "send the request: io: read/write on closed pipe"},
		{&protocol.AskError{Step: protocol.Receive, Err: protocol.ErrTooLong}, "the broker at b:1: answer longer than 1024 bytes"},
		{&protocol.RefusalError{Reason: "a\x1bb"}, `"a\x1bb"`},
		{errors.New("another"), "another"},
	} {
		expect(t, test.err.Error(), explain(test.err, "b:1", time.Second), test.want)
	}
}

// A process that was suspended takes an answer that has come by its deadline.
func TestAnswerIsTakenAfterTheDeadline(t *testing.T) {
	f := newFake(t, always(protocol.Response+"\n"))
	for name, dial := range map[string]func(context.Context) (net.Conn, error){
		"one request": dialer(f.addr),
		"a load run":  cheapDialer(f.addr),
	} {
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin}.String())
		for socket.Of(conn).Quiet() {
			runtime.Gosched()
		}
		conn.SetDeadline(time.Now().Add(-time.Second))
		answer, err := protocol.ReadAnswer(conn)
		if answer != protocol.Response || err != nil {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
}

func TestWhatMakesALoadRun(t *testing.T) {
	for _, args := range []string{
		"-n 1 Short round_robin", "-n 1 -c 1 Short round_robin", "-n 1 -rate 0 Short round_robin",
		"-json Short round_robin", "-n 1 Short,Short round_robin",
	} {
		f := newFake(t, always(protocol.Response))
		got := f.client(strings.Fields(args)...)
		expect(t, args+": exit code", got.code, 0)
		expect(t, args+": requests", len(f.requests), 1)
		if strings.Contains(got.stdout, "[Client]") || !strings.Contains(got.stdout, "latency") {
			t.Errorf("%s: no report: %s", args, got.stdout)
		}
	}
}

func TestLoadRun(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	got := f.client("-n", "31", "-c", "4", "-rate", "2000", "-json", "Long,Short,Short", "least_connections")
	expect(t, "exit code", got.code, 0)
	expect(t, "requests", len(f.requests), 31)
	report := got.report(t)
	expect(t, "sent", report.Requests.Sent, 31)
	expect(t, "ok", report.Requests.OK, 31)
	expect(t, "asked", report.Rate.Asked, 2000)
	expect(t, "Longs", report.Types[0].OK, 11)
	expect(t, "Shorts", report.Types[1].OK, 20)
	for _, r := range f.requests {
		expect(t, "approach", r.Approach, protocol.LeastConnections)
	}
	contains(t, got.stderr, "31/31 0 in flight 31 ok 0 failed")
	if strings.Contains(got.stderr, "\r") {
		t.Errorf("in place, although it is no terminal: %q", got.stderr)
	}
}

// Refusals, closes without an answer and answers are told apart, and a port in
// a reason does not make a cause of its own.
func TestLoadRunWithFailures(t *testing.T) {
	f := newFake(t, func(i int, r protocol.Request) string {
		switch {
		case i%5 == 0:
			return protocol.Refusal(fmt.Sprintf("no worker available: 127.0.0.1:%d refused", 40000+i))
		case i%5 == 1:
			return ""
		}
		return protocol.Response
	})
	got := f.client("-n", "50", "-c", "5", "-json", "Short", "round_robin")
	expect(t, "exit code", got.code, 1)
	report := got.report(t)
	expect(t, "ok", report.Requests.OK, 30)
	expect(t, "failed", report.Requests.Failed, 20)
	want := []load.Cause{
		{Cause: "no worker available: 127.0.0.1:N refused", Count: 10},
		{Cause: "read the answer: closed without an answer", Count: 10},
	}
	expect(t, "errors", fmt.Sprint(report.Errors), fmt.Sprint(want))
}

func TestLoadRunWithoutABroker(t *testing.T) {
	got := client("-broker", freeAddr(t), "-n", "3", "Short", "round_robin")
	expect(t, "exit code", got.code, 1)
	contains(t, got.stdout, "requests   3 sent, 0 ok, 3 failed")
	contains(t, got.stdout, "3       connect: connection refused")
}

// Where this side has run out of something the cause says what to do.
func TestCause(t *testing.T) {
	for kind, want := range map[neterr.Kind]string{
		neterr.NoPort:       "no local port is free",
		neterr.InUse:        "no local port is free",
		neterr.ProcessFiles: "raise ulimit -n",
		neterr.Refused:      "connection refused",
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", neterr.Errno(kind))}
		contains(t, cause(err).Error(), want)
	}
	expect(t, "another error", cause(io.EOF), io.EOF)
}

func TestLoadRunByName(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	_, port, _ := net.SplitHostPort(f.addr)
	got := client("-broker", "localhost:"+port, "-n", "2", "Short", "round_robin")
	expect(t, "exit code", got.code, 0)
}

// The timeout is for each request of a run.
func TestLoadRunTimeout(t *testing.T) {
	over := make(chan struct{})
	f := newFake(t, func(int, protocol.Request) string { <-over; return "" })
	got := f.client("-n", "3", "-timeout", "5ms", "Short", "round_robin")
	close(over)
	expect(t, "exit code", got.code, 1)
	contains(t, got.stdout, "requests   3 sent, 0 ok, 3 failed")
	contains(t, got.stdout, "3       no answer within 5ms")
}

// A rate is kept although the first answers are slow, with no word of -c.
func TestRateDoesNotWaitForAnswers(t *testing.T) {
	var all sync.WaitGroup
	all.Add(3)
	f := newFake(t, func(int, protocol.Request) string {
		all.Done()
		all.Wait() // no request is answered before the last one has come
		return protocol.Response
	})
	got := f.client("-n", "3", "-rate", "1000", "-timeout", "10s", "Short", "round_robin")
	expect(t, "exit code", got.code, 0)
	contains(t, got.stdout, "requests   3 sent, 3 ok, 0 failed")
}

func TestLoadRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	f := newFake(t, func(i int, _ protocol.Request) string {
		if i == 3 {
			cancel()
			<-over
		}
		return protocol.Response
	})
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"-broker", f.addr, "-n", "100", "Short", "round_robin"}, &stdout, &stderr)
	close(over)
	expect(t, "exit code", code, 1)
	contains(t, stdout.String(), "requests   4 sent, 3 ok, 0 failed, 1 interrupted")
	contains(t, stdout.String(), "The run was stopped: 96 of 100 requests were not sent.")
	contains(t, stdout.String(), "waiting    1 when the run was stopped, for ")
}

// A stop prints the report although standard error is not read, after a bounded
// time.
func TestStoppedWhileNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // before the first request: no socket is opened, and the clock can be a fake one
		release := make(chan struct{})
		var stdout bytes.Buffer
		stderr := console.NewWriter(writerFunc(func(p []byte) (int, error) { <-release; return len(p), nil }), nil)
		start := time.Now()
		code := run(ctx, []string{"-n", "100", "-rate", "10", "Short", "round_robin"}, &stdout, stderr)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		expect(t, "exit code", code, 1)
		contains(t, stdout.String(), "requests   0 sent, 0 ok, 0 failed\n")
		close(release)
		stderr.Close()
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// On a terminal the progress and the report go to the same place: the last line
// of the progress is complete before the report begins.
func TestProgressIsCompleteBeforeTheReport(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	var mu sync.Mutex // guards screen
	var screen bytes.Buffer
	show := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return screen.Write(p)
	})
	slow := console.NewWriter(writerFunc(func(p []byte) (int, error) {
		for range 1000 {
			runtime.Gosched()
		}
		return show(p)
	}), nil)
	code := run(t.Context(), []string{"-broker", f.addr, "-n", "3", "Short", "round_robin"}, show, slow)
	slow.Close()
	expect(t, "exit code", code, 0)
	text := screen.String()
	progress, report := strings.Index(text, "3/3 0 in flight 3 ok"), strings.Index(text, "requests   3 sent")
	if progress < 0 || report < 0 || progress > report {
		t.Errorf("the progress is not before the report:\n%s", text)
	}
}

// The report names the limit as what it is: given, or a default.
func TestLimitGivenOrDefault(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	for _, test := range []struct {
		args    string
		atOnce  int
		initial bool
		reached bool
	}{
		{"-n 3 -json Short round_robin", 1, true, true},
		{"-n 3 -c 1 -json Short round_robin", 1, false, true},
		{"-n 3 -c 5 -rate 1000 -json Short round_robin", 3, false, false},
		{"-n 3 -rate 1000 -json Short round_robin", 3, true, false},
		{"-json Short round_robin", 1, true, false},
	} {
		q := f.client(strings.Fields(test.args)...).report(t).Requests
		expect(t, test.args+": at once", q.AtOnce, test.atOnce)
		expect(t, test.args+": a default", q.AtOnceDefault, test.initial)
		expect(t, test.args+": reached", q.AtOnceReached, test.reached)
	}
}

// Output that can't be written is a failure.
func TestOutputThatCannotBeWritten(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	full := writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left on device") })
	for _, args := range []string{"-h", "Short round_robin", "-n 2 Short round_robin", "-n 2 -json Short round_robin"} {
		var stderr bytes.Buffer
		code := run(t.Context(), append([]string{"-broker", f.addr}, strings.Fields(args)...), full, &stderr)
		expect(t, args, code, 1)
		contains(t, stderr.String(), "client: standard output: no space left on device\n")
	}
}

func TestWrongCommandLines(t *testing.T) {
	for args, reason := range map[string]string{
		"-n 0 Short round_robin":                    "-n must be at least 1: 0",
		"-n -5 Short round_robin":                   "-n must be at least 1: -5",
		"-c 0 Short round_robin":                    "-c must be at least 1: 0",
		"-rate -1 Short round_robin":                `invalid value "-1" for flag -rate: want a number of at least 0`,
		"-rate NaN Short round_robin":               `invalid value "NaN" for flag -rate: want a number of at least 0`,
		"-rate Inf Short round_robin":               `invalid value "Inf" for flag -rate: want a number of at least 0`,
		"-n 2 -timeout -1s Short x":                 `unknown approach "x": want round_robin or least_connections`,
		"-timeout -1s Short round_robin":            "-timeout must not be negative: -1s",
		"-n 2 Medium round_robin":                   `unknown type "Medium": want Long or Short`,
		"Long, round_robin":                         `unknown type "": want Long or Short`,
		"Long,Medium round_robin":                   `unknown type "Medium": want Long or Short`,
		"Medium round_robin":                        `unknown type "Medium": want Long or Short`,
		"-n many Short round_robin":                 `invalid value "many" for flag -n: want a whole number`,
		"-timeout 5 Short round_robin":              `invalid value "5" for flag -timeout: want a unit, such as 5s`,
		"-rate fast Short round_robin":              `invalid value "fast" for flag -rate: want a number, or a ramp such as 10..200`,
		"-c 5 Short round_robin":                    "-c takes -n, the number of requests, or -d, the time",
		"-rate 5 Short round_robin":                 "-rate takes -n, the number of requests, or -d, the time",
		"Long,Short round_robin":                    "a list takes -n, the number of requests, or -d, the time",
		"-broker 8001 Short round_robin":            `-broker: "8001" is no address: want host:port, such as 127.0.0.1:8001`,
		"-broker a:65536 Short x":                   `-broker: "a:65536" has no port from 0 to 65535`,
		"-json -c 5 Short round_robin":              "-c takes -n, the number of requests, or -d, the time",
		"-json Long,Short round_robin":              "a list takes -n, the number of requests, or -d, the time",
		"-json -timeout -1s Short x":                `unknown approach "x": want round_robin or least_connections`,
		"-n 2 -timeout -1s Short least_connections": "-timeout must not be negative: -1s",
		"-d 1s -n 2 Short round_robin":              "-d says for how long: leave out -n",
		"-d 0s Short round_robin":                   "-d must be above 0: 0s",
		"-d -1s Short round_robin":                  "-d must be above 0: -1s",
		"-d 5 Short round_robin":                    `invalid value "5" for flag -d: want a unit, such as 5s`,
		"-n 2 -arrivals poisson Short round_robin":  "-arrivals poisson takes -rate",
		"-n 2 -csv= Short round_robin":              "-csv takes the name of a file, or -",
		"-n 2 -arrivals odd Short round_robin":      `invalid value "odd" for flag -arrivals: want even or poisson`,
		"-arrivals even Short round_robin":          "-arrivals takes -n, the number of requests, or -d, the time",
		"-seed 1 Short round_robin":                 "-seed takes -n, the number of requests, or -d, the time",
		"-q Short round_robin":                      "-q takes -n, the number of requests, or -d, the time",
		"-mix Long=1 round_robin":                   "-mix takes -n, the number of requests, or -d, the time",
		"Short round_robin,least_connections":       "a list takes -n, the number of requests, or -d, the time",
		"-n 2 Short round_robin,":                   `unknown approach "": want round_robin or least_connections`,
		"-n 2 -mix Long=1 Long round_robin":         `-mix says the types: leave out "Long"`,
		"-n 2 -mix Long=1":                          "<approach> is missing",
		"-n 2 -mix Long round_robin":                `invalid value "Long" for flag -mix: want a type and a whole number from 1 to 1000000, such as Long=1,Short=2`,
		"-n 2 -mix Long=1 x":                        `unknown approach "x": want round_robin or least_connections`,
		"-n 2 -seed -1 -mix Long=1 round_robin":     `invalid value "-1" for flag -seed: want a whole number of at least 0`,
		"-n 2 -rate 9..0 Short round_robin":         `invalid value "9..0" for flag -rate: want a ramp that ends above 0, such as 10..200`,
		"Short x":                                   `unknown approach "x": want round_robin or least_connections`,
		"-broker :8001 Short x":                     `-broker: ":8001" has no host: want host:port, such as 127.0.0.1:8001`,
		"Short round_robin -n 5":                    `flags come before the arguments: put "-n" before "Short"`,
		"Short":                                     "<approach> is missing",
	} {
		want := result{2, "", "client: " + reason + " (see client -h)\n"}
		expect(t, args, client(strings.Fields(args)...), want)
	}
}

func TestHelp(t *testing.T) {
	expect(t, "-h", client("-h"), result{0, usage, ""})
}

// The usage stands in the room's README as it is.
func TestUsageInReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(readme), "\r\n", "\n")
	contains(t, text, "\n```\n"+usage+"```\n")
}

// Every flag of the command line is in the usage text.
func TestUsageNamesEveryFlag(t *testing.T) {
	for _, name := range append(loadFlags, "broker", "timeout", "raw") {
		contains(t, usage, "\n  -"+name+" ")
	}
}

func BenchmarkAsk(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			_, _ = protocol.ReadRequest(conn) // unread, it would reset the connection
			_, _ = io.WriteString(conn, protocol.Response)
			conn.Close()
		}
	}()
	defer l.Close()
	do := ask(l.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if err := do(ctx, protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin}); err != nil {
			b.Fatal(err)
		}
	}
}

// The number of requests may come from a time: with a rate as many as are planned
// in it, and without one as many as there is time for.
func TestForATime(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	got := f.client(strings.Fields("-d 10m -rate 0.001 -json Short round_robin")...) // the next one would come after 17 minutes
	expect(t, "exit code", got.code, 0)
	expect(t, "sent", got.report(t).Requests.Sent, 1)
	got = f.client(strings.Fields("-d 20ms -c 2 -json Short round_robin")...)
	expect(t, "exit code as fast as possible", got.code, 0)
	contains(t, got.stdout, "\"n\": 0,\n    \"for_seconds\": 0.02,")
	expect(t, "asked", got.report(t).Requests.Asked, len(f.requests)-1)
}

// A mix leaves the type out, and the same seed sends the same requests. The
// report says which seed it was.
func TestMixAndSeed(t *testing.T) {
	send := func(args string) string {
		f := newFake(t, always(protocol.Response))
		got := f.client(strings.Fields(args + " -mix Long=1,Short=2 -n 90 least_connections")...)
		expect(t, "exit code", got.code, 0)
		longs := 0
		for _, r := range f.requests {
			expect(t, "approach", r.Approach, protocol.LeastConnections)
			if r.Type == protocol.Long {
				longs++
			}
		}
		expect(t, "Longs", longs, 30)
		_, seed, found := strings.Cut(got.stdout, "Long=1 Short=2 in random order\n           (-seed ")
		if !found {
			t.Errorf("no seed in\n%s", got.stdout)
		}
		seed, _, _ = strings.Cut(seed, " ")
		return seed + fmt.Sprint(f.requests)
	}
	first := send("-rate 1e6 -arrivals poisson -c 1")
	seed, _, _ := strings.Cut(first, "[")
	expect(t, "the same seed", send("-rate 1e6 -arrivals poisson -c 1 -seed "+seed), first)
	if other := send("-rate 1e6 -arrivals poisson -c 1"); other == first {
		t.Error("another run has the same seed")
	}
}

// Both approaches are sent in turn, and have a row each.
func TestBothApproaches(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	got := f.client(strings.Fields("-n 6 Long,Short round_robin,least_connections")...)
	expect(t, "exit code", got.code, 0)
	const want = "[AppID:Long:round_robin AppID:Long:least_connections AppID:Short:round_robin AppID:Short:least_connections " +
		"AppID:Long:round_robin AppID:Long:least_connections]"
	expect(t, "requests", fmt.Sprint(f.requests), want)
	contains(t, got.stdout, "\nleast_connections  3     3   0 ")
}

// A ramp has a table of its parts.
func TestRamp(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	got := f.client(strings.Fields("-n 100 -rate 1000..9000 Short round_robin")...)
	expect(t, "exit code", got.code, 0)
	contains(t, got.stdout, "asked 1000/s to 9000/s; achieved ")
	contains(t, got.stdout, "\n18ms to 20ms  8600/s  ")
}

func TestQuiet(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	got := f.client(strings.Fields("-n 2 -q Short round_robin")...)
	expect(t, "exit code", got.code, 0)
	expect(t, "standard error", got.stderr, "")
	contains(t, got.stdout, "requests   2 sent, 2 ok, 0 failed")
}

// -csv writes a row for each request. If that is on standard output, the report
// is on standard error.
func TestCSV(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	row := regexp.MustCompile(`^\d+\.\d{6},\d+\.\d{6},\d+\.\d{6},Short,round_robin,ok,$`)
	check := func(what, text string) {
		t.Helper()
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		expect(t, what+": lines", len(lines), 31)
		expect(t, what+": header", lines[0], "planned,started,ended,type,approach,outcome,cause")
		for _, line := range lines[1:] {
			if !row.MatchString(line) {
				t.Errorf("%s: %q", what, line)
			}
		}
	}
	name := filepath.Join(t.TempDir(), "run.csv")
	got := f.client("-n", "30", "-rate", "1e4", "-csv", name, "Short", "round_robin")
	expect(t, "exit code", got.code, 0)
	contains(t, got.stdout, "requests   30 sent, 30 ok, 0 failed")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	check("a file", string(text))

	got = f.client("-n", "30", "-rate", "1e4", "-csv", "-", "Short", "round_robin")
	expect(t, "exit code", got.code, 0)
	check("standard output", got.stdout)
	contains(t, got.stderr, "30/30 0 in flight 30 ok 0 failed")
	contains(t, got.stderr, "requests   30 sent, 30 ok, 0 failed")

	got = f.client("-csv", "-", "-json", "Short", "round_robin")
	expect(t, "of one request: lines", strings.Count(got.stdout, "\n"), 2)
	contains(t, got.stderr, `"sent": 1,`)
	expect(t, "a report that a program can read", json.Valid([]byte(got.stderr)), true)
}

// A report that can't be written is a failure, on standard error too.
func TestReportThatCannotBeWritten(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	for _, flags := range []string{"-csv -", "-csv - -json", "-csv - -q"} {
		full := console.NewWriter(writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left on device") }), nil)
		args := strings.Fields("-broker " + f.addr + " -n 2 " + flags + " Short round_robin")
		var stdout bytes.Buffer
		expect(t, flags+": exit code", run(t.Context(), args, &stdout, full), 1)
		expect(t, flags+": rows", strings.Count(stdout.String(), "\n"), 3)
	}
}

// Rows that can't be written are a failure, after the report.
func TestCSVThatCannotBeWritten(t *testing.T) {
	f := newFake(t, always(protocol.Response))
	full := writerFunc(func([]byte) (int, error) { return 0, errors.New("no space left on device") })
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"-broker", f.addr, "-n", "30", "-csv", "-", "Short", "round_robin"}, full, &stderr)
	expect(t, "exit code", code, 1)
	contains(t, stderr.String(), "requests   30 sent, 30 ok, 0 failed")
	contains(t, stderr.String(), "\nclient: standard output: not all rows were written: no space left on device\n")

	nowhere := filepath.Join(t.TempDir(), "no", "run.csv")
	before := len(f.requests)
	got := f.client("-n", "2", "-csv", nowhere, "Short", "round_robin")
	expect(t, "exit code", got.code, 1)
	contains(t, got.stderr, "client: -csv: ")
	expect(t, "requests sent", len(f.requests), before)

	if _, err := os.Stat("/dev/full"); err != nil || runtime.GOOS == "windows" { // wine only shows it
		return
	}
	got = f.client("-n", "2", "-csv", "/dev/full", "Short", "round_robin")
	expect(t, "exit code", got.code, 1)
	contains(t, got.stdout, "requests   2 sent, 2 ok, 0 failed")
	contains(t, got.stderr, "client: -csv: not all rows were written: ")
}

// Where this machine has run out of something, the report says so at its top.
func TestLocalFailures(t *testing.T) {
	for _, kind := range []neterr.Kind{neterr.NoPort, neterr.InUse, neterr.ProcessFiles, neterr.NoBuffer, neterr.NoMemory} {
		err := cause(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", neterr.Errno(kind))})
		if !errors.As(err, new(*load.LocalError)) {
			t.Errorf("%v is not local", err)
		}
	}
	if err := cause(neterr.Errno(neterr.Refused)); errors.As(err, new(*load.LocalError)) {
		t.Errorf("%v is local", err)
	}
}
