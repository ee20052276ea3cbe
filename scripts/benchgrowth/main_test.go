package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balancelab/internal/cli"
	"balancelab/scripts/bench"
)

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-rounds", "1000"}, {"-d", "0s"}, {"-d", "1h"}, {"-only", "peers"}, {"now"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != cli.Usage || !strings.HasSuffix(errs.String(), " (see benchgrowth -h)\n") {
			t.Errorf("%q: exit %d, %q", args, code, &errs)
		}
	}
}

// What the open files do not allow is left out, and said.
func TestClientsThatFit(t *testing.T) {
	for _, test := range []struct {
		limit int
		names string
		noted bool
	}{
		{0, "1 client, 100 clients, 20,000 clients", false},
		{1 << 20, "1 client, 100 clients, 20,000 clients", false},
		{20000, "1 client, 100 clients, 9,000 clients", true},
		{1024, "1 client, 100 clients, 400 clients", true},
		{256, "1 client, 74 clients", true},
		{10, "1 client", true},
	} {
		g := clientGroup(test.limit, 1, 100, 20000)
		var names []string
		for _, c := range g.cases {
			names = append(names, c.name)
			if test.limit > 100 && 2*c.atOnce+100 > test.limit {
				t.Errorf("%d files: %d requests have no room", test.limit, c.atOnce)
			}
		}
		if got := strings.Join(names, ", "); got != test.names {
			t.Errorf("%d files: %s, want %s", test.limit, got, test.names)
		}
		if got := strings.Contains(g.note, "20,000 clients at once need more"); got != test.noted {
			t.Errorf("%d files: the note is %q", test.limit, g.note)
		}
	}
}

// As many requests are in flight as come in the time of a job.
func TestWork(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: 500 * time.Microsecond, 20000: 10 * time.Second} {
		if got := (setting{atOnce: n}).work(); got != want {
			t.Errorf("%d at once: %v, want %v", n, got, want)
		}
	}
}

func TestWorkers(t *testing.T) {
	l := &lab{behind: [3]int{21, 22, 23}, nobody: 24}
	for _, n := range []int{3, 1000, 10000} {
		for _, down := range []int{0, 1, 3} {
			ports, hosts := map[uint16]int{}, map[netip.Addr]bool{}
			for _, text := range l.workers(setting{workers: n, down: down}) {
				addr, err := netip.ParseAddrPort(text)
				if err != nil || !addr.Addr().IsLoopback() {
					t.Fatalf("%s: %v", text, err)
				}
				ports[addr.Port()]++
				hosts[addr.Addr()] = true
			}
			if len(hosts) != n {
				t.Errorf("%d workers have %d addresses", n, len(hosts))
			}
			if got, want := ports[24], n/3*down; got < want || got > want+3 {
				t.Errorf("of %d workers %d are down, want %d of three", n, got, down)
			}
			for _, port := range []uint16{21, 22, 23} {
				if got, want := ports[port], n*(3-down)/9; n > 3 && (got < want-2 || got > want+2) {
					t.Errorf("of %d workers, %d of three down, process %d has %d, want %d", n, down, port, got, want)
				}
			}
		}
	}
	if got := len(l.workers(setting{})); got != 3 {
		t.Errorf("%d workers, want 3", got)
	}
}

func TestSplit(t *testing.T) {
	addrs := []string{"a:1", "b:2", "c:3"}
	for size, want := range map[int]string{0: "a:1", 4: "a:1", 7: "a:1", 8: "a:1,b:2", 12: "a:1,b:2,c:3", 100: "a:1,b:2,c:3"} {
		list, rest := split(addrs, size)
		if list != want || strings.Join(append(strings.Split(list, ","), rest...), ",") != "a:1,b:2,c:3" {
			t.Errorf("%d bytes: %q and %q", size, list, rest)
		}
	}
}

func TestMedians(t *testing.T) {
	got := medians([]figures{{1, math.NaN(), 7, 5}, {3, math.NaN(), 9, 4}, {2, math.NaN(), 8, 6}})
	if got.rate != 2 || !math.IsNaN(got.p99) || got.cpu != 8 || got.memory != 5 {
		t.Errorf("%+v", got)
	}
}

// Each group has its own first line, to which its ratios are.
func TestTable(t *testing.T) {
	of := func(name string, s setting, f figures) namedCase { return namedCase{name, s, []figures{f}} }
	groups := []group{
		{title: "workers", note: "A note.\n", cases: []namedCase{
			of("3 workers", setting{}, figures{14000, 0.008, 50e-6, 12.34e6}),
			of("none", setting{}, figures{7, math.NaN(), 0.15, 20e6}),
		}},
		{title: "clients", cases: []namedCase{
			of("1 client", setting{atOnce: 1}, figures{4000, 0.001, 60e-6, 12e6}),
			of("many", setting{atOnce: 10000}, figures{4000, 0.012, 90e-6, 100e6}),
		}},
	}
	var b strings.Builder
	write(&b, groups, effort{d: time.Second, rounds: 1})
	const want = `
| the broker  | requests/s |    × |       p99 | CPU µs/request |     × |    MB |
|-------------|-----------:|-----:|----------:|---------------:|------:|------:|
| **workers** |            |      |           |                |       |       |
| 3 workers   |     14,000 | 1.00 |    8.0 ms |             50 |  1.00 |  12.3 |
| none        |          7 | 0.00 |         – |        150,000 | 3,000 |  20.0 |
| **clients** |            |      |           |                |       |       |
| 1 client    |      4,000 | 1.00 |    1.0 ms |             60 |  1.00 |  12.0 |
| many        |      4,000 | 1.00 | < 50.1 ms |             90 |  1.50 | 100.0 |

×: the ratio to the first line of a group. CPU and memory are the broker's alone.
A note.
`
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("got\n%swant at its end\n%s", &b, want)
	}
}

// brief is long enough for a request, and leaves most workers to orders.
var brief = effort{d: 50 * time.Millisecond, warmUp: 10 * time.Millisecond, rounds: 1, listSize: 60}

func TestGrow(t *testing.T) {
	needsProc(t)
	groups := []group{workerGroup(3, 9), clientGroup(0, 1, 40), viewerGroup(0, 2), logGroup()}
	var out, progress bytes.Buffer
	if err := grow(t.Context(), groups, brief, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, g := range groups {
		for _, c := range g.cases {
			if n := strings.Count(out.String(), "\n| "+c.name+" "); n != 1 {
				t.Errorf("%s has %d lines:\n%s", c.name, n, &out)
			}
		}
	}
	nothingLeft(t)
}

// The interrupt comes when the first case has been measured.
func TestInterrupt(t *testing.T) {
	needsProc(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	progress := writerFunc(func(b []byte) {
		if bytes.HasPrefix(b, []byte("round 1")) {
			interrupt()
		}
	})
	var out bytes.Buffer
	if err := grow(ctx, []group{viewerGroup(2, 2)}, brief, &out, progress); !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("%v, and printed %q", err, &out)
	}
	nothingLeft(t)
}

// Each viewer asks for what an open page does. What it does not get is an error.
func TestViewers(t *testing.T) {
	looks := make(chan string, 100)
	end := make(chan struct{}) // closed when streams are to end
	var broken atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		looks <- r.URL.Path
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if r.URL.Path == "/events" {
			io.WriteString(w, "data: {}\n\n")
			http.NewResponseController(w).Flush()
			select {
			case <-end:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()

	p, err := watch(t.Context(), addr, 3)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for count := 0; count < 3; {
		path := <-looks
		if seen = append(seen, path); path == "/status.json" {
			count++
		}
	}
	if err := p.end(); err != nil || len(seen) != 6 || !slices.Contains(seen, "/events") {
		t.Errorf("%v, after %q", err, seen)
	}

	if p, err = watch(t.Context(), addr, 1); err != nil {
		t.Fatal(err)
	}
	close(end)
	p.open.Wait()
	if err := p.end(); err == nil || !strings.Contains(err.Error(), "the events have ended") {
		t.Errorf("the stream ended, and the error is %v", err)
	}
	broken.Store(true)
	if _, err = watch(t.Context(), addr, 1); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the answer was 503, and the error is %v", err)
	}
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if ids := bench.Children(); ids != "" {
		t.Errorf("processes that are left: %s", ids)
	}
}

func needsProc(t *testing.T) {
	t.Helper()
	if err := bench.NeedsProc(); err != nil {
		t.Skip(err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
