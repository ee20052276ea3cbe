package main

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"balancelab/internal/cli"
	"balancelab/internal/protocol"
)

// limitFiles sets the limit on open files until undo is called.
func limitFiles(t *testing.T, n uint64) (undo func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) }
}

// The limit on open files is one on connections, of which there is at least one.
func TestMaxConns(t *testing.T) {
	for limit, want := range map[uint64]int{1000: 1000 - cli.OtherFiles, cli.OtherFiles: 1, 3: 1} {
		undo := limitFiles(t, limit)
		got := maxConns()
		undo()
		if got != want {
			t.Errorf("with %d open files, %d connections, want %d", limit, got, want)
		}
	}
}

// A worker that was started with a limit on open files keeps to it: one more
// connection than it may serve waits, and is told at the stop that its job was
// not taken.
func TestConnectionsAreLimited(t *testing.T) {
	const conns = 20
	undo := limitFiles(t, cli.OtherFiles+conns)
	defer undo()
	v := launch(t, "-long", "1h", "-short", "0s", "-drain-timeout", "1ms", "1")
	first := v.send(protocol.Short)
	if answer, err := io.ReadAll(first); string(answer) != protocol.Response {
		t.Fatalf("%q, %v", answer, err)
	}
	v.expect("Processing short request from", first, "")
	undo()
	for range conns {
		v.expect("Processing long request from", v.send(protocol.Long), "")
	}
	waiting := v.send(protocol.Short)
	told := make(chan string, 1)
	go func(c net.Conn) {
		text, _ := io.ReadAll(c)
		told <- string(text)
	}(waiting)
	got := v.stop()
	if n := strings.Count(got.stdout, ": stopped before the job was done\n"); got.code != cli.Failed || n != conns {
		t.Errorf("%d jobs are said to be cut off, want %d; %+v", n, conns, got) // all lines are written before the end
	}
	if got := <-told; got != "\n" {
		t.Errorf("one connection too many read %q", got)
	}
}
