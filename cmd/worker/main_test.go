package main

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
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
	for args, reason := range map[string]string{
		"":                    "<id> is missing",
		"0":                   `<id> is "0", want a number from 1 to 56534`,
		"56535":               `<id> is "56535", want a number from 1 to 56534`,
		"one":                 `<id> is "one", want a number from 1 to 56534`,
		"-slots -1 1":         "-slots must not be negative: -1",
		"-long -1s 1":         "a time must not be negative",
		"-long 5 1":           `invalid value "5" for flag -long: want a unit, such as 5s`,
		"-log xml 1":          `-log is "xml", want text, json or off`,
		"-listen : 1":         `-listen: ":" has no port from 0 to 65535`,
		"-listen 9002 1":      `-listen: "9002" is no address: want host:port, such as 127.0.0.1:9002`,
		"-listen 1.2.3.4:x 1": `-listen: "1.2.3.4:x" has no port from 0 to 65535`,
		"1 2":                 `"2" is one argument too many`,
	} {
		want := result{cli.Usage, "", "worker: " + reason + " (see worker -h)\n"}
		if got := start(t.Context(), strings.Fields(args)...); got != want {
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
		{4, "127.0.0.1:9005", "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002,127.0.0.1:9003,127.0.0.1:9004,127.0.0.1:9005\n"},
		{2, "127.0.0.1:7000", "worker: tell the broker of this worker: broker -workers 127.0.0.1:9002,127.0.0.1:7000,127.0.0.1:9004\n"},
		{2, "[::]:9003", ""},
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
		go func() { ended <- start(ctx, "-listen", addr, "-short", "0s", "-log", format, "2") }()
		if got := ask(t, addr); got != protocol.Response {
			t.Errorf("-log %s: %q", format, got)
		}
		stop()
		got := <-ended
		if got.code != cli.OK || !regexp.MustCompile(line).MatchString(got.stdout) || (format == "off") != (got.stdout == "") {
			t.Errorf("-log %s: %+v", format, got)
		}
		if !strings.HasSuffix(got.stderr, "worker: stopping; no job is in flight\n") {
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

// A port that is taken is said, and ends the program.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := start(t.Context(), "-listen", l.Addr().String(), "1")
	if got.code != cli.Failed || !strings.Contains(got.stderr, "the address is in use") || got.stdout != "" {
		t.Errorf("%+v", got)
	}
}
