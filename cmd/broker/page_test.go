package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
	"balancelab/internal/control"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/stats"
	"balancelab/internal/status"
)

// start runs the broker and returns the first n lines that it prints, and what
// stops it and returns its exit code.
func start(t *testing.T, n int, args ...string) (lines []string, stop func() int) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	var stderr strings.Builder
	go func() {
		code := run(ctx, args, w, &stderr)
		w.Close()
		ended <- code
	}()
	stdout := bufio.NewReader(r)
	for range n {
		line, err := stdout.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q; stderr: %s", err, lines, stderr.String())
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	go io.Copy(io.Discard, stdout)
	stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	return lines, stop
}

func TestStatusPage(t *testing.T) {
	lines, stop := start(t, 2, "-listen", "127.0.0.1:0", "-status", "127.0.0.1:0")
	url, ok := strings.CutPrefix(lines[1], "[Broker] Status page on ")
	if !ok || !strings.HasPrefix(lines[0], "[Broker] Listening on port ") {
		t.Fatalf("got %q", lines)
	}
	reply, err := http.Get(url + "healthz")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(reply.Body)
	reply.Body.Close()
	if string(text) != "ok\n" {
		t.Errorf("got %q", text)
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := net.Dial("tcp", host(url)); err == nil {
		t.Error("the page's address is still bound")
	}
}

func host(url string) string { return strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/") }

// TestNoPageWithoutTheFlag: nothing but the broker's port is opened, and
// nothing is said of a page.
func TestNoPageWithoutTheFlag(t *testing.T) {
	var stdout, stderr strings.Builder
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(stopped, []string{"-listen", "127.0.0.1:0"}, &stdout, &stderr); code != 0 || strings.Contains(stdout.String(), "page") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}

// TestDrainWithPages drains while a hundred pages hang in the middle of their
// requests: the drain waits for its client's answer and for no page, and the
// page goes on until then and says that the broker is stopping.
func TestDrainWithPages(t *testing.T) {
	work, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	lines, stop := start(t, 2, "-listen", "127.0.0.1:0", "-status", "127.0.0.1:0", "-workers", work.Addr().String())
	addr := "127.0.0.1:" + strings.TrimSuffix(strings.TrimPrefix(lines[0], "[Broker] Listening on port "), "...")
	url := strings.TrimPrefix(lines[1], "[Broker] Status page on ")
	client := dial(t, addr, "AppID:Long:round_robin")
	job, err := work.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer job.Close()
	if text, err := io.ReadAll(io.LimitReader(job, int64(len("AppID:Long")))); string(text) != "AppID:Long" {
		t.Fatalf("the worker got %q, %v", text, err)
	}
	for range 100 {
		dial(t, host(url), "GET / HTTP/1.1\r\nHost: localh")
	}
	ended := make(chan int, 1)
	go func() { ended <- stop() }()
	for { // until the broker no longer listens for clients
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	reply, err := http.Get(url + "healthz")
	if err != nil {
		t.Fatalf("the page of a broker that drains: %v", err)
	}
	text, _ := io.ReadAll(reply.Body)
	reply.Body.Close()
	if string(text) != "stopping\n" {
		t.Errorf("a broker that drains says %q", text)
	}
	io.WriteString(job, "Response from Worker")
	job.Close()
	if answer, err := io.ReadAll(client); string(answer) != "Response from Worker" {
		t.Errorf("the client got %q, %v", answer, err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func dial(t *testing.T, addr, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// lingering is a listener that takes a minute to notice that it is closed. It
// waits in Accept, since package http calls Close with a lock held.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		time.Sleep(time.Minute)
	}
	return conn, err
}

// A broker connects to itself where it listens, or over the loopback if that is
// everywhere.
func TestOwnAddr(t *testing.T) {
	for listens, want := range map[string]string{
		"127.0.0.1:8000":   "127.0.0.1:8000",
		"192.168.1.5:8000": "192.168.1.5:8000",
		"[::1]:8000":       "[::1]:8000",
		"0.0.0.0:8000":     "127.0.0.1:8000",
		"[::]:8000":        "127.0.0.1:8000",
	} {
		addr, err := net.ResolveTCPAddr("tcp", listens)
		if err != nil {
			t.Fatal(err)
		}
		if got := ownAddr(addr); got != want {
			t.Errorf("%s: %s, want %s", listens, got, want)
		}
	}
}

// The page takes samples of what is in flight while it is open. When it is
// closed, nothing of it is running.
func TestPageRunsUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		var stderr strings.Builder
		l := network.Listen("page")
		pool := balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...)
		p := &page{Listener: lingering{l}, orders: control.Off(), line: cli.NewLine("broker", "", nil, &stderr)}
		p.start(t.Context(), pool, l.Addr(), off{}, 10)
		var tried balance.Request
		lease, _ := pool.Assign(int(protocol.RoundRobin), &tried)
		defer lease.Release(balance.Answered)
		time.Sleep(3*time.Second + time.Millisecond)
		client := http.Client{Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return network.Dial(ctx, "page") },
			DisableKeepAlives: true,
		}}
		reply, err := client.Get("http://127.0.0.1/status.json")
		if err != nil {
			t.Fatal(err)
		}
		var s stats.Snapshot
		if err := json.NewDecoder(reply.Body).Decode(&s); err != nil || len(s.Workers) != 1 || fmt.Sprint(s.Workers[0].History) != "[1 1 1]" {
			t.Errorf("%v; the workers are %+v", err, s.Workers)
		}
		reply.Body.Close()
		start := time.Now()
		p.close()
		if took := time.Since(start); took != time.Minute || stderr.Len() > 0 {
			t.Errorf("closed after %v: %s", took, stderr.String())
		}
	})
}

// The page has as many viewers at once as the open files allow: one more waits.
func TestViewersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		l := network.Listen("page")
		p := &page{Listener: l, orders: control.Off(), line: cli.NewLine("broker", "", nil, io.Discard)}
		p.start(t.Context(), balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...), l.Addr(), off{}, 1)
		dial := func(text string) net.Conn {
			c, err := network.Dial(t.Context(), "page")
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, text)
			synctest.Wait()
			return c
		}
		first := dial("GET / HTTP/1.1\r\nHost: localh")
		start := time.Now()
		next := dial("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		line, err := bufio.NewReader(next).ReadString('\n')
		if line != "HTTP/1.1 200 OK\r\n" || time.Since(start) == 0 {
			t.Errorf("%q, %v after %v", line, err, time.Since(start))
		}
		first.Close()
		next.Close()
		p.close()
	})
}

// That a page can't be served any more is said, and is no reason to stop.
func TestPageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		var stderr strings.Builder
		l := network.Listen("page")
		pool := balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...)
		p := &page{Listener: l, orders: control.Off(), line: cli.NewLine("broker", "", nil, &stderr)}
		p.start(t.Context(), pool, l.Addr(), off{}, 10)
		synctest.Wait()
		l.Close()
		synctest.Wait()
		if text := stderr.String(); !strings.HasPrefix(text, "broker: status page: ") || strings.Count(text, "\n") != 1 {
			t.Errorf("it says %q", text)
		}
		p.close()
	})
}

func TestStatusPageThatCannotBeBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // so that it does not wait for the address
	for addr, want := range map[string]int{l.Addr().String(): 1, "8080": 2, "127.0.0.1:70000": 2, ":": 2} {
		var stdout, stderr strings.Builder
		code := run(stopped, []string{"-listen", "127.0.0.1:0", "-status", addr}, &stdout, &stderr)
		if code != want || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), addr) {
			t.Errorf("-status %s: exit code %d, stdout %q, stderr %q", addr, code, stdout.String(), stderr.String())
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	run(stopped, []string{"-listen", free.Addr().String(), "-status", l.Addr().String()}, io.Discard, io.Discard)
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the clients' address is still bound: %v", err)
	}
	again.Close()
}

// TestExposedPage: a page that other machines can reach is said to be, on
// standard error and in one line.
func TestExposedPage(t *testing.T) {
	for _, test := range []struct {
		addr    string
		exposed bool
		host    string // the one in the note; "" for that of the listener
	}{
		{"127.0.0.1:0", false, ""}, {"localhost:0", false, ""}, {"0.0.0.0:0", true, "0.0.0.0"}, {":0", true, ""},
	} {
		var stderr strings.Builder
		p, err := openPage(t.Context(), cli.NewLine("broker", usage, io.Discard, &stderr), test.addr)
		if err != nil {
			t.Fatal(err)
		}
		p.Listener.Close()
		host, port, _ := net.SplitHostPort(p.Addr().String())
		want := ""
		if test.exposed {
			want = "broker: the status page on http://" + net.JoinHostPort(cmp.Or(test.host, host), port) +
				"/ can be read by everybody who reaches this address; there is no password\n"
		}
		if got := stderr.String(); got != want {
			t.Errorf("-status %s: got %q, want %q", test.addr, got, want)
		}
	}
}

// forgetful is a log that has dropped some lines.
type forgetful struct{ off }

func (forgetful) NotShown() int { return 7 }

// TestPageCountsDroppedLines: the page has what the log knows.
func TestPageCountsDroppedLines(t *testing.T) {
	line := cli.NewLine("broker", usage, io.Discard, io.Discard)
	p, err := openPage(t.Context(), line, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.start(t.Context(), balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...), p.Addr(), forgetful{}, 1)
	defer p.close()
	reply, err := http.Get(status.URL(p.Addr()) + "metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if text, _ := io.ReadAll(reply.Body); !strings.Contains(string(text), "\nbalancelab_log_lines_dropped_total 7\n") {
		t.Errorf("got %s", text)
	}
}
