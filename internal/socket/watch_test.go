package socket

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
)

// told is a waiter that hands on what it is told.
type told chan PeerState

func (c told) PeerGone(state PeerState) { c <- state }

// A watched connection is one of a handWatch.
type watched struct {
	link
	ticket Ticket
	told   told
}

// A handWatch is a Watch whose ticks are made by hand: no test has to wait.
type handWatch struct {
	Watch
	t      *testing.T
	l      net.Listener
	poller poller
}

func watchByHand(t *testing.T, endIsGone bool) *handWatch {
	w := &handWatch{Watch: Watch{EndIsGone: endIsGone}, t: t, l: listen(t, "127.0.0.1:0")}
	w.poller.watch = &w.Watch
	w.start()
	t.Cleanup(func() {
		w.stop()
		w.poller.close()
	})
	return w
}

// grow makes all connections old enough to be watched.
func (w *handWatch) grow() {
	w.tick(&w.poller)
	w.tick(&w.poller)
}

// add adds a new connection.
func (w *handWatch) add() *watched {
	w.t.Helper()
	c := &watched{link: linkTo(w.t, w.l), told: make(told, 2)}
	w.Add(&c.ticket, c.conn, c.told)
	return c
}

// in reports whether a ticket is in a list.
func (w *handWatch) in(ticket *Ticket, list *[]*Ticket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return ticket.list == list
}

func (c *watched) mustBeTold(t *testing.T, want PeerState) {
	t.Helper()
	if got := <-c.told; got != want {
		t.Errorf("told %v, want %v", got, want)
	}
}

// notTold checks that nothing was told.
func (c *watched) notTold(t *testing.T, when string) {
	t.Helper()
	select {
	case state := <-c.told:
		t.Errorf("%s: told %v", when, state)
	default:
	}
}

// With the real clock, on real connections.
func TestWatch(t *testing.T) {
	for _, endIsGone := range []bool{false, true} {
		w := &handWatch{Watch: Watch{EndIsGone: endIsGone}, t: t, l: listen(t, "127.0.0.1:0")}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.Run(ctx)
		}()
		early, late, closed := w.add(), w.add(), w.add()
		early.reset()
		early.mustBeTold(t, Reset) // and by then the others are watched too
		closed.peer.Close()
		if endIsGone {
			closed.mustBeTold(t, Ended)
		}
		late.reset()
		late.mustBeTold(t, Reset)
		if !w.Remove(&late.ticket) || w.Remove(&closed.ticket) != endIsGone {
			t.Error("Remove says otherwise")
		}
		left := w.add()
		cancel()
		<-ended
		left.reset()
		left.notTold(t, "after Run")
		if w.timer != nil {
			t.Error("the timer is left")
		}
		if stacks := string(stacks()); strings.Contains(stacks, "poller") {
			t.Errorf("a goroutine is left:\n%s", stacks)
		}
		if w.Remove(&left.ticket) {
			t.Error("gone after Run")
		}
	}
}

// stacks returns those of all goroutines.
func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

// Connections that the kernel does not watch are looked at.
func TestWatchLooksAtOthers(t *testing.T) {
	w := watchByHand(t, true)
	onEach(t, func(t *testing.T, l link) {
		c := watched{told: make(told, 2)}
		w.Add(&c.ticket, struct{ Conn }{l.conn}, c.told)
		w.grow()
		if !w.in(&c.ticket, &w.swept) {
			t.Error("it is not looked at")
		}
		l.peer.Close()
		l.settle()
		w.tick(&w.poller)
		c.mustBeTold(t, Ended)
	})
}
