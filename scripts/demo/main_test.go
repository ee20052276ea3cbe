package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"balancelab/internal/programs"
)

func TestCheck(t *testing.T) {
	right := expected(session)
	swapped := append([]string(nil), right...)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	for _, test := range []struct {
		name     string
		answered []string
		want     string // part of the complaint; "" for none
	}{
		{"the course notes' order", right, ""},
		{"two swapped", swapped, `command 4, "client Short least_connections", was answered by Worker-3, want Worker-2: ` +
			"the order was 1, 1, 2, 3, 2, 1, the course notes have 1, 1, 2, 2, 3, 1"},
		{"one missing", right[:5], `command 6, "client Short round_robin", was not answered, want Worker-1`},
		{"nothing", nil, "command 1"},
		{"one too many", append(expected(session), "Worker-2"), "7 answers to 6 commands"},
	} {
		complains(t, test.name, check(session, test.answered), test.want)
	}
}

// complains checks that err says want, or is nil if want is "".
func complains(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && err == nil:
		t.Errorf("%s: passed, want %q", what, want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("%s: %q, want %q", what, err, want)
	}
}

func TestAnsweredBy(t *testing.T) {
	for _, test := range []struct{ line, worker string }{
		{"[Broker] Response from Worker-2: Response from Worker", "Worker-2"},
		{"[Broker] Response from Worker-10: Worker-1: busy", "Worker-10"},
		{"[Broker] Failed to connect to Worker-2", ""},
		{"[Broker] Response from nobody", ""},
		{"[Client] Received: Response from Worker", ""},
	} {
		if worker, ok := answeredBy(test.line); ok != (test.worker != "") || ok && worker != test.worker {
			t.Errorf("answeredBy(%q) = %q, %v", test.line, worker, ok)
		}
	}
}

// stage is a lab whose programs are built, and what it has shown. Its servers
// get ports of their own, so that no test is in the way of another one, or of
// a demo.
type stage struct {
	*lab
	shown bytes.Buffer // to be read when nothing runs
}

func newStage(t *testing.T) *stage {
	t.Helper()
	bin := t.TempDir()
	if err := programs.Build(t.Context(), bin, "client", "broker", "worker"); err != nil {
		t.Fatal(err)
	}
	s := new(stage)
	s.lab = newLab(bin, &programs.Listing{W: &s.shown})
	return s
}

// allGone checks that n programs were started and that none is left.
func (s *stage) allGone(t *testing.T, n int) {
	t.Helper()
	started := s.set.Started()
	if len(started) != n {
		t.Errorf("%d programs were started, want %d", len(started), n)
	}
	for _, p := range started {
		select {
		case <-p.Gone():
			if p.Code() < 0 {
				t.Errorf("%s was killed: %s", p.Name, p.State())
			}
		default:
			t.Errorf("%s is not gone", p.Name)
		}
	}
	if t.Failed() {
		t.Logf("shown:\n%s", s.shown.String())
	}
}

// taken returns the address of a listener, which hands what comes to accepted.
func taken(t *testing.T, accepted func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted(conn)
			defer conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestTakenPort(t *testing.T) {
	s := newStage(t)
	addr := taken(t, func(net.Conn) {})
	err := s.play(t.Context(), []server{
		{"worker-1", "worker -listen 127.0.0.1:0 1"},
		{"worker-2", "worker -listen 127.0.0.1:0 2"},
		{"broker", "broker -listen " + addr},
		{"worker-3", "worker -listen 127.0.0.1:0 3"},
	}, session)
	complains(t, "the broker's port is taken", err, "broker did not start (exit status 1): broker: listen on "+addr+": the address is in use")
	s.allGone(t, 3)
	if line := "broker   | broker: listen on " + addr; !strings.Contains(s.shown.String(), line) {
		t.Errorf("the broker's own line was not shown: want %q in\n%s", line, s.shown.String())
	}
}

func TestRefusedCommand(t *testing.T) {
	s := newStage(t)
	err := s.play(t.Context(), []server{{"worker-1", "worker -listen 127.0.0.1:0 1"}},
		[]step{{"client Medium round_robin", "Worker-1"}})
	complains(t, "a client that fails", err, `"client Medium round_robin" failed (exit status 2): client: unknown type "Medium"`)
	s.allGone(t, 2)
}

// The interrupt comes while a client waits for its answer.
func TestInterrupt(t *testing.T) {
	s := newStage(t)
	ctx, interrupt := context.WithTimeout(t.Context(), patience)
	defer interrupt()
	silent := taken(t, func(net.Conn) { interrupt() })
	err := s.play(ctx, []server{
		{"worker-1", "worker -listen 127.0.0.1:0 1"},
		{"broker", "broker -listen 127.0.0.1:0"},
	}, []step{{"client -broker " + silent + " Long round_robin", "Worker-1"}})
	if !errors.Is(err, programs.ErrInterrupted) {
		t.Errorf("interrupted: %v, want %v", err, programs.ErrInterrupted)
	}
	s.allGone(t, 3)
}
