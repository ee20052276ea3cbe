package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"balancelab/internal/cli"
	"balancelab/internal/programs"
	"balancelab/internal/stats"
)

// newLab returns a lab of two workers on free ports, and what it shows, to be read
// when nothing runs. ready is called when all runs.
func newLab(ready func(l *lab, url string)) (*lab, *bytes.Buffer) {
	shown := new(bytes.Buffer)
	l := &lab{plan: plan{workers: 2, slots: 1}, listing: &programs.Listing{W: shown}}
	l.ready = func(url string) { ready(l, url) }
	return l, shown
}

// gone checks that n programs were started, and that none of them is left.
func (l *lab) gone(t *testing.T, n int) {
	t.Helper()
	started := l.set.Started()
	if len(started) != n {
		t.Errorf("%d programs were started, want %d", len(started), n)
	}
	for _, p := range started {
		select {
		case <-p.Gone():
		default:
			t.Errorf("%s is not gone", p.Name)
		}
	}
	if left, err := filepath.Glob(filepath.Join(l.set.Dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("what was built is left: %q, %v", left, err)
	}
}

// contains checks that text has all parts, in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is not there, or not in its place, in\n%s", part, text)
		}
		rest = after
	}
}

// The lab runs until it is told to stop; then all ends well, the workers after the
// broker's last line. A browser that is not there is no failure.
func TestLab(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	l, shown := newLab(func(_ *lab, url string) {
		defer interrupt()
		reply, err := http.Get(url + "status.json")
		if err != nil {
			t.Error(err)
			return
		}
		defer reply.Body.Close()
		var s stats.Snapshot
		if err := json.NewDecoder(reply.Body).Decode(&s); err != nil || !s.Control || len(s.Workers) != 2 {
			t.Errorf("%v: control is %v, with %d workers", err, s.Control, len(s.Workers))
		}
	})
	if err := l.show(ctx); err != nil {
		t.Error(err)
	}
	l.gone(t, 3)
	for _, p := range l.set.Started() {
		if p.Code() != 0 {
			t.Errorf("%s: %s", p.Name, p.State())
		}
	}
	contains(t, shown.String(), "lab      | Building", "worker-1 $ worker -listen 127.0.0.1:0 -slots 1 -long 0s -short 0s 1\n",
		"worker-1 | [Worker-1] Listening on port ", "worker-2 $ ", "broker   $ broker -listen 127.0.0.1:0 -workers 127.0.0.1:", " -control",
		"broker   | [Broker] Listening", "lab      | The page is at http://127.0.0.1:", "lab      | Stopping...",
		"broker   | [Broker] Worker-2: answered", "worker-2 | worker: stopping", "lab      | Everything is stopped.\n")
}

// A worker that is killed is part of the lesson; a broker that is killed ends it.
func TestKilled(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(l *lab, interrupt func()) // when it was said that the worker has ended
		want string                         // the error begins so; "" for none
	}{
		{"then Ctrl-C", func(_ *lab, interrupt func()) { interrupt() }, ""},
		{"then the broker", func(l *lab, _ func()) { go l.set.Started()[2].Kill() }, "the broker has ended ("},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		l, shown := newLab(func(l *lab, _ string) { l.set.Started()[1].Kill() })
		inner := l.listing.W
		l.listing.W = writer(func(text []byte) (int, error) {
			if bytes.HasPrefix(text, []byte("lab      | worker-2 has ended")) {
				test.then(l, interrupt)
			}
			return inner.Write(text)
		})
		err := l.show(ctx)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		interrupt()
		l.gone(t, 3)
		contains(t, shown.String(), "The page is at", "lab      | worker-2 has ended (")
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }

// What opens the page may be missing, or fail.
func TestOpener(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, opener := range map[string]*exec.Cmd{
		"missing": exec.Command(filepath.Join(t.TempDir(), "no-such-program")),
		"fails":   exec.Command(self, "-no-such-flag"),
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		l, shown := newLab(func(*lab, string) {})
		l.plan.workers = 1
		l.opener = func(url string) *exec.Cmd {
			opener.Args = append(opener.Args, url)
			return opener
		}
		inner := l.listing.W
		l.listing.W = writer(func(text []byte) (int, error) {
			if bytes.Contains(text, []byte("No browser could be opened")) {
				interrupt()
			}
			return inner.Write(text)
		})
		if err := l.show(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		interrupt()
		contains(t, shown.String(), "The page is at "+opener.Args[len(opener.Args)-1], "No browser could be opened (", "open http://127.0.0.1:")
	}
	if cmd := opener("http://127.0.0.1:1/"); cmd.Args[len(cmd.Args)-1] != "http://127.0.0.1:1/" {
		t.Errorf("it opens %q", cmd.Args)
	}
}

// A port that is taken is said before anything is built.
func TestTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for flag, program := range map[string]string{"-first": "worker-1", "-port": "broker", "-page": "the page"} {
		args := []string{"-no-open", "-workers", "1", "-first", "0", "-port", "0", "-page", "0"}
		var out, errs bytes.Buffer
		code := run(t.Context(), append(args, flag, port), &out, &errs)
		want := "lab: 127.0.0.1:" + port + " is in use, which " + program + " needs: stop the program that has it (another lab?), or choose another port with " + flag + "\n"
		if code != cli.Failed || errs.String() != want || out.Len() > 0 {
			t.Errorf("%s: exit %d, %q, want %q; shown was %q", flag, code, errs.String(), want, out.String())
		}
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := (plan{workers: 1, port: number, page: number}).taken(); err == nil || !strings.Contains(err.Error(), "which the page needs") {
		t.Errorf("one port for two: %v", err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for args, want := range map[string]string{
		"-workers 0":                 "-workers must be from 1 to 100: 0",
		"-workers 101":               "-workers must be from 1 to 100: 101",
		"-slots -1":                  "-slots must not be negative: -1",
		"-short -1s":                 "must not be negative: -1s",
		"-port 65536":                "-port gives broker the port 65536",
		"-first 65535":               "-first gives worker-2 the port 65536",
		"-page -1":                   "-page gives the page the port -1",
		"round_robin":                "round_robin",
		"-first 65534 -workers 2 -x": "-x",
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), io.Discard, &errs); code != cli.Usage || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, %q, want %q", args, code, errs.String(), want)
		}
	}
}

// The usage stands in the doc comment, too.
func TestUsageIsDocumented(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	for line := range strings.Lines(usage) {
		comment := "//\t" + line
		if line == "\n" {
			comment = "//\n"
		}
		if !bytes.Contains(source, []byte(comment)) {
			t.Errorf("the doc comment lacks %q", line)
		}
	}
}
