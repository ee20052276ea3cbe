package console

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/protocol"
)

func addr(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// The lines of the course notes, byte for byte.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	b := NewBroker(&out)
	client := addr("127.0.0.1:57730")
	b.Listening(addr("127.0.0.1:8000"))
	b.Connected(client)
	b.Connected(addr("[::1]:57731"))
	b.Unreachable("Worker-1", errors.New("refused"))
	b.Redispatched("Worker-1", errors.New("closed without an answer"))
	b.Done(&broker.Exchange{Worker: "Worker-2", Answer: "Response from Worker"})
	b.Done(&broker.Exchange{Worker: "Worker-2", Answer: "\x1b[2Jgone"})
	b.Done(&broker.Exchange{Client: client, Failure: &broker.Failure{Reason: broker.Malformed, Err: errors.New("no")}})
	b.Done(&broker.Exchange{Client: client, Failure: &broker.Failure{Reason: broker.NoRequest, Err: errors.New("nothing")}})
	b.Done(&broker.Exchange{Client: client, Attempts: 3, Failure: &broker.Failure{Reason: broker.NoWorker}})
	b.Done(&broker.Exchange{Client: client, Worker: "Worker-2", Attempts: 1, Answer: "Error: disk full", Failure: &broker.Failure{Reason: broker.Refused}})
	b.Done(&broker.Exchange{Client: client, Worker: "Worker-2", Attempts: 1, Failure: &broker.Failure{Reason: broker.CutOff}})
	b.Done(&broker.Exchange{Client: client, Worker: "Worker-2", Attempts: 1, Failure: &broker.Failure{Reason: broker.ClientLeft}})
	b.Done(&broker.Exchange{Client: client, Failure: &broker.Failure{Reason: broker.QueueTimeout, Within: 30 * time.Second, Waiting: 12}})
	b.ClientGone(&broker.Exchange{Client: client}, errors.New("reset"))
	b.Summary(balance.Snapshot{Workers: []balance.Status{{Worker: balance.Worker{Name: "Worker-1"}, Answered: []int{protocol.RoundRobin: 3, protocol.LeastConnections: 2}, Failed: 1, Peak: 2}}})
	b.Summary(balance.Snapshot{
		Workers: []balance.Status{{Worker: balance.Worker{Name: "Worker-2"}, Answered: []int{0, 0, 0}, Withdrawn: 1, Peak: 1}},
		Queue:   balance.Queue{Most: 12},
	})
	b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-2"}, State: balance.Cooling, Cooling: 2 * time.Second, Cause: balance.FailedInARow})
	b.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-2"}, State: balance.Up, Cause: balance.AnswerCame})
	for _, c := range []balance.Change{
		{State: balance.Draining, Cause: balance.Ordered}, {State: balance.Drained, Cause: balance.Ordered},
		{State: balance.Up, Cause: balance.Ordered}, {State: balance.Cooling, Cause: balance.Ordered},
		{State: balance.DueForTrial, Cause: balance.Ordered}, {State: balance.Removed, Cause: balance.Ordered}, {State: balance.Up, Cause: balance.Added},
	} {
		c.Worker = balance.Worker{Name: "Worker-4", Addr: "127.0.0.1:9005"}
		b.Changed(c)
	}
	b.Summary(balance.Snapshot{Removed: balance.Status{Assigned: 4, Answered: []int{protocol.RoundRobin: 1, protocol.LeastConnections: 2}, Withdrawn: 1}})
	b.Close()
	w := NewWorker(&out)
	w.Listening(1, addr("127.0.0.1:9002"))
	w.Processing(protocol.Job{Type: protocol.Long}, addr("127.0.0.1:58051"))
	w.Processing(protocol.Job{Type: protocol.Short}, addr("127.0.0.1:58052"))
	w.Dropped(addr("127.0.0.1:58053"))
	w.Close()
	const want = `[Broker] Listening on port 8000...
[Broker] Connected with ('127.0.0.1', 57730)
[Broker] Connected with ('::1', 57731, 0, 0)
[Broker] Failed to connect to Worker-1
[Broker] No answer from Worker-1, asking the next one: closed without an answer
[Broker] Response from Worker-2: Response from Worker
[Broker] Response from Worker-2: "\x1b[2Jgone"
[Broker] Refused ('127.0.0.1', 57730): no
[Broker] Failed ('127.0.0.1', 57730): no worker available: 
[Broker] Response from Worker-2: Error: disk full
[Broker] Failed ('127.0.0.1', 57730): the broker stopped before the answer came
[Broker] Failed ('127.0.0.1', 57730): no worker was free within 30s (12 requests wait)
[Broker] ('127.0.0.1', 57730) left before its answer
[Broker] Worker-1: answered 3 by round_robin, 2 by least_connections; failed 1; at most 2 at once
[Broker] Worker-2: answered 0 by round_robin, 0 by least_connections; failed 0; withdrawn 1; at most 1 at once
[Broker] Queue: at most 12 waited
[Broker] Worker-2 cools down for 2s: 3 failures in a row
[Broker] Worker-2 is up again: it answered
[Broker] Worker-4 drains: it gets nothing new
[Broker] Worker-4 has drained: nothing is in flight there
[Broker] Worker-4 is up again: as ordered
[Broker] Worker-4 drains no longer: it is cooling down
[Broker] Worker-4 drains no longer: it is due for a trial
[Broker] Worker-4 is removed
[Broker] Worker-4 is added: 127.0.0.1:9005
[Broker] Removed workers: answered 1 by round_robin, 2 by least_connections; failed 0; withdrawn 1
[Worker-1] Listening on port 9002...
[Worker] Processing long request from ('127.0.0.1', 58051)
[Worker] Processing short request from ('127.0.0.1', 58052)
[Worker] Dropped ('127.0.0.1', 58053): left while it waited
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
