package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"balancelab/internal/cli"
	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-n", "0"}, {"-n", "10000000"}, {"-c", "0"}, {"-longs", "-1"}, {"-longs", "100000"}, {"now"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != cli.Usage || !strings.HasSuffix(errs.String(), " (see benchpeers -h)\n") {
			t.Errorf("%q: exit %d, %q", args, code, &errs)
		}
	}
}

func TestWithPorts(t *testing.T) {
	p := ports{1, 2, [3]int{3, 4, 5}}
	got, err := withPorts("bind 127.0.0.1:8000 # not 8000\na 127.0.0.1:9002\nb 127.0.0.1:9004;", p)
	if want := "bind 127.0.0.1:1 # not 8000\na 127.0.0.1:3\nb 127.0.0.1:5;"; got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := withPorts("bind 127.0.0.1:80", p); err == nil {
		t.Error("a port that is not ours was let through")
	}
}

func TestFreePorts(t *testing.T) {
	p, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	all := p.all()
	slices.Sort(all)
	if len(slices.Compact(all)) != 5 || slices.Contains(all, 0) {
		t.Errorf("%+v, want five different ports", p)
	}
}

// The configurations have the real ports, each at least once, and the programs
// themselves take them.
func TestConfigurations(t *testing.T) {
	for _, test := range []struct {
		name  string
		ports []int
		check []string
	}{
		{"haproxy.cfg", []int{8000, 9002, 9003, 9004}, []string{program("haproxy"), "-c", "-f"}},
		{"haproxy-front.cfg", []int{8000, 8001}, []string{program("haproxy"), "-c", "-f"}},
		{"nginx.conf", realPorts.all(), []string{program("nginx"), "-t", "-e", "stderr", "-g", "pid " + filepath.Join(t.TempDir(), "pid") + ";", "-c"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := filepath.Abs(filepath.Join("..", "peers", test.name))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, port := range test.ports {
				if !strings.Contains(string(text), bench.Address(port)) {
					t.Errorf("there is no %s", bench.Address(port))
				}
			}
			if _, err := os.Stat(test.check[0]); err != nil {
				t.Skipf("%s is not installed", test.check[0])
			}
			out, err := exec.Command(test.check[0], append(test.check[1:], file)...).CombinedOutput()
			if err != nil && strings.Contains(string(out), "ngx_stream_module") {
				t.Skip("nginx's stream module is not installed")
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// HAProxy chooses the backend by a request's last field, wherever TCP cuts it.
// The servers of its two backends are told apart by what they answer.
func TestHAProxyChoosesByTheLastField(t *testing.T) {
	if _, err := os.Stat(program("haproxy")); err != nil {
		t.Skip("HAProxy is not installed")
	}
	l := newTestLab(t)
	text, err := os.ReadFile(filepath.Join(l.root, "scripts", "peers", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	second := "\nbackend " + protocol.LeastConnections.String()
	head, tail, found := strings.Cut(string(text), second)
	if !found {
		t.Fatalf("there is no %q", second)
	}
	roundRobin := serveText(t, protocol.RoundRobin.String())
	leastConnections := serveText(t, protocol.LeastConnections.String())
	head, err = withPorts(head, ports{front: l.front, workers: [3]int{roundRobin, roundRobin, roundRobin}})
	if err != nil {
		t.Fatal(err)
	}
	tail, err = withPorts(tail, ports{front: l.front, workers: [3]int{leastConnections, leastConnections, leastConnections}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config("haproxy.cfg"), []byte(head+second+tail), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StartReady(t.Context(), "HAProxy", exec.Command(program("haproxy"), "-db", "-f", l.config("haproxy.cfg")), bench.Answers(bench.Address(l.front))); err != nil {
		t.Fatal(err)
	}
	for _, a := range protocol.Approaches() {
		text := protocol.Request{Type: protocol.Short, Approach: a}.String()
		for cut := range len(text) {
			if got := askInTwo(t, bench.Address(l.front), text[:cut], text[cut:]); got != a.String() {
				t.Errorf("%q, cut at %d, went to %q", text, cut, got)
			}
		}
	}
}

// serveText returns the port of a server that answers everything with text.
func serveText(t *testing.T, text string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			if _, err := protocol.ReadJob(conn); err == nil {
				_, _ = io.WriteString(conn, text)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

// askInTwo sends a request in two writes and returns the answer.
func askInTwo(t *testing.T, addr, first, rest string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, part := range []string{first, rest} {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := protocol.ReadAnswer(conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

var tiny = size{rounds: 1, n: 40, c: 4}

// Every peer is in both tables, or named as left out.
func TestCompare(t *testing.T) {
	needsLinux(t)
	var out, progress bytes.Buffer
	if err := compare(t.Context(), tiny, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, p := range allPeers(tiny) {
		rows := strings.Count(out.String(), "| "+p.name+" ")
		left := strings.Count(out.String(), "Left out: "+p.name)
		if rows < len(protocol.Approaches()) && (left != 1 || p.config == "") {
			t.Errorf("%s has %d rows:\n%s", p.name, rows, &out)
		}
	}
	nothingLeft(t)
}

// The interrupt comes when the first peer has been measured.
func TestInterrupt(t *testing.T) {
	needsLinux(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	progress := writerFunc(func(b []byte) {
		if bytes.HasPrefix(b, []byte("round 1")) {
			interrupt()
		}
	})
	var out bytes.Buffer
	if err := compare(ctx, tiny, &out, progress); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("%v, and printed %q", err, &out)
	}
	nothingLeft(t)
}

func TestNotInstalled(t *testing.T) {
	needsLinux(t)
	l := &lab{root: filepath.Join("..", ".."), ports: realPorts}
	l.Dir = t.TempDir()
	none := filepath.Join(l.Dir, "none")
	found, leftOut := l.installed(t.Context(), []peer{
		{name: "one", version: []string{none, "-v"}},
		{name: "two", version: []string{"go", "version"}},
		{name: "three", check: func(*lab) *exec.Cmd { return exec.Command("go", "nonsense") }},
	})
	if len(found) != 1 || !strings.HasPrefix(found[0].name, "two 1.") {
		t.Errorf("found %d of them", len(found))
	}
	if len(leftOut) != 2 || !strings.HasPrefix(leftOut[0], "one: it is not installed") ||
		!strings.HasPrefix(leftOut[1], "three: it does not take its configuration") {
		t.Errorf("left out %q", leftOut)
	}
}

// A server that does not start is named, with what it said; requests that fail
// are counted, with their cause.
func TestFailure(t *testing.T) {
	needsLinux(t)
	l := newTestLab(t)
	_, err := l.StartReady(t.Context(), "broker", l.Command("broker", "-nonsense"), bench.Answers(bench.Address(l.front)))
	if err == nil || !strings.Contains(err.Error(), "broker did not start (exit status 2)") || !strings.Contains(err.Error(), "-nonsense") {
		t.Errorf("%v", err)
	}
	// Nothing listens: every request fails.
	if _, err := l.load(t.Context(), bench.Address(l.front), 7, 2, protocol.Short, protocol.RoundRobin); err == nil ||
		!strings.Contains(err.Error(), "7 of 7 requests: connect: connection refused") {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	nothingLeft(t)
}

func TestMemory(t *testing.T) {
	needsLinux(t)
	if testing.Short() {
		t.Skip("a Long takes 5 seconds")
	}
	l := newTestLab(t)
	l.size.longs = 50
	if err := l.startWorkers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.measureMemory(t.Context(), allPeers(l.size)[2]); err != nil {
		t.Error(err)
	}
}

func newTestLab(t *testing.T) *lab {
	t.Helper()
	l, err := newLab(t.Context(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// nothingLeft checks that this process has no child.
func nothingLeft(t *testing.T) {
	t.Helper()
	if ids := bench.Children(); ids != "" {
		t.Errorf("processes that are left: %s", ids)
	}
}

func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
