package socket_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/socket"
)

// A waiter is the server's side of a connection in memory, which waits.
type waiter struct {
	*memnet.Conn
	client *memnet.Conn
	ticket socket.Ticket
	state  socket.PeerState // what it was told; zero: nothing
	told   time.Time
}

// PeerGone implements [socket.Waiter].
func (w *waiter) PeerGone(state socket.PeerState) {
	if w.state != socket.Unknown {
		panic("told twice")
	}
	w.state, w.told = state, time.Now()
}

// A lab has a running watch, and connections in memory.
type lab struct {
	socket.Watch
	t   *testing.T
	net memnet.Net
	l   *memnet.Listener
}

// inLab runs f in a bubble with a fake clock, in which nothing must be left.
func inLab(t *testing.T, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t}
		l.l = l.net.Listen("server")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Run(ctx)
		}()
		synctest.Wait()
		f(l)
		cancel()
		<-ended
	})
}

// connect returns a connection that is not watched yet.
func (l *lab) connect() *waiter {
	client, err := l.net.Dial(l.t.Context(), "server")
	if err != nil {
		l.t.Fatal(err)
	}
	server, err := l.l.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	return &waiter{Conn: server.(*memnet.Conn), client: client.(*memnet.Conn)}
}

// wait returns a connection that is watched.
func (l *lab) wait() *waiter {
	w := l.connect()
	l.Add(&w.ticket, w, w)
	return w
}

// expect checks what a waiter has been told by now, and that Remove knows.
func (l *lab) expect(w *waiter, want socket.PeerState) {
	l.t.Helper()
	synctest.Wait()
	if w.state != want {
		l.t.Errorf("told %v, want %v", w.state, want)
	}
	for range 2 {
		if gone := l.Remove(&w.ticket); gone != (want != socket.Unknown) {
			l.t.Errorf("told %v, but Remove says %v", w.state, gone)
		}
	}
}

// However long a connection has waited when its peer resets it, that is told
// within 200 ms, and not before the connection has waited for 100 ms.
func TestResetIsTold(t *testing.T) {
	for after := time.Duration(0); after < 500*time.Millisecond; after += 7 * time.Millisecond {
		inLab(t, func(l *lab) {
			w := l.wait()
			added := time.Now()
			time.Sleep(after)
			w.client.Reset()
			time.Sleep(time.Second)
			l.expect(w, socket.Reset)
			if late := w.told.Sub(added.Add(after)); late < 0 || late > 200*time.Millisecond {
				t.Errorf("reset after %v, told %v later", after, late)
			}
			if waited := w.told.Sub(added); waited < 100*time.Millisecond {
				t.Errorf("told after %v", waited)
			}
		})
	}
}

// Only a Watch that was asked to takes an end of stream for leaving.
func TestEnds(t *testing.T) {
	for name, test := range map[string]struct {
		leave func(c *memnet.Conn)
		asked socket.PeerState // what a Watch tells that was asked to
	}{
		"stays":            {func(*memnet.Conn) {}, socket.Unknown},
		"says more":        {func(c *memnet.Conn) { io.WriteString(c, "more") }, socket.Unknown},
		"half-closes":      {func(c *memnet.Conn) { c.CloseWrite() }, socket.Ended},
		"closes":           {func(c *memnet.Conn) { c.Close() }, socket.Ended},
		"ends behind more": {func(c *memnet.Conn) { io.WriteString(c, "more"); c.Close() }, socket.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			for _, asked := range []bool{false, true} {
				inLab(t, func(l *lab) {
					l.EndIsGone = asked
					w := l.wait()
					test.leave(w.client)
					time.Sleep(time.Second)
					if asked {
						l.expect(w, test.asked)
						return
					}
					synctest.Wait()
					if w.state != socket.Unknown {
						t.Errorf("told %v", w.state)
					}
					w.client.Reset() // which is still told
					time.Sleep(time.Second)
					l.expect(w, socket.Reset)
				})
			}
		})
	}
}

// What was removed is not told, at whatever stage that was; and the ticket may be
// used again.
func TestRemoved(t *testing.T) {
	for _, after := range []time.Duration{0, 50, 150, 250, 1000} {
		inLab(t, func(l *lab) {
			w := l.wait()
			time.Sleep(after * time.Millisecond)
			if l.Remove(&w.ticket) {
				t.Errorf("removed after %v: gone", after)
			}
			w.client.Reset()
			time.Sleep(time.Second)
			l.expect(w, socket.Unknown)
			l.Add(&w.ticket, w, w)
			time.Sleep(time.Second)
			l.expect(w, socket.Reset)
			l.Add(&w.ticket, w, w)
			if l.Remove(&w.ticket) {
				t.Error("what was told before is told of the latest Add")
			}
		})
	}
}

// Many come and go at once: each one that left is told of, and no other.
func TestManyComeAndGo(t *testing.T) {
	inLab(t, func(l *lab) {
		var all []*waiter
		removed := map[*waiter]bool{}
		for i := range 1000 {
			w := l.wait()
			all = append(all, w)
			time.Sleep(time.Millisecond)
			switch i % 4 {
			case 0:
				w.client.Reset()
			case 1, 2: // one that has waited for long, or one that has not
				old := all[i*(i%4)*7%len(all)]
				removed[old] = true
				l.Remove(&old.ticket)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, w := range all {
			want := socket.Unknown
			if i%4 == 0 && (!removed[w] || w.state != socket.Unknown) {
				want = socket.Reset
			}
			if w.state != want {
				t.Errorf("connection %d, removed %v: told %v, want %v", i, removed[w], w.state, want)
			}
			l.Remove(&w.ticket)
		}
	})
}

// If nothing is watched nothing ticks: the next connection is looked at a round
// time after it was added, whatever the time was when another one was.
func TestDoesNotTickForNothing(t *testing.T) {
	inLab(t, func(l *lab) {
		first := l.wait()
		time.Sleep(time.Second)
		l.Remove(&first.ticket)
		time.Sleep(time.Hour + 37*time.Millisecond)
		w := l.wait()
		w.client.Reset()
		added := time.Now()
		time.Sleep(time.Second)
		l.expect(w, socket.Reset)
		if after := w.told.Sub(added); after != 200*time.Millisecond {
			t.Errorf("told after %v", after)
		}
	})
}

// What can't be looked at is not looked at again.
func TestUnknownIsLetGo(t *testing.T) {
	inLab(t, func(l *lab) {
		w := l.connect()
		l.Add(&w.ticket, blind{w}, w)
		time.Sleep(time.Second)
		l.expect(w, socket.Unknown)
		next := l.wait()
		next.client.Reset()
		time.Sleep(time.Second)
		l.expect(next, socket.Reset)
	})
}

// A blind connection can be looked at once.
type blind struct{ *waiter }

func (b blind) Peek() socket.PeerState {
	if b.told != (time.Time{}) {
		panic("looked at again")
	}
	b.waiter.told = time.Now()
	return socket.Unknown
}

// What was added before Run is watched by it. After it nothing is.
func TestBeforeAndAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t}
		l.l = l.net.Listen("server")
		w := l.wait()
		w.client.Reset()
		time.Sleep(time.Second)
		if w.state != socket.Unknown {
			t.Errorf("told %v before Run", w.state)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Run(ctx)
		l.expect(w, socket.Reset)
		w = l.wait()
		w.client.Reset()
		time.Sleep(time.Second)
		l.expect(w, socket.Unknown)
	})
}

func TestNilWatch(t *testing.T) {
	var w *socket.Watch
	var ticket socket.Ticket
	w.Add(&ticket, nil, nil)
	if w.Remove(&ticket) {
		t.Error("gone")
	}
}

func TestAddedTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a ticket can be in a watch twice")
		}
	}()
	var w socket.Watch
	var ticket socket.Ticket
	w.Add(&ticket, nil, nil)
	w.Add(&ticket, nil, nil)
}
