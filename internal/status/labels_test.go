package status_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/stats"
	"balancelab/internal/status"
)

// TestNothingFromTheWireIsALabel: a client that makes up types must not make
// up time series.
func TestNothingFromTheWireIsALabel(t *testing.T) {
	pool := balance.NewPool([]balance.Worker{{Name: "Worker-1"}, {Name: "Worker-2"}},
		nil, new(balance.RoundRobin), new(balance.LeastConnections))
	r := stats.New(pool, console.Off{})
	tell := func(v broker.Exchange) {
		v.Client = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234}
		r.Connected(v.Client)
		r.Done(&v)
	}
	series := func() (all []string) {
		for line := range strings.Lines(string(status.Metrics(r.Snapshot()))) {
			all = append(all, line[:strings.LastIndexByte(line, ' ')])
		}
		return all
	}
	before := series()
	for i := range 50 {
		odd := fmt.Sprintf("odd-%d", i)
		tell(broker.Exchange{
			Failure: &broker.Failure{Reason: broker.Malformed, Err: errors.New("unknown type " + odd)},
		})
		tell(broker.Exchange{
			Attempts: 1, Worker: odd, Request: protocol.Request{Approach: protocol.RoundRobin},
			Failure: &broker.Failure{Reason: broker.WorkerFailed, Attempts: []*broker.AttemptError{{Worker: odd, Err: errors.New("gone")}}},
		})
		r.Unreachable(odd, errors.New(odd))
		tell(broker.Exchange{
			Attempts: 1, Worker: "Worker-1", Answer: odd, Serving: time.Duration(i) * time.Second,
			Request: protocol.Request{Type: protocol.Short, Approach: protocol.Approaches()[i%2]},
		})
	}
	if after := series(); !slices.Equal(before, after) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}
