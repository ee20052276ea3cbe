package broker

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
)

// connects returns a client's connection.
func (l *lab) connects() *memnet.Conn {
	l.t.Helper()
	c, err := l.net.Dial(l.t.Context(), "broker")
	if err != nil {
		l.t.Fatal(err)
	}
	synctest.Wait()
	return c.(*memnet.Conn)
}

// reads returns all that the client c reads, and how long that took.
func (l *lab) reads(c *memnet.Conn) (string, time.Duration) {
	l.t.Helper()
	start := time.Now()
	text, err := io.ReadAll(c)
	if err != nil {
		l.t.Errorf("reading the answer: %v", err)
	}
	return string(text), time.Since(start)
}

// A silent client whose place is needed is told so, and does not keep the place
// by waiting on: the next client is served at once.
func TestSilentClientGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabOf(t, 1, nil)
		l.worker("Worker-1", answers(protocol.Response, 0))
		silent := l.connects()
		l.expect(long, protocol.Response, time.Second)
		const want = "Error: no request had come when another client needed the place; send it at once"
		if got, _ := l.reads(silent); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if len(l.book.done) != 2 || l.book.done[0].Failure.Reason != GaveWay {
			t.Errorf("%+v", l.book.done)
		}
		if got, want := l.book.done[0].Client.String(), silent.LocalAddr().String(); got != want {
			t.Errorf("the client is %s, want %s", got, want)
		}
		silent.Close()
		l.end()
	})
}

// At a stop, clients whose request has not come are told that the broker stops;
// one that has sent nonsense by then is told what is wrong with it.
func TestStopWhileRequestsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		silent, half, wrong, leaves := l.connects(), l.connects(), l.connects(), l.connects()
		io.WriteString(half, "AppID:Lo")
		io.WriteString(wrong, "AppID:Lo")
		synctest.Wait()
		l.stop()
		time.Sleep(100 * time.Millisecond)
		io.WriteString(wrong, "w:round_robin")
		leaves.Close()
		synctest.Wait()
		for _, test := range []struct {
			name   string
			client *memnet.Conn
			want   string
		}{
			{"silent", silent, "Error: the broker is stopping"},
			{"half a request", half, "Error: the broker is stopping"},
			{"wrong", wrong, `Error: unknown type "Low": want Long or Short`},
		} {
			if got, _ := l.reads(test.client); got != test.want {
				t.Errorf("%s: %q, want %q", test.name, got, test.want)
			}
			test.client.Close()
		}
		reasons := map[Reason]int{}
		for _, x := range l.book.done {
			reasons[x.Failure.Reason]++
		}
		if len(l.book.done) != 4 || reasons[Stopping] != 2 || reasons[Malformed] != 1 || reasons[NoRequest] != 1 {
			t.Errorf("the reasons are %v", reasons)
		}
		l.end()
	})
}

// A client that is refused may still be sending: its connection stays open for a
// moment, since a reset would destroy the refusal.
func TestRefusedClientMayStillSend(t *testing.T) {
	inLab(t, nil, func(l *lab) {
		c := l.connects()
		io.WriteString(c, "AppID:Medium")
		io.WriteString(c, ":")
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		for _, rest := range []string{"round_", "robin"} { // a closed peer answers the first by a reset
			if _, err := io.WriteString(c, rest); err != nil {
				t.Errorf("the rest of the request: %v", err)
			}
		}
		if got, _ := l.reads(c); got != `Error: unknown type "Medium": want Long or Short` {
			t.Errorf("%q", got)
		}
		c.Close()
	})
}
