package stats

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// A behaviour is what a worker does with a connection, after it has read the job.
type behaviour func(*memnet.Conn)

func answers(text string, after time.Duration) behaviour {
	return func(c *memnet.Conn) {
		time.Sleep(after)
		io.WriteString(c, text)
		c.Close()
	}
}

func closes(after time.Duration) behaviour {
	return func(c *memnet.Conn) { time.Sleep(after); c.Close() }
}

// served has a real broker serve one request, with these workers; nil is one
// that does not listen. It returns what was counted when all is over.
func served(t *testing.T, redispatch bool, workers ...behaviour) Snapshot {
	t.Helper()
	var n memnet.Net
	var list []balance.Worker
	var running sync.WaitGroup
	defer running.Wait()
	for i, serve := range workers {
		w := balance.Worker{Name: "Worker-" + string(rune('1'+i)), Addr: string(rune('1' + i))}
		list = append(list, w)
		if serve == nil {
			continue
		}
		l := n.Listen(w.Addr)
		defer l.Close()
		running.Go(func() {
			if conn, err := l.Accept(); err == nil {
				conn.Read(make([]byte, protocol.MaxLen))
				serve(conn.(*memnet.Conn))
			}
		})
	}
	pool := balance.NewPool(list, selectors()...)
	r := New(pool, console.Off{})
	b := broker.Broker{
		Pool: pool, Dial: n.DialWithin, Observer: r, Redispatch: redispatch,
		RequestTimeout: time.Second, DialTimeout: time.Second, AnswerTimeout: 30 * time.Second,
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	over := make(chan error)
	s := server.Server{Handle: b.Handle, DrainTimeout: time.Second}
	l := n.Listen("broker")
	go func() { over <- s.Serve(ctx, l) }()
	client, err := n.Dial(ctx, "broker")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(client, "AppID:Long:round_robin\n")
	io.Copy(io.Discard, client)
	client.Close()
	stop()
	<-over
	return r.Snapshot()
}

// The causes are taken from the errors that a broker makes.
func TestCausesOfARealBroker(t *testing.T) {
	for _, test := range []struct {
		name   string
		worker behaviour
		want   Cause
	}{
		{"nothing listens", nil, CausedByRefusedConnection},
		{"it closes", closes(0), CausedByNoAnswer},
		{"it resets", func(c *memnet.Conn) { c.Reset() }, CausedByReset},
		{"it hangs", closes(time.Minute), CausedByNoAnswer},
		{"it refuses", answers("Error: busy", 0), CausedByRefusal},
	} {
		for _, redispatch := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := served(t, redispatch, test.worker)
				for _, c := range s.Causes {
					want := 0
					if c.Cause == test.want.String() {
						want = 1
					}
					if c.Attempts != want || c.Requests[protocol.RoundRobin] != want {
						t.Errorf("%s, redispatch %v: %+v, want %d", test.name, redispatch, c, want)
					}
				}
				if s.Workers[0].Failed != 1 || s.Totals.Failed[protocol.RoundRobin] != 1 {
					t.Errorf("%s: %+v, %+v", test.name, s.Workers[0], s.Totals)
				}
			})
		}
	}
}

// What one worker did is not counted for the next one.
func TestRedispatchOfARealBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := served(t, true, closes(3*time.Second), answers(protocol.Response, time.Second))
		if r := s.Latest[0]; r.Attempts != 2 || r.Seconds != 4 || r.Worker != "Worker-2" || r.Outcome != Answered {
			t.Errorf("the request is %+v", r)
		}
		if a, b := s.Workers[0], s.Workers[1]; a.Serving != (Serving{}) || b.Serving != (Serving{1, 1}) || a.Error == nil || b.Error != nil {
			t.Errorf("got  %+v\nand  %+v", a, b)
		}
		if s.Totals.Redispatched != 1 || s.Totals.Answered != 1 {
			t.Errorf("%+v", s.Totals)
		}
	})
}
