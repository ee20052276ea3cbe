package console

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/protocol"
)

var summary = balance.Snapshot{Workers: []balance.Status{{
	Worker:   balance.Worker{Name: "Worker-1"},
	Answered: []int{protocol.RoundRobin: 3, protocol.LeastConnections: 2}, Failed: 1, Withdrawn: 4, Peak: 2,
}}}

// Every event that is no exchange's end, as JSON: its fields, but for the time.
func TestEventsAsJSON(t *testing.T) {
	at, peer := addr("127.0.0.1:8000"), addr("127.0.0.1:57730")
	reset := errors.New("reset")
	for want, tell := range map[string]func(*BrokerJSON){
		"address:127.0.0.1:8000 level:INFO msg:listening":                                                                        func(b *BrokerJSON) { b.Listening(at) },
		"error:reset level:WARN msg:unreachable worker:Worker-1":                                                                 func(b *BrokerJSON) { b.Unreachable("Worker-1", reset) },
		"error:reset level:WARN msg:handed on worker:Worker-1":                                                                   func(b *BrokerJSON) { b.Redispatched("Worker-1", reset) },
		"error:reset level:WARN msg:paused pause:5ms":                                                                            func(b *BrokerJSON) { b.Paused(reset, 5*time.Millisecond) },
		"answered_least_connections:2 answered_round_robin:3 failed:1 level:INFO most:2 msg:summary withdrawn:4 worker:Worker-1": func(b *BrokerJSON) { b.Summary(summary) },
		"level:INFO most:12 msg:queue":                                                                                           func(b *BrokerJSON) { b.Summary(balance.Snapshot{Queue: balance.Queue{Most: 12}}) },
		"level:INFO msg:status page url:http://127.0.0.1:8080/":                                                                  func(b *BrokerJSON) { b.StatusPage("http://127.0.0.1:8080/") },
		"cause:its trial failed cooling_seconds:2 level:WARN msg:cooling down worker:Worker-1": func(b *BrokerJSON) {
			b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-1"}, State: balance.Cooling, Cooling: 2 * time.Second, Cause: balance.TrialFailed})
		},
		"cause:it answered level:INFO msg:up worker:Worker-1": func(b *BrokerJSON) {
			b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-1"}, State: balance.Up, Cause: balance.AnswerCame})
		},
		"cause:as ordered level:INFO msg:draining worker:Worker-1": func(b *BrokerJSON) {
			b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-1"}, State: balance.Draining, Cause: balance.Ordered})
		},
		"address:127.0.0.1:9005 level:INFO limit:3 msg:added weight:2 worker:Worker-4": func(b *BrokerJSON) {
			b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-4", Addr: "127.0.0.1:9005", Weight: 2, Limit: 3}, Cause: balance.Added})
		},
		"answered_least_connections:2 answered_round_robin:1 failed:0 level:INFO msg:summary of removed workers withdrawn:1": func(b *BrokerJSON) {
			b.Summary(balance.Snapshot{Removed: balance.Status{Assigned: 4, Answered: []int{protocol.RoundRobin: 1, protocol.LeastConnections: 2}, Withdrawn: 1}})
		},
		"": func(b *BrokerJSON) { b.Connected(peer) },
	} {
		var out bytes.Buffer
		b := NewBrokerJSON(&out)
		tell(b)
		b.Close()
		if got := fields(t, out.String()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for want, tell := range map[string]func(*WorkerJSON){
		"address:127.0.0.1:8000 level:INFO msg:listening worker:2": func(w *WorkerJSON) { w.Listening(2, at) },
		"level:INFO msg:processing peer:127.0.0.1:57730 type:Long": func(w *WorkerJSON) { w.Processing(protocol.Job{Type: protocol.Long}, peer) },
		"error:no job level:WARN msg:refused peer:127.0.0.1:57730": func(w *WorkerJSON) { w.Refused(peer, "no job") },
		"level:WARN msg:dropped peer:127.0.0.1:57730":              func(w *WorkerJSON) { w.Dropped(peer) },
		"error:reset level:WARN msg:paused pause:1s":               func(w *WorkerJSON) { w.Paused(reset, time.Second) },
	} {
		var out bytes.Buffer
		w := NewWorkerJSON(&out)
		tell(w)
		w.Close()
		if got := fields(t, out.String()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// fields returns an event's fields as name:value, sorted, without the time.
func fields(t *testing.T, text string) string {
	t.Helper()
	var all []string
	for _, e := range events(t, text) {
		delete(e, "time")
		for _, name := range slices.Sorted(maps.Keys(e)) {
			all = append(all, fmt.Sprintf("%s:%v", name, e[name]))
		}
	}
	return strings.Join(all, " ")
}

// The lines that the course notes do not have.
func TestFurtherLines(t *testing.T) {
	var out bytes.Buffer
	b := NewBroker(&out)
	b.Paused(errors.New("too many open files"), 5*time.Millisecond)
	b.Connected(unusual("a pipe"))
	b.Listening(unusual("a pipe"))
	b.StatusPage("http://127.0.0.1:8080/")
	b.Close()
	w := NewWorker(&out)
	w.Refused(addr("127.0.0.1:57730"), "no \x1b[2Jjob")
	w.Paused(errors.New("too many open files"), time.Second)
	w.Close()
	const want = `[Broker] Waiting 5ms before the next client: too many open files
[Broker] Connected with ('a pipe', 0)
[Broker] Listening on port a pipe...
[Broker] Status page on http://127.0.0.1:8080/
[Worker] Refused ('127.0.0.1', 57730): "no \x1b[2Jjob"
[Worker] Waiting 1s before the next job: too many open files
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// Text that came over the network can't write to the terminal, in whichever line
// it is.
func TestHostileText(t *testing.T) {
	const hostile = "\x1b[2J"
	client, refusal := addr("127.0.0.1:57730"), &protocol.RefusalError{Reason: hostile}
	asked := []*broker.AttemptError{{Worker: "Worker-1", Job: broker.JobRefused, Err: refusal}}
	var out bytes.Buffer
	b := NewBroker(&out)
	b.Redispatched("Worker-1", refusal)
	b.Done(&broker.Exchange{Client: client, Failure: &broker.Failure{Reason: broker.Malformed, Err: errors.New(hostile)}})
	b.Done(&broker.Exchange{Client: client, Attempts: 1, Failure: &broker.Failure{Reason: broker.NoWorker, Attempts: asked}})
	b.Done(&broker.Exchange{Worker: "Worker-1", Attempts: 1, Answer: hostile})
	b.Close()
	w := NewWorker(&out)
	w.Refused(client, hostile)
	w.Close()
	const want = `[Broker] No answer from Worker-1, asking the next one: "\x1b[2J"
[Broker] Refused ('127.0.0.1', 57730): "\x1b[2J"
[Broker] Failed ('127.0.0.1', 57730): "no worker available: Worker-1: \x1b[2J"
[Broker] Response from Worker-1: "\x1b[2J"
[Worker] Refused ('127.0.0.1', 57730): "\x1b[2J"
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// unusual is an address that is not TCP's.
type unusual string

func (unusual) Network() string  { return "unusual" }
func (u unusual) String() string { return string(u) }

// Off takes every event and shows nothing.
func TestOff(t *testing.T) {
	var o Off
	o.Connected(nil)
	o.Unreachable("", nil)
	o.Redispatched("", nil)
	o.Done(new(broker.Exchange))
	o.ClientGone(new(broker.Exchange), nil)
	o.Paused(nil, 0)
	o.Summary(summary)
	o.Processing(protocol.Job{}, nil)
	o.Refused(nil, "")
	o.Dropped(nil)
	o.Changed(balance.Change{})
	o.Close()
	if o.NotShown() != 0 {
		t.Error("it has dropped something")
	}
}
