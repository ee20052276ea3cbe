package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
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
	// One page more hangs in the middle of its request; nobody waits for it.
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localh")
	if code := stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := net.Dial("tcp", host); err == nil {
		t.Error("the page's address is still bound")
	}
}

func TestStatusPageThatCannotBeBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, addr := range []string{l.Addr().String(), "8080", "127.0.0.1:70000"} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"-listen", "127.0.0.1:0", "-status", addr}, &stdout, &stderr)
		if code != 1 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), addr) {
			t.Errorf("-status %s: exit code %d, stdout %q, stderr %q", addr, code, stdout.String(), stderr.String())
		}
	}
}
