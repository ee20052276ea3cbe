package simulate

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

const delay = 10 * time.Millisecond

// A pair is a connection in a bubble, between hosts a and b.
type pair struct {
	*network
	near, far *end
	l         *listener
}

// inPair runs f with a connection whose links take exactly delay, and change says
// what else they do.
func inPair(t *testing.T, change func(there, back *link), f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		there, back := &link{latency: delay}, &link{latency: delay}
		n.links[route{"a", "b"}], n.links[route{"b", "a"}] = there, back
		if change != nil {
			change(there, back)
		}
		p := &pair{network: n, l: n.listen("b")}
		near, err := n.dial(t.Context(), route{"a", "b"}, 0, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		far, err := p.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p.near, p.far = near, far.(*end)
		f(t, p)
		p.near.Close()
		p.far.Close()
		p.l.Close()
	})
}

// outage lets nothing through on a link, until a time.
func (p *pair) outage(r route, until time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[r].outages = []window{{0, until}}
}

// expect checks what a read returns, and when.
func (p *pair) expect(t *testing.T, e *end, text string, kind neterr.Kind, at time.Duration) {
	t.Helper()
	b := make([]byte, 64)
	n, err := e.Read(b)
	ok := err == nil || err == io.EOF && kind == neterr.Other || kind != neterr.Other && neterr.KindOf(err) == kind
	if got := p.now(); string(b[:n]) != text || !ok || got != at {
		t.Errorf("%q, %v at %v, want %q at %v", b[:n], err, got, text, at)
	}
}

// It takes a round trip to connect, half of one more until the other side knows,
// and half of one for each word.
func TestDelay(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		if p.now() != 3*delay {
			t.Errorf("accepted at %v", p.now())
		}
		io.WriteString(p.near, "ping")
		p.expect(t, p.far, "ping", neterr.Other, 4*delay)
		io.WriteString(p.far, "pong")
		p.expect(t, p.near, "pong", neterr.Other, 5*delay)
		p.near.CloseWrite()
		p.expect(t, p.far, "", neterr.Other, 6*delay) // the end
		if p.far.Peek() != socket.Ended || p.near.Peek() != socket.Quiet {
			t.Errorf("%v, %v", p.far.Peek(), p.near.Peek())
		}
	})
}

// A close with unread input is a reset, which destroys what the peer has not read;
// so is the answer to what comes after a close.
func TestResets(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		io.WriteString(p.near, "unread")
		time.Sleep(delay)
		io.WriteString(p.far, "lost")
		p.far.Close()
		time.Sleep(2 * delay)
		p.expect(t, p.near, "", neterr.Reset, 6*delay)
	})
	inPair(t, nil, func(t *testing.T, p *pair) {
		p.far.Close()
		time.Sleep(delay)
		if _, err := io.WriteString(p.near, "late"); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * delay)
		p.expect(t, p.near, "", neterr.Reset, 7*delay)
	})
}

// What is sent in an outage comes after it. A machine that lost its power does
// not know its connections.
func TestOutages(t *testing.T) {
	cut := func(there, _ *link) { there.outages = []window{{5 * delay, time.Hour}} }
	inPair(t, cut, func(t *testing.T, p *pair) {
		time.Sleep(2 * delay)
		io.WriteString(p.near, "x")
		p.far.Read(make([]byte, 1))
		if late := p.now() - time.Hour; late < 0 || late > 3*time.Second {
			t.Errorf("it came %v after the outage", late)
		}
		if !p.near.harmed.Load() || !p.far.harmed.Load() {
			t.Error("the connection does not know of it")
		}
	})
	inPair(t, nil, func(t *testing.T, p *pair) {
		p.vanish("b")
		io.WriteString(p.near, "x")
		p.expect(t, p.near, "", neterr.Reset, 5*delay)
		_, err := p.dial(t.Context(), route{"a", "b"}, 0, time.Minute)
		if neterr.KindOf(err) != neterr.Refused {
			t.Errorf("%v", err)
		}
	})
}

// A dial that gets no answer ends in time, and leaves nothing behind.
func TestDialGivesUp(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		p.outage(route{"a", "b"}, time.Hour)
		before := p.now()
		_, err := p.dial(t.Context(), route{"a", "b"}, 0, 2*time.Second)
		var late net.Error
		if !errors.As(err, &late) || !late.Timeout() || p.now()-before != 2*time.Second {
			t.Errorf("%v after %v", err, p.now()-before)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.dial(ctx, route{"a", "b"}, 0, time.Minute); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
		if len(p.l.queue) > 0 {
			t.Error("the listener has a connection that nobody wanted")
		}
	})
}

// Keep-alive finds out that a peer is gone, in the time that package socket says.
func TestKeepAlive(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		p.near.SetKeepAlive(true)
		time.Sleep(time.Hour)
		if p.near.Peek() != socket.Quiet {
			t.Fatal("a peer that is there was given up")
		}
		p.outage(route{"b", "a"}, 3*time.Hour)
		time.Sleep(probeMax + probeAfter + time.Second)
		if p.near.Peek() != socket.Reset {
			t.Error("a peer that is gone was not given up")
		}
	})
}

// What has come by a deadline is read, however late; an interrupt ends all.
func TestDeadlines(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		p.far.SetReadDeadline(time.Now().Add(delay))
		if _, err := p.far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || p.now() != 4*delay {
			t.Errorf("%v at %v", err, p.now())
		}
		io.WriteString(p.near, "x")
		time.Sleep(2 * delay)
		p.expect(t, p.far, "x", neterr.Other, 6*delay)
		p.far.SetDeadline(socket.Interrupt)
		if _, err := p.far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if _, err := p.far.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A cut write arrives whole, in order.
func TestCuts(t *testing.T) {
	cut := func(there, _ *link) { there.cuts, there.jitter = []window{{0, time.Hour}}, time.Second }
	inPair(t, cut, func(t *testing.T, p *pair) {
		const text = "AppID:Long:round_robin"
		io.WriteString(p.near, text)
		p.near.Close()
		reads, got := 0, ""
		for b := make([]byte, 64); ; reads++ {
			n, err := p.far.Read(b)
			got += string(b[:n])
			if err != nil {
				break
			}
		}
		if got != text || reads < 2 {
			t.Errorf("%q in %d reads", got, reads)
		}
	})
}

// What comes is for the Read that was called first, and the next for the next one.
func TestReadersTakeTurns(t *testing.T) {
	inPair(t, nil, func(t *testing.T, p *pair) {
		const readers = 8
		got := make(chan byte, readers)
		for i := range byte(readers) {
			go func() {
				b := make([]byte, 1)
				if p.far.Read(b); b[0] != 'a'+i {
					t.Errorf("reader %d gets %q", i, b)
				}
				got <- b[0]
			}()
			synctest.Wait()
		}
		for i := range byte(readers) {
			p.near.Write([]byte{'a' + i})
			<-got
		}
	})
}
