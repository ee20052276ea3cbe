package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/stats"
)

// sample is a snapshot with something in every field.
func sample() stats.Snapshot {
	start := time.Date(2024, 5, 1, 12, 0, 0, 250e6, time.UTC)
	answered := map[protocol.Approach]int{protocol.RoundRobin: 7, protocol.LeastConnections: 2}
	return stats.Snapshot{
		Time: start.Add(time.Minute), Started: start, Listen: "127.0.0.1:8000", Control: true, Clients: 3,
		Totals: stats.Totals{Connected: 24, Answered: 18, Refused: 1, ClientsGone: 1, NoRequest: 5, LinesDropped: 1234, Redispatched: 6,
			Failed:    map[protocol.Approach]int{protocol.RoundRobin: 2, protocol.LeastConnections: 0},
			Withdrawn: map[protocol.Approach]int{protocol.RoundRobin: 0, protocol.LeastConnections: 1}},
		LastMinute: stats.Minute{Seconds: 60, Answered: 18, Failed: 3, Rate: .3, PerSecond: []int{0, 4},
			Latency: []stats.Latency{{Approach: protocol.RoundRobin, Answered: 14, P50: 1, P95: 5, P99: 5.1, Max: 6},
				{Approach: protocol.RoundRobin, Type: protocol.Long, Answered: 5, P50: 5, P95: 5.1, P99: 5.1, Max: 6}}},
		Queue: stats.Queue{Waiting: 2, Oldest: 1.25, Most: 7, History: []int{0, 2},
			Waited: stats.Histogram{Count: 3, Sum: 4.5, Buckets: []stats.Bucket{{Le: .5129, Count: 1}, {Le: 1.023, Count: 2}}}},
		Spread:  []stats.Spread{{Approach: protocol.RoundRobin, Assigned: 16, Shares: []float64{.5, .5}, Fair: []float64{.5, .5}, MaxDeviation: 0, Evenness: 1}},
		Removed: stats.Removed{Assigned: 4, Failed: 1, Withdrawn: 1, Answered: map[protocol.Approach]int{protocol.RoundRobin: 2, protocol.LeastConnections: 0}},
		Workers: []stats.Worker{
			{Name: "Worker-1", Addr: "127.0.0.1:9002", State: "up", Weight: 1, Limit: 5, FairShare: .5, InFlight: 3, Peak: 4,
				InFlightOf: map[protocol.Type]int{protocol.Long: 1, protocol.Short: 2},
				History:    []int{1, 3}, Assigned: 12, Answered: answered, Failed: 0,
				LastAnswer: start.Add(50 * time.Second), Serving: stats.Serving{Count: 9, Sum: 12.25}},
			{Name: `odd "\` + "\n", Addr: "127.0.0.1:9003", State: "cooling down", Cooling: 1.5, Weight: 1, FairShare: .5,
				InFlightOf: map[protocol.Type]int{protocol.Long: 0, protocol.Short: 0},
				History:    []int{}, Assigned: 12, Answered: answered, Failed: 3, Error: &stats.Failure{Time: start, Text: "connection refused"}},
		},
		Latest: []stats.Request{{Number: 21, Time: start, Outcome: stats.Refused, Attempts: 2, Seconds: .1, Detail: `unknown type "<b>"`}},
		Durations: []stats.Histogram{
			{Approach: protocol.RoundRobin, Type: protocol.Long, Count: 5, Sum: 31, Buckets: []stats.Bucket{{Le: 5.129, Count: 4}}},
			{Approach: protocol.RoundRobin, Type: protocol.Short, Count: 9, Sum: 9.5, Buckets: []stats.Bucket{{Le: 1.023, Count: 8}, {Le: 1.072, Count: 9}}},
			{Approach: protocol.LeastConnections, Type: protocol.Long, Buckets: []stats.Bucket{}},
			{Approach: protocol.LeastConnections, Type: protocol.Short, Count: 4, Sum: 4, Buckets: []stats.Bucket{{Le: 1.023, Count: 4}}},
		},
		Causes: []stats.CauseCount{
			{Cause: "refused", Attempts: 3, Requests: map[protocol.Approach]int{protocol.RoundRobin: 2, protocol.LeastConnections: 0}},
			{Cause: "no answer", Requests: map[protocol.Approach]int{protocol.RoundRobin: 0, protocol.LeastConnections: 0}},
		},
	}
}

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestHandler(t *testing.T) {
	h := Handler(Site{Snapshot: sample})
	for _, test := range []struct {
		method, path string
		code         int
		contentType  string
		has          string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<title>Broker</title>"},
		{"GET", "/page.css", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"GET", "/page.js", 200, "text/javascript; charset=utf-8", "status.json"},
		{"GET", "/icon.svg", 200, "image/svg+xml", "<svg"},
		{"GET", "/status.json", 200, "application/json", `"Worker-1"`},
		{"GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "# TYPE"},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n"},
		{"HEAD", "/status.json", 200, "application/json", ""},
		{"POST", "/", 405, "text/plain; charset=utf-8", "Method Not Allowed"},
		{"DELETE", "/status.json", 405, "text/plain; charset=utf-8", "Method Not Allowed"},
		{"GET", "/page.html", 404, "text/plain; charset=utf-8", "404"},
		{"GET", "/status.go", 404, "text/plain; charset=utf-8", ""},
	} {
		w := get(h, test.method, test.path)
		if w.Code != test.code || w.Header().Get("Content-Type") != test.contentType || !strings.Contains(w.Body.String(), test.has) {
			t.Errorf("%s %s: %d %s %.60q", test.method, test.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", test.method, test.path, name, got, want)
			}
		}
	}
	if got := get(h, "PUT", "/metrics").Header().Get("Allow"); got != "GET, HEAD" {
		t.Errorf("a wrong method is told to use %q", got)
	}
}

func TestJSONIsTheSnapshot(t *testing.T) {
	var got stats.Snapshot
	d := json.NewDecoder(get(Handler(Site{Snapshot: sample}), "GET", "/status.json").Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if want := sample(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// manyBuckets are the lines of all buckets whose bound is not 1.023 or infinite.
var manyBuckets = regexp.MustCompile(`(?m)^.*_bucket{.*,le="([^1+]|1[^.]|1\.[^0]|1\.0[^2]).*\n`)

// programMetricsOf returns the end of the text of /metrics that is about this
// process, and is different each time.
func programMetricsOf(text []byte) []byte {
	_, end, found := bytes.Cut(text, []byte("\n# HELP process_"))
	if !found {
		return nil
	}
	return text[len(text)-len(end)-len("# HELP process_"):]
}

var update = flag.Bool("update", false, "write what TestBytes gets into testdata")

// TestBytes compares both forms of the snapshot with what they were when other
// programs began to rely on them. Of the many buckets it has one.
func TestBytes(t *testing.T) {
	for path, file := range map[string]string{"/status.json": "testdata/status.json", "/metrics": "testdata/metrics.txt"} {
		got := get(Handler(Site{Snapshot: sample}), "GET", path).Body.Bytes()
		got = manyBuckets.ReplaceAll(bytes.TrimSuffix(got, programMetricsOf(got)), nil)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")) // as git may check it out on Windows
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
}

// TestPageIsAlone checks that the page asks no other server for anything, and that
// no text can become HTML.
func TestPageIsAlone(t *testing.T) {
	scripts, err := filepath.Glob("*.js")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, path := range append([]string{"/", "/page.css", "/icon.svg"}, scripts...) {
		path = "/" + strings.TrimPrefix(path, "/")
		text := get(Handler(Site{Snapshot: sample}), "GET", path).Body.String()
		text = strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick="} {
			if strings.Contains(text, bad) {
				t.Errorf("%s contains %q", path, bad)
			}
		}
	}
}

func TestHealthzWhileStopping(t *testing.T) {
	w := get(Handler(Site{Snapshot: func() stats.Snapshot { return stats.Snapshot{Stopping: true} }}), "GET", "/healthz")
	if w.Code != 503 || w.Body.String() != "stopping\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestHost(t *testing.T) {
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	elsewhere := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}
	for _, test := range []struct {
		local net.Addr
		host  string
		code  int
	}{
		{loopback, "127.0.0.1:8080", 200},
		{loopback, "localhost:8080", 200},
		{loopback, "LocalHost", 200},
		{loopback, "[::1]:8080", 200},
		{loopback, "[::1]", 200},
		{loopback, "evil.example:8080", 403},
		{loopback, "127.0.0.1.evil.example", 403},
		{loopback, "", 403},
		{elsewhere, "lab.example:8080", 200},
	} {
		r := httptest.NewRequest("GET", "/status.json", nil)
		r.Host = test.host
		w := httptest.NewRecorder()
		Handler(Site{Snapshot: sample}).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, test.local)))
		if w.Code != test.code {
			t.Errorf("host %q at %v: got %d, want %d", test.host, test.local, w.Code, test.code)
		}
	}
}

// TestSnapshotsAreShared has a hundred pages look at once and again.
func TestSnapshotsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken atomic.Int32
		h := Handler(Site{Snapshot: func() stats.Snapshot { taken.Add(1); return stats.Snapshot{} }})
		for range 4 { // for a second, in steps of Fresh
			var pages sync.WaitGroup
			for range 100 {
				pages.Go(func() { get(h, "GET", "/status.json") })
			}
			pages.Wait()
			time.Sleep(Fresh - 1)
			get(h, "GET", "/metrics")
			time.Sleep(time.Nanosecond)
		}
		if n := taken.Load(); n != 4 {
			t.Errorf("%d snapshots were taken, want 4", n)
		}
	})
}

// served has s serve and returns its address, and what stops it and waits.
func served(t *testing.T, s *Server) (addr string, stop func() error) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

// A stop waits neither for a page that does not read nor for one that is idle.
func TestServeDoesNotWaitForPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowdBehind(t, &Server{Handler: Handler(Site{Snapshot: sample})}, func(l net.Listener) net.Listener { return &firstIsStuck{Listener: l} })
		c.join(request("/page.js"))
		c.join("")
		c.join(request("/healthz")).answer()
		c.over()
		if gone := c.closed(); len(gone) != 3 {
			t.Errorf("closed: %v, want all three", gone)
		}
	})
}

// Real pages are cut off when the server stops, and its address is free.
func TestStop(t *testing.T) {
	addr, stop := served(t, &Server{Handler: Handler(Site{Snapshot: sample})})
	page := send(t, addr, request("/healthz"))
	r := bufio.NewReader(page)
	answered(t, r)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the address is still bound")
	}
	if _, err := r.ReadByte(); err != io.EOF && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("an idle page is not cut off: %v", err)
	}
}

// TestMaxConns fills the server up and sees two more pages get places, at the
// cost of two that were idle and no other.
func TestMaxConns(t *testing.T) {
	addr, _ := served(t, &Server{Handler: Handler(Site{Snapshot: sample})})
	var pages []*bufio.ReadWriter
	for range DefaultMaxConns + 2 {
		conn := send(t, addr, request("/healthz"))
		page := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
		answered(t, page.Reader)
		pages = append(pages, page)
	}
	closed := 0
	for _, page := range pages {
		io.WriteString(page, request("/healthz"))
		page.Flush()
		if _, err := page.Peek(1); err != nil {
			closed++
			continue
		}
		answered(t, page.Reader)
	}
	if closed != 2 {
		t.Errorf("%d pages lost their connection, want 2", closed)
	}
}

func answered(t *testing.T, r *bufio.Reader) {
	t.Helper()
	reply, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if text, _ := io.ReadAll(reply.Body); string(text) != "ok\n" {
		t.Fatalf("got %q", text)
	}
}

func TestListenSaysWhatToDo(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // so that it does not wait for the address
	for addr, want := range map[string]string{
		l.Addr().String(): "choose another with -status",
		"8080":            "missing port",
		"127.0.0.1:99999": "invalid port",
	} {
		l, err := Listen(stopped, addr)
		if err == nil {
			l.Close()
			t.Fatalf("%s was bound", addr)
		}
		if text := err.Error(); !strings.Contains(text, want) || !strings.Contains(text, addr) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q", addr, text)
		}
	}
}

func TestExposed(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": false, "127.9.9.9:8080": false, "[::1]:8080": false, "[::ffff:127.0.0.1]:80": false,
		"0.0.0.0:8080": true, "[::]:8080": true, "192.0.2.1:8080": true, "[fe80::1]:8080": true,
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := Exposed(a); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}

func TestURL(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080/",
		"[::1]:8080":     "http://[::1]:8080/",
		"[::]:8080":      "http://localhost:8080/",
		"0.0.0.0:8080":   "http://localhost:8080/",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := URL(a); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// A snapshot that is shown after an order was answered was taken after it, even if
// another one was being taken when the order came.
func TestOrdersAreShownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ordered atomic.Int64
		taking, slow, obeyed := make(chan struct{}, 9), make(chan struct{}), make(chan struct{}, 9)
		snapshot := func() stats.Snapshot {
			s := stats.Snapshot{Clients: int(ordered.Load())}
			if s.Clients == 1 {
				taking <- struct{}{}
				<-slow
			}
			return s
		}
		h := Handler(Site{Snapshot: snapshot, Orders: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PATCH" {
				ordered.Add(1)
				obeyed <- struct{}{}
			}
			if r.Method == "PUT" {
				w.WriteHeader(403)
				return
			}
			w.WriteHeader(200)
			io.WriteString(w, "done")
		})})
		shows := func(n int) {
			t.Helper()
			if text := get(h, "GET", "/status.json").Body.String(); !strings.Contains(text, fmt.Sprintf(`"clients":%d,`, n)) {
				t.Errorf("it shows %.200s, want %d clients", text, n)
			}
		}
		shows(0)
		ordered.Add(1)
		get(h, "PUT", "/workers")
		shows(0) // from the cache: nothing was ordered
		time.Sleep(Fresh)
		go get(h, "GET", "/status.json")
		<-taking // with the first order
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if w := get(h, "PATCH", "/workers/Worker-1"); w.Body.String() != "done" {
				t.Errorf("the answer is %q", w.Body)
			}
		}()
		<-obeyed
		close(slow)
		<-answered
		shows(2)
		ordered.Add(1)
		if w := get(h, "GET", "/workers"); w.Code != 200 || w.Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		shows(3)
	})
}

// Orders are guarded as the page is, and refused as orders are.
func TestOrdersOfAnotherHost(t *testing.T) {
	h := Handler(Site{Snapshot: sample, Orders: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an order was taken") })})
	for _, path := range []string{"/workers", "/workers/Worker-1", "/run"} {
		r := httptest.NewRequest("DELETE", "http://evil.example"+path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))))
		want := `{"error":"host \"evil.example\" is not this machine: ask for localhost"}` + "\n"
		if w.Code != 403 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
