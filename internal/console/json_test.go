package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// An event is one line of JSON.
type event map[string]any

func events(t *testing.T, text string) (all []event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// exchange is what each event of an exchange has, besides the last field.
var exchange = []string{
	"approach", "attempts", "client", "connecting_seconds", "level", "msg",
	"queued_seconds", "serving_seconds", "time", "type", "waiting_seconds", "worker",
}

func TestJSON(t *testing.T) {
	request := protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}
	asked := broker.Exchange{
		Client: addr("127.0.0.1:57730"), Request: request, Worker: "Worker-2", Attempts: 2,
		Reading: 250 * time.Millisecond, Queued: 750 * time.Millisecond, Connecting: 500 * time.Millisecond, Serving: 1500 * time.Millisecond,
	}
	answered, failed, once, refused := asked, asked, asked, broker.Exchange{Client: asked.Client, Failure: &broker.Failure{Reason: broker.Malformed, Err: errors.New("no request")}}
	answered.Answer = "a\nb"
	once.Attempts, once.Failure = 1, &broker.Failure{Reason: broker.CutOff}
	failed.Failure = &broker.Failure{Reason: broker.WorkerFailed, Attempts: []*broker.AttemptError{{Worker: "Worker-2", Err: errors.New("gone")}}}
	const text = "Worker-2: gone; the job may have run, so it was not sent again (see broker -redispatch)"
	for _, test := range []struct {
		msg, last string
		tell      func(*BrokerJSON)
		want      event
	}{
		{"answered", "answer", func(b *BrokerJSON) { b.Done(&answered) }, event{
			"level": "INFO", "client": "127.0.0.1:57730", "type": "Long", "approach": "round_robin", "worker": "Worker-2", "attempts": 2.0,
			"waiting_seconds": .25, "queued_seconds": .75, "connecting_seconds": .5, "serving_seconds": 1.5, "answer": "a\nb",
		}},
		{"failed", "error", func(b *BrokerJSON) { b.Done(&failed) }, event{
			"level": "WARN", "type": "Long", "worker": "Worker-2", "attempts": 2.0, "error": text,
		}},
		{"failed", "error", func(b *BrokerJSON) { b.Done(&once) }, event{
			"level": "WARN", "attempts": 1.0, "error": "the broker stopped before the answer came",
		}},
		{"refused", "error", func(b *BrokerJSON) { b.Done(&refused) }, event{
			"level": "WARN", "type": "", "approach": "", "worker": "", "attempts": 0.0, "error": "no request",
		}},
		{"left", "error", func(b *BrokerJSON) { b.ClientGone(&answered, errors.New("reset")) }, event{
			"level": "WARN", "client": "127.0.0.1:57730", "type": "Long", "approach": "round_robin", "worker": "Worker-2", "attempts": 2.0,
			"waiting_seconds": .25, "queued_seconds": .75, "connecting_seconds": .5, "serving_seconds": 1.5, "error": "reset",
		}},
	} {
		var out bytes.Buffer
		b := NewBrokerJSON(&out)
		test.tell(b)
		b.Close()
		got := events(t, out.String())
		if len(got) != 1 {
			t.Fatalf("%s: %d lines", test.msg, len(got))
		}
		if keys, want := slices.Sorted(maps.Keys(got[0])), slices.Sorted(slices.Values(append(exchange[:len(exchange):len(exchange)], test.last))); !slices.Equal(keys, want) {
			t.Errorf("%s: fields %v, want %v", test.msg, keys, want)
		}
		test.want["msg"] = test.msg
		for key, want := range test.want {
			if got[0][key] != want {
				t.Errorf("%s: %s is %v, want %v", test.msg, key, got[0][key], want)
			}
		}
	}
}

// Nothing that a terminal may obey passes, and nothing is lost.
func TestJSONHasNoHiddenCharacters(t *testing.T) {
	const odd = "a\u009b\u202e\x7f\x1b\u2028\U000e0001\ufeff b\u00e9\u4e16"
	var out bytes.Buffer
	b := NewBrokerJSON(&out)
	b.Done(&broker.Exchange{Client: addr("127.0.0.1:57730"), Answer: odd})
	b.Done(&broker.Exchange{Client: addr("127.0.0.1:57730"), Failure: &broker.Failure{Reason: broker.NoRequest}})
	b.Done(&broker.Exchange{Client: addr("127.0.0.1:57730"), Attempts: 1, Failure: &broker.Failure{Reason: broker.ClientLeft}})
	b.Close()
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U passes", r)
		}
	}
	all := events(t, out.String())
	if len(all) != 1 || all[0]["answer"] != odd {
		t.Errorf("the events are %v", all)
	}
}

// An escaper tells its caller of its own bytes, however many it makes of them.
func TestEscaperCountsItsInput(t *testing.T) {
	for _, text := range []string{"plain\n", "\u009b\u202e\n"} {
		var out bytes.Buffer
		if n, err := (escaper{&out}).Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d bytes, %v", text, n, err)
		}
		if n, err := (escaper{&disk{}}).Write([]byte(text)); n != 0 || err == nil {
			t.Errorf("on a full disk, %q: %d bytes, %v", text, n, err)
		}
	}
}

// The tuple of an address with a zone is Python's.
func TestTupleWithZone(t *testing.T) {
	for at, want := range map[string]string{
		"[fe80::77%1]:57730":       "('fe80::77', 57730, 0, 1)",
		"[fe80::77%nowhere]:57730": "('fe80::77', 57730, 0, 0)",
		"[::1]:57730":              "('::1', 57730, 0, 0)",
		"127.0.0.1:57730":          "('127.0.0.1', 57730)",
	} {
		if got := tuple(unusual(at)); got != want {
			t.Errorf("%s: %s, want %s", at, got, want)
		}
	}
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Skip("no network interface is known: ", err)
	}
	want := fmt.Sprintf("('fe80::77', 57730, 0, %d)", all[0].Index)
	if got := tuple(unusual("[fe80::77%" + all[0].Name + "]:57730")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestJSONTimes has a real exchange whose every step takes a known time: a client
// that is slow to ask, a worker that can't be reached, and one that answers
// when its client has left.
func TestJSONTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		network.BlackHole("Worker-1")
		workers := network.Listen("Worker-2")
		go func() {
			conn, _ := workers.Accept()
			conn.Read(make([]byte, protocol.MaxLen))
			time.Sleep(5 * time.Second)
			io.WriteString(conn, protocol.Response)
			conn.Close()
		}()
		var out bytes.Buffer
		observer := NewBrokerJSON(&out)
		b := broker.Broker{
			Pool:           balance.NewPool([]balance.Worker{{Name: "Worker-1", Addr: "Worker-1"}, {Name: "Worker-2", Addr: "Worker-2"}}, nil, new(balance.RoundRobin)),
			Dial:           network.DialWithin,
			RequestTimeout: 10 * time.Second, DialTimeout: 2 * time.Second, AnswerTimeout: 10 * time.Second,
			Observer: observer,
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		listener := network.Listen("broker")
		go func() { ended <- (&server.Server{Handle: b.Handle}).Serve(ctx, listener) }()
		began := time.Now()
		c, _ := network.Dial(t.Context(), "broker")
		io.WriteString(c, "AppID:Short:")
		time.Sleep(3 * time.Second)
		io.WriteString(c, "round_robin")
		time.Sleep(4 * time.Second)
		c.(*memnet.Conn).Reset()
		time.Sleep(time.Minute)
		stop()
		<-ended
		observer.Close()

		all := events(t, out.String())
		if len(all) != 3 || all[0]["msg"] != "unreachable" || all[1]["msg"] != "answered" || all[2]["msg"] != "left" {
			t.Fatalf("the events are\n%s", out.String())
		}
		want := event{"waiting_seconds": 3.0, "connecting_seconds": 2.0, "serving_seconds": 5.0, "attempts": 2.0, "worker": "Worker-2"}
		for _, e := range all[1:] {
			at, err := time.Parse(time.RFC3339Nano, e["time"].(string))
			if err != nil || at.Sub(began) != 10*time.Second {
				t.Errorf("%s at %v, %v, want it 10 s after the connect", e["msg"], e["time"], err)
			}
			for key, want := range want {
				if e[key] != want {
					t.Errorf("%s: %s is %v, want %v", e["msg"], key, e[key], want)
				}
			}
			if _, _, err := net.SplitHostPort(e["client"].(string)); err != nil {
				t.Errorf("%s: the client is %v", e["msg"], e["client"])
			}
		}
	})
}
