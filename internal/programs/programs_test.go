package programs

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
)

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

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(s string) { got = append(got, s) }}
	for _, s := range []string{"on", "e\ntwo\n\nth", "ree"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	w.end()
	if all := strings.Join(got, "|"); all != "one|two||three" {
		t.Errorf("got %q", all)
	}
}

func TestServe(t *testing.T) {
	set := Set{Dir: t.TempDir()}
	if err := Build(t.Context(), set.Dir, "worker"); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		w, err := set.Serve(t.Context(), "worker-1", "worker -listen 127.0.0.1:0 -log "+format+" 1", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", w.Addr())
		if err != nil {
			t.Errorf("-log %s: nobody at %s: %v", format, w.Addr(), err)
			continue
		}
		conn.Close()
	}
	if _, err := set.Serve(t.Context(), "worker-0", "worker 0", nil); err == nil || !strings.Contains(err.Error(), "worker-0 did not start (exit status 2)") {
		t.Errorf("a server that does not start: %v", err)
	}
	set.Started = set.Started[:2] // the third has failed on purpose
	if err := set.Stop(); err != nil {
		t.Error(err)
	}
	for _, p := range set.Started {
		if err := p.cmd.Process.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s is not gone: %v", p.Name, err)
		}
	}
}

func TestBuildInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Build(ctx, t.TempDir(), "worker"); !errors.Is(err, ErrInterrupted) {
		t.Errorf("%v, want %v", err, ErrInterrupted)
	}
}
