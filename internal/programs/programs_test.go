package programs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// newSet returns a set of which nothing is left when the test ends.
func newSet(t *testing.T) *Set {
	t.Helper()
	set := &Set{Dir: t.TempDir()}
	t.Cleanup(func() {
		for _, p := range set.Started() {
			p.Kill()
		}
	})
	return set
}

func start(t *testing.T, set *Set, cmd *exec.Cmd) *Program {
	t.Helper()
	p, err := set.Start("program", cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// patient returns a context that is there against hanging only.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits until p has written text.
func until(t *testing.T, p *Program, text string) {
	t.Helper()
	err := p.Until(patient(t), text, func() bool { return strings.Contains(p.Stdout.String(), text) })
	if err != nil {
		t.Fatal(err)
	}
}

// complains checks that err says each of want.
func complains(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want %q", what, err, w)
		}
	}
}

// shell returns a command that a shell carries out.
func shell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell and signals")
	}
	return exec.Command("sh", "-c", script)
}

func TestListeningPort(t *testing.T) {
	for _, test := range []struct{ line, port string }{
		{"[Worker-1] Listening on port 9002...", "9002"},
		{"[Broker] Listening on port 8000...", "8000"},
		{`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"listening","address":"127.0.0.1:41234"}`, "41234"},
		{`{"msg":"answered","address":"127.0.0.1:41234"}`, ""},
		{`{"msg":"listening","address":"nowhere"}`, ""},
		{"[Broker] Connected with ('127.0.0.1', 57730)", ""},
		{"", ""},
	} {
		if port, ok := listeningPort(test.line); port != test.port || ok != (test.port != "") {
			t.Errorf("listeningPort(%q) = %q, %v", test.line, port, ok)
		}
	}
}

func TestScreen(t *testing.T) {
	var got []string
	s := &Screen{Line: func(line string) { got = append(got, line) }}
	for _, text := range []string{"on", "e\ntwo\n\nth", "ree"} {
		more := s.changed()
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", text, n, err)
		}
		select {
		case <-more:
		default:
			t.Errorf("what waits was not told of %q", text)
		}
	}
	if all := strings.Join(got, "|"); all != "one|two|" {
		t.Errorf("before the end Line got %q", all)
	}
	s.end()
	s.end()
	if all := strings.Join(got, "|"); all != "one|two||three" {
		t.Errorf("Line got %q", all)
	}
	if lines := strings.Join(s.Lines(), "|"); lines != "one|two|" || s.String() != "one\ntwo\n\nthree" {
		t.Errorf("the lines are %q, the text %q", lines, s)
	}
}

// Of one that keeps so many bytes the latest lines are there, each of them whole,
// and Line gets every line.
func TestScreenDrops(t *testing.T) {
	got := 0
	s := &Screen{Most: 30, Line: func(string) { got++ }}
	for i := range 1000 {
		fmt.Fprintf(s, "line %d\nbegun", i)
		if text := s.String(); len(text) > 90 || len(text) < 30 && i > 10 || !strings.HasSuffix(text, fmt.Sprintf("line %d\nbegun", i)) ||
			!strings.HasPrefix(strings.TrimPrefix(text, "begun"), "line ") {
			t.Fatalf("after %d lines: %q", i+1, text)
		}
	}
	if got != 1000 {
		t.Errorf("Line got %d", got)
	}
}

func TestServe(t *testing.T) {
	set := newSet(t)
	if err := Build(t.Context(), set.Dir, "worker"); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		w, err := set.Serve(t.Context(), "worker-1", set.Command("worker", "-listen", "127.0.0.1:0", "-log", format, "1"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", w.Addr())
		if err != nil {
			t.Errorf("-log %s: nothing listens at %s: %v", format, w.Addr(), err)
			continue
		}
		conn.Close()
	}
	if err := set.Stop(); err != nil {
		t.Error(err)
	}
	for _, p := range set.Started() {
		if err := p.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s is not gone: %v", p.Name, err)
		}
	}
	_, err := set.Serve(t.Context(), "worker-0", set.Command("worker", "0"))
	complains(t, "a server that does not start", err, "worker-0 did not start (exit status 2): worker: ", `"0"`)
	_, err = set.Serve(t.Context(), "nothing", set.Command("nothing"))
	complains(t, "what is no program", err, "start nothing: ")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = set.Serve(ended, "worker-1", set.Command("worker", "-listen", "127.0.0.1:0", "-log", "off", "1"))
	complains(t, "a server that says nothing", err, "worker-1 did not say within 1m0s that it listens")
}

func TestBuildInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Build(ctx, t.TempDir(), "worker"); !errors.Is(err, ErrInterrupted) {
		t.Errorf("%v, want %v", err, ErrInterrupted)
	}
	complains(t, "what is not there", Build(t.Context(), t.TempDir(), "nothing"), "go build: ", "cmd/nothing")
}

func TestStreams(t *testing.T) {
	const script = "echo out; echo error >&2"
	set := newSet(t)
	two := start(t, set, shell(t, script))
	var lines []string
	one := start(t, set, Joined(shell(t, script+"; printf rest"), func(line string) { lines = append(lines, line) }))
	var own strings.Builder
	cmd := shell(t, script)
	cmd.Stdout = &own
	other := start(t, set, cmd)
	for _, p := range set.Started() {
		if err := p.Wait(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	for what, test := range map[string]struct{ got, want string }{
		"Stdout":                   {two.Stdout.String(), "out\n"},
		"Stderr":                   {two.Stderr.String(), "error\n"},
		"Said":                     {two.Said(), "out\nerror"},
		"Joined":                   {one.Stdout.String(), "out\nerror\nrest"},
		"Joined, said":             {one.Said(), "out\nerror\nrest"},
		"the lines":                {strings.Join(lines, "|"), "out|error|rest"},
		"a writer of one's own":    {own.String(), "out\n"},
		"with a writer, on Stdout": {other.Stdout.String(), ""},
		"with a writer, on Stderr": {other.Stderr.String(), "error\n"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, want %q", what, test.got, test.want)
		}
	}
}

// The error of a vain wait says why, and what the program has written.
func TestWaitsInVain(t *testing.T) {
	set := newSet(t)
	never := func() bool { return false }
	hangs := start(t, set, shell(t, "echo busy; exec sleep 600"))
	until(t, hangs, "busy\n")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	complains(t, "Until", hangs.Until(ended, "a word", never), "program has not shown a word (context canceled); it showed:\nbusy")
	complains(t, "Wait", hangs.Wait(ended), "program has not ended (context canceled); it showed:\nbusy")
	fails := start(t, set, shell(t, "echo why >&2; exit 3"))
	complains(t, "Until the end", fails.Until(patient(t), "a word", never), "program ended (exit status 3) before it showed a word; it showed:\nwhy")
	if fails.Code() != 3 {
		t.Errorf("exit code %d, want 3", fails.Code())
	}
	hangs.Kill()
	hangs.Kill()
	if hangs.Code() != -1 || hangs.State() != "signal: killed" {
		t.Errorf("exit code %d, %s", hangs.Code(), hangs.State())
	}
}

// A program that ends leaves nothing behind of what it has started: here what
// keeps a pipe open.
func TestLeavesNothing(t *testing.T) {
	set := newSet(t)
	open, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cmd := shell(t, "sleep 600 >/dev/null 2>&1 &")
	cmd.ExtraFiles = []*os.File{pipe}
	p := start(t, set, cmd)
	pipe.Close()
	if err := p.Wait(patient(t)); err != nil {
		t.Fatal(err)
	}
	open.SetReadDeadline(time.Now().Add(Patience))
	if _, err := open.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("what it has started is left: %v", err)
	}
}

// All are told to stop. What another program ends with is no reason for a
// complaint.
func TestStop(t *testing.T) {
	set := newSet(t)
	for _, code := range []string{"0", "143"} {
		until(t, start(t, set, shell(t, "trap 'exit "+code+"' TERM; echo ready; sleep 600 >/dev/null 2>&1 & wait")), "ready")
	}
	if err := set.Stop(); err != nil {
		t.Error(err)
	}
	for i, want := range []int{0, 143} {
		if code := set.Started()[i].Code(); code != want {
			t.Errorf("exit code %d, want %d", code, want)
		}
	}
}

// A program of ours that ends badly is a reason for one complaint, unless it
// was run to its end.
func TestBadEnd(t *testing.T) {
	set := newSet(t)
	if err := Build(t.Context(), set.Dir, "worker"); err != nil {
		t.Fatal(err)
	}
	run, err := set.Run(patient(t), "run", set.Command("worker", "0"))
	if err != nil || run.Code() != 2 {
		t.Fatalf("%v, exit code %d, want 2", err, run.Code())
	}
	p := start(t, set, set.Command("worker", "0"))
	<-p.Gone()
	complains(t, "the first stop", set.Stop(), "program did not stop in good order (exit status 2)")
	if err := set.Stop(); err != nil {
		t.Errorf("the second stop: %v", err)
	}
}

// What runs for too long is stopped.
func TestRunIsStopped(t *testing.T) {
	set := newSet(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := shell(t, "echo busy; exec sleep 600")
	out := &Screen{Line: func(string) { cancel() }}
	cmd.Stdout = out
	_, err := set.Run(ctx, "shell", cmd)
	complains(t, "Run", err, "shell has not ended (context canceled); it showed:\nbusy")
	select {
	case <-set.Started()[0].Gone():
	default:
		t.Error("it still runs")
	}
}
