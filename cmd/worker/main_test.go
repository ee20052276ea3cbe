package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/protocol"
)

// result is what a run of the worker ends with.
type result struct {
	code           int
	stdout, stderr string
}

func start(ctx context.Context, args ...string) result {
	var stdout, stderr strings.Builder
	code := run(ctx, args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestWrongCommandLines(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // a worker that starts all the same ends at once
	for args, reason := range map[string]string{
		"":                     "<id> is missing",
		"0":                    `<id> is "0", want a number from 1 to 56534`,
		"56535":                `<id> is "56535", want a number from 1 to 56534`,
		"one":                  `<id> is "one", want a number from 1 to 56534`,
		"-slots -1 1":          "-slots must not be negative: -1",
		"-long -1s 1":          "a time must not be negative",
		"-short -1ns 1":        "a time must not be negative",
		"-drain-timeout -1s 1": "a time must not be negative",
		"-long 5 1":            `invalid value "5" for flag -long: want a unit, such as 5s`,
		"-log xml 1":           `-log is "xml", want text, json or off`,
		"-listen : 1":          `-listen: ":" has no port from 0 to 65535`,
		"-listen 9002 1":       `-listen: "9002" is no address: want host:port, such as 127.0.0.1:9002`,
		"-listen 1.2.3.4:x 1":  `-listen: "1.2.3.4:x" has no port from 0 to 65535`,
		"1 2":                  `"2" is one argument too many`,
	} {
		want := result{cli.Usage, "", "worker: " + reason + " (see worker -h)\n"}
		if got := start(stopped, strings.Fields(args)...); got != want {
			t.Errorf("%q: %+v\nwant %+v", args, got, want)
		}
	}
	if got := start(t.Context(), "-listen", "", "1"); got.code != cli.Usage || !strings.Contains(got.stderr, `"" is no address`) {
		t.Errorf("-listen \"\": %+v", got)
	}
}

func TestHelp(t *testing.T) {
	if got := start(t.Context(), "-h"); got != (result{cli.OK, usage, ""}) {
		t.Errorf("%+v", got)
	}
}

// A worker that the broker does not know says what the broker has to be told.
func TestTellBroker(t *testing.T) {
	for _, test := range []struct {
		id         int
		addr, want string
	}{
		{1, "127.0.0.1:9002", ""},
		{3, "127.0.0.1:9004", ""},
		{4, "127.0.0.1:9005", "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004,127.0.0.1:9005; or if it runs with -control: broker workers add 127.0.0.1:9005\n"},
		{2, "127.0.0.1:7000", "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002,127.0.0.1:7000,127.0.0.1:9004; or if it runs with -control: broker workers add 127.0.0.1:7000\n"},
		{3, "127.0.0.1:7000", "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:7000; or if it runs with -control: broker workers add 127.0.0.1:7000\n"},
		{2, "[::]:9003", ""},
		{2, "0.0.0.0:9003", ""},
	} {
		var stderr strings.Builder
		tellBroker(cli.NewLine("worker", "", nil, &stderr), test.id, test.addr)
		if stderr.String() != test.want {
			t.Errorf("worker %d at %s: %q, want %q", test.id, test.addr, stderr.String(), test.want)
		}
	}
}

// A worker works, and stops when it is told: in each format of its log.
func TestRun(t *testing.T) {
	for format, line := range map[string]string{
		"text": `^\[Worker-2\] Listening on port (\d+)\.\.\.\n`,
		"json": `"msg":"listening","worker":2,"address":"127\.0\.0\.1:(\d+)"`,
		"off":  "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan result, 1)
		go func() { ended <- start(ctx, "-listen", addr, "-long", "1h", "-short", "0s", "-log", format, "2") }()
		if got := ask(t, addr); got != protocol.Response {
			t.Errorf("-log %s: %q", format, got)
		}
		stop()
		got := <-ended
		if got.code != cli.OK || !regexp.MustCompile(line).MatchString(got.stdout) || (format == "off") != (got.stdout == "") {
			t.Errorf("-log %s: %+v", format, got)
		}
		want := "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002," + addr + ",127.0.0.1:9004; or if it runs with -control: broker workers add " + addr + "\n" +
			"worker: stopping; no job is in flight\n"
		if got.stderr != want {
			t.Errorf("-log %s: standard error: %s", format, got.stderr)
		}
	}
}

// ask sends a Short, as soon as the worker listens.
func ask(t *testing.T, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		defer conn.Close()
		io.WriteString(conn, protocol.Job{Type: protocol.Short}.String())
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Error(err)
		}
		return string(answer)
	}
	t.Fatal("no worker listens")
	return ""
}

// A running is a worker that runs.
type running struct {
	t      *testing.T
	addr   string
	stdout *bufio.Reader
	stop   func() result // its standard output is what was not read by line
}

// launch runs a worker at a free port, and returns when it listens.
func launch(t *testing.T, args ...string) *running {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan result, 1)
	go func() {
		var stderr strings.Builder
		code := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w, &stderr)
		w.Close()
		ended <- result{code, "", stderr.String()}
	}()
	v := &running{t: t, stdout: bufio.NewReader(r)}
	v.stop = sync.OnceValue(func() result {
		cancel()
		rest, _ := io.ReadAll(v.stdout)
		got := <-ended
		got.stdout = string(rest)
		return got
	})
	t.Cleanup(func() { v.stop() })
	port := regexp.MustCompile(`Listening on port (\d+)`).FindStringSubmatch(v.line())
	if port == nil {
		t.Fatal("it does not listen")
	}
	v.addr = "127.0.0.1:" + port[1]
	return v
}

// line returns the next line that the worker prints.
func (v *running) line() string {
	v.t.Helper()
	line, err := v.stdout.ReadString('\n')
	if err != nil {
		v.t.Errorf("%v after %q", err, line)
	}
	return line
}

// send sends a job, and returns the connection.
func (v *running) send(job protocol.Type) net.Conn {
	v.t.Helper()
	conn, err := net.Dial("tcp", v.addr)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, protocol.Job{Type: job}.String())
	return conn
}

// expect checks that the next line is that about the job of conn.
func (v *running) expect(before string, conn net.Conn, after string) {
	v.t.Helper()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	if got, want := v.line(), "[Worker] "+before+" ('127.0.0.1', "+port+")"+after+"\n"; got != want {
		v.t.Errorf("%q, want %q", got, want)
	}
}

// With -slots a job waits, and is dropped when its asker leaves. A stop with no
// time to drain cuts off what is worked on, and says so.
func TestSlotsAndDrainTimeout(t *testing.T) {
	v := launch(t, "-slots", "1", "-long", "1h", "-drain-timeout", "1ms", "1")
	busy := v.send(protocol.Long)
	v.expect("Processing long request from", busy, "")
	waiting := v.send(protocol.Long)
	waiting.(*net.TCPConn).CloseWrite()
	v.expect("Dropped", waiting, ": left while it waited")
	io.ReadAll(waiting) // at its end the job is in flight no more
	got := v.stop()
	const want = `worker: finishing 1 job, at most 1ms; once more to end now
worker: not everything in flight was finished in time
`
	if got.code != cli.Failed || !strings.HasSuffix(got.stderr, want) {
		t.Errorf("%+v, want %q", got, want)
	}
	_, port, _ := net.SplitHostPort(busy.LocalAddr().String())
	if want := "[Worker] Refused ('127.0.0.1', " + port + "): stopped before the job was done\n"; got.stdout != want {
		t.Errorf("in the end it prints %q, want %q", got.stdout, want)
	}
	if answer, err := io.ReadAll(busy); len(answer) > 0 {
		t.Errorf("what was cut off reads %q, %v", answer, err)
	}
}

// A stop waits for the job that is worked on.
func TestDrain(t *testing.T) {
	v := launch(t, "-short", "20ms", "1")
	conn := v.send(protocol.Short)
	v.expect("Processing short request from", conn, "")
	if got := v.stop(); got.code != cli.OK {
		t.Errorf("%+v", got)
	}
	if answer, err := io.ReadAll(conn); string(answer) != protocol.Response || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
}

// Without -listen a worker is at the port of its number: it listens there, or
// says that another program does.
func TestPortOfItsNumber(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	got := start(stopped, "56534")
	if text := got.stdout + got.stderr; !strings.Contains(text, "65535") {
		t.Errorf("%+v", got)
	}
	if got.code == cli.OK && !strings.HasPrefix(got.stdout, "[Worker-56534] Listening on port 65535...\n") {
		t.Errorf("%+v", got)
	}
}

// A port that is taken is said, and ends the program.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // so that it does not wait for the port
	got := start(stopped, "-listen", l.Addr().String(), "1")
	if got.code != cli.Failed || !strings.Contains(got.stderr, "the address is in use") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}
