package main

import (
	"io"
	"net"
	"testing"
	"time"

	"balancelab/internal/control"
	"balancelab/internal/protocol"
)

// await waits for c to be closed, or to have a value.
func await[T any](t *testing.T, what string, c <-chan T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain for %s", what)
	}
}

// client returns what gives orders to the program.
func (p *program) client() *control.Client { return &control.Client{Addr: host(p.page)} }

func (p *program) order(t *testing.T, name string, c control.Change) {
	t.Helper()
	if _, err := p.client().Change(t.Context(), name, c); err != nil {
		t.Fatal(err)
	}
}

// A worker that drains has no idle connection, so that it can be stopped. Another
// worker keeps its own, and the drained one gets new ones when it is up again.
func TestDrainClosesIdleConnections(t *testing.T) {
	closed, other := make(chan bool, 9), make(chan bool, 9)
	first, opened := startWorker(t, func(c net.Conn) { answers(c); closed <- true })
	second, _ := startWorker(t, func(c net.Conn) { answers(c); other <- true })
	p := launch(t, "-workers", first+","+second, "-keepalive", "-status", "127.0.0.1:0", "-control")
	for range 4 {
		p.ask(t, longRoundRobin)
	}
	p.order(t, "Worker-1", control.Change{State: control.Draining})
	await(t, "the idle connection's end", closed)
	p.order(t, "Worker-1", control.Change{State: control.Up})
	for range 2 {
		p.ask(t, longRoundRobin)
	}
	if n := opened(); n != 2 || len(other) > 0 {
		t.Errorf("%d connections to the drained worker, want 2; %d to the other one were closed", n, len(other))
	}
	p.stop()
}

// The answer to what was in flight is not lost, and its connection is not kept.
func TestDrainLetsGoOfTheLastConnection(t *testing.T) {
	for _, remove := range []bool{false, true} {
		begun, goOn, closed := make(chan bool), make(chan bool), make(chan bool)
		addr, _ := startWorker(t, func(conn net.Conn) {
			job, _ := protocol.ReadJob(conn)
			begun <- true
			<-goOn
			io.WriteString(conn, job.Name.Line(protocol.Response))
			protocol.ReadJob(conn) // until the broker closes it
			close(closed)
		})
		p := launch(t, "-workers", addr, "-keepalive", "-status", "127.0.0.1:0", "-control")
		client := dial(t, p.addr, longRoundRobin)
		await(t, "the job", begun)
		if remove {
			if w, err := p.client().Remove(t.Context(), "Worker-1"); err != nil || w.InFlight != 1 {
				t.Errorf("%+v, %v", w, err)
			}
		} else {
			p.order(t, "Worker-1", control.Change{State: control.Draining})
		}
		close(goOn)
		if answer, err := io.ReadAll(client); string(answer) != protocol.Response || err != nil {
			t.Errorf("%q, %v", answer, err)
		}
		await(t, "the connection's end", closed)
		p.stop()
	}
}

// Without -control nothing is taken; and an added worker gets the limit of
// -max-per-worker, unless it has its own.
func TestControlFlag(t *testing.T) {
	p := launch(t, "-status", "127.0.0.1:0")
	if _, err := p.client().Workers(t.Context()); err == nil || err.Error() != "this broker takes no orders: start it with -control" {
		t.Errorf("without -control: %v", err)
	}
	p = launch(t, "-status", "127.0.0.1:0", "-control", "-max-per-worker", "4")
	if w, err := p.client().Add(t.Context(), control.New{Addr: "127.0.0.1:1"}); err != nil || w.Limit != 4 || w.Weight != 1 {
		t.Errorf("added: %+v, %v", w, err)
	}
	if w, err := p.client().Add(t.Context(), control.New{Addr: "127.0.0.1:2", Limit: new(int)}); err != nil || w.Limit != 0 {
		t.Errorf("added: %+v, %v", w, err)
	}
}
