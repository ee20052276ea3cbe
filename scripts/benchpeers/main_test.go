package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"balancelab/internal/command"
	"balancelab/internal/protocol"
)

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-n", "0"}, {"-n", "10000000"}, {"-c", "0"}, {"-longs", "-1"}, {"-longs", "100000"}, {"now"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != command.Usage || !strings.HasSuffix(errs.String(), usage) {
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
				if !strings.Contains(string(text), address(port)) {
					t.Errorf("there is no %s", address(port))
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

var tiny = size{rounds: 1, n: 40, c: 4}

// Every peer is in both tables, or named as left out.
func TestBench(t *testing.T) {
	needsLinux(t)
	var out, progress bytes.Buffer
	if err := bench(t.Context(), tiny, &out, &progress); err != nil {
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
	if err := bench(ctx, tiny, &out, progress); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("%v, and printed %q", err, &out)
	}
	nothingLeft(t)
}

func TestNotInstalled(t *testing.T) {
	needsLinux(t)
	l := &lab{root: filepath.Join("..", ".."), dir: t.TempDir(), ports: realPorts}
	none := filepath.Join(l.dir, "none")
	found, leftOut := l.installed(t.Context(), []peer{
		{name: "one", version: []string{none, "-v"}},
		{name: "two", version: []string{"go", "version"}},
		{name: "three", check: func(*lab) []string { return []string{"go", "nonsense"} }},
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
	_, err := l.start(t.Context(), "broker", []string{address(l.front)}, filepath.Join(l.dir, "broker"), "-nonsense")
	if err == nil || !strings.Contains(err.Error(), "broker did not start (exit status 2)") || !strings.Contains(err.Error(), "-nonsense") {
		t.Errorf("%v", err)
	}
	// Nobody listens: every request fails.
	if _, err := l.load(t.Context(), address(l.front), 7, 2, protocol.Short, protocol.RoundRobin); err == nil ||
		!strings.Contains(err.Error(), "7 of 7 requests: connect: connection refused") {
		t.Errorf("%v", err)
	}
	if err := l.close(); err != nil {
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
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// nothingLeft checks that no process below this one runs.
func nothingLeft(t *testing.T) {
	t.Helper()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	if found := tree(all, os.Getpid()); len(found) != 1 {
		t.Errorf("processes that are left: %+v", found)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
