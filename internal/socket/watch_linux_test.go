//go:build !386 && !s390x

package socket

import (
	"io"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// addPolled adds a new connection that the kernel watches.
func (w *handWatch) addPolled() *watched {
	w.t.Helper()
	c := w.add()
	w.grow()
	if !w.in(&c.ticket, &w.polled) {
		w.t.Fatal("the kernel does not watch it")
	}
	return c
}

// settle returns when the kernel has told all that has happened so far: it tells
// one after the other.
func (w *handWatch) settle() {
	w.t.Helper()
	last := w.addPolled()
	last.reset()
	last.mustBeTold(w.t, Reset)
}

// A peer that goes on sending, or that half-closed, has not left. A reset is told
// after any of that.
func TestWatchTellsOfResetsOnly(t *testing.T) {
	for name, before := range map[string]func(c *watched){
		"half-close":           func(c *watched) { c.peer.CloseWrite() },
		"input":                func(c *watched) { c.peerSays("more") },
		"input and half-close": func(c *watched) { c.peerSays("more"); c.peer.CloseWrite() },
	} {
		for _, early := range []bool{false, true} {
			w := watchByHand(t, false)
			c := w.add()
			if early {
				before(c)
			}
			w.grow()
			if !early {
				before(c)
			}
			w.settle()
			c.notTold(t, name)
			c.reset()
			c.mustBeTold(t, Reset)
			w.settle()
			c.notTold(t, name+": a second time")
		}
	}
}

// An end of stream is told once if the Watch was asked to, even if there is
// unread input before it.
func TestWatchTellsOfEnds(t *testing.T) {
	for name, end := range map[string]func(c *watched){
		"half-close":           func(c *watched) { c.peer.CloseWrite() },
		"close":                func(c *watched) { c.peer.Close() },
		"input and half-close": func(c *watched) { c.peerSays("more"); c.peer.CloseWrite() },
	} {
		for _, early := range []bool{false, true} {
			w := watchByHand(t, true)
			c := w.add()
			if early {
				end(c)
			}
			w.grow()
			if !early {
				end(c)
			}
			c.mustBeTold(t, Ended)
			c.reset()
			w.settle()
			c.notTold(t, name+": a second time")
			if !w.Remove(&c.ticket) {
				t.Errorf("%s: Remove does not know", name)
			}
		}
	}
}

// The kernel is not asked again and again about what it has told.
func TestWatchDoesNotSpin(t *testing.T) {
	w := watchByHand(t, true)
	c := w.addPolled()
	c.peerSays("more")
	c.peer.CloseWrite()
	c.mustBeTold(t, Ended)
	w.settle()
	if n, err := syscall.EpollWait(w.poller.fd, make([]syscall.EpollEvent, 8), 0); n != 0 {
		t.Errorf("%d events are left, %v", n, err)
	}
	for _, c := range []*watched{w.addPolled(), w.addPolled()} {
		defer w.Remove(&c.ticket)
	}
	if w.ticking {
		t.Error("it ticks although the kernel watches all there is")
	}
}

// What was removed is not told, though the kernel goes on watching until it is
// closed; and it may be added again.
func TestWatchAfterRemove(t *testing.T) {
	w := watchByHand(t, true)
	c := w.addPolled()
	if w.Remove(&c.ticket) {
		t.Error("gone")
	}
	c.peer.CloseWrite()
	w.settle()
	c.notTold(t, "removed")
	w.Add(&c.ticket, c.conn, c.told)
	w.grow()
	c.mustBeTold(t, Ended)

	c = w.addPolled()
	w.Remove(&c.ticket)
	w.Add(&c.ticket, c.conn, c.told)
	w.grow()
	if !w.in(&c.ticket, &w.polled) {
		t.Error("the kernel does not watch it again")
	}
	c.peer.CloseWrite()
	c.mustBeTold(t, Ended)
}

// A file descriptor is another connection's as soon as it is closed. What the
// kernel tells of the old one must not reach the new one: here the kernel still
// tells, since another descriptor keeps the old connection open, as it is for a
// moment in a child process that has just been started.
func TestWatchKnowsConnectionsApart(t *testing.T) {
	w := watchByHand(t, true)
	old := w.addPolled()
	copied, err := syscall.Dup(descriptor(t, old.conn))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	w.Remove(&old.ticket)
	next := w.closeAndReuse(old)[0]
	w.grow()
	old.reset()
	w.settle()
	next.notTold(t, "another connection was reset")
	old.notTold(t, "removed")
	next.reset()
	next.mustBeTold(t, Reset)
}

// closeAndReuse closes the connections old, and returns as many new ones that
// have the same file descriptors. They have been added.
func (w *handWatch) closeAndReuse(old ...*watched) []*watched {
	w.t.Helper()
	var next []*watched
	for range old {
		next = append(next, &watched{link: linkTo(w.t, w.l), told: make(told, 2)})
	}
	for i, old := range old {
		fd, conn := descriptor(w.t, old.conn), next[i].conn.(*conn)
		old.conn.Close()
		if err := syscall.Dup3(conn.fd, fd, syscall.O_CLOEXEC); err != nil {
			w.t.Fatal(err)
		}
		syscall.Close(conn.fd)
		conn.fd = fd
		w.Add(&next[i].ticket, conn, next[i].told)
	}
	return next
}

// The events that were read together are told one after the other. Meanwhile a
// connection of a later one may have been closed.
func TestWatchKnowsOldEvents(t *testing.T) {
	w := watchByHand(t, false)
	old := w.addPolled()
	fd, generation := old.ticket.place, old.ticket.generation
	w.Remove(&old.ticket)
	w.event(fd, generation, Reset)
	old.notTold(t, "removed")
	next := w.closeAndReuse(old)[0]
	w.grow()
	w.event(fd, generation, Reset)
	next.notTold(t, "an event of the connection before")
	w.event(fd, next.ticket.generation, Reset)
	next.mustBeTold(t, Reset)
}

// A caller that closes too early may miss something, and harms no other connection.
func TestWatchClosedBeforeRemoved(t *testing.T) {
	w := watchByHand(t, false)
	old := []*watched{w.addPolled(), w.add()}
	next := w.closeAndReuse(old...)
	w.grow()
	for _, c := range old {
		if w.Remove(&c.ticket) {
			t.Error("gone")
		}
	}
	for _, c := range next {
		c.notTold(t, "open")
		c.reset()
		c.mustBeTold(t, Reset)
	}
}

// Some may be removed while others are looked at.
func TestWatchLooksAtNoMoreThanThereAre(t *testing.T) {
	w := watchByHand(t, true)
	w.look(0)
}

// A slow waiter takes its time to be told.
type slow struct {
	told, closing chan struct{}
	returned      bool
}

func (s *slow) PeerGone(PeerState) {
	close(s.told)
	<-s.closing
	for range 1000 {
		runtime.Gosched()
	}
	s.returned = true
}

// When the Watch has ended nobody is being told any more.
func TestWatchEndsWhenAllAreTold(t *testing.T) {
	w := watchByHand(t, true)
	l := linkTo(t, w.l)
	s := &slow{told: make(chan struct{}), closing: make(chan struct{})}
	var ticket Ticket
	w.Add(&ticket, l.conn, s)
	w.grow()
	l.reset()
	<-s.told
	close(s.closing)
	w.poller.close()
	if !s.returned {
		t.Error("one is still being told")
	}
}

// Without a file for the kernel's part, all are looked at.
func TestWatchWithoutFiles(t *testing.T) {
	w := watchByHand(t, false)
	c := w.add()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	w.grow()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !w.in(&c.ticket, &w.swept) {
		t.Error("it is not looked at")
	}
	c.reset()
	c.settle()
	w.tick(&w.poller)
	c.mustBeTold(t, Reset)
	w.addPolled() // there are files again
}

// A busy connection of many. Its fields need no lock: that the Watch keeps apart
// what it does and what its callers do is what the race detector checks.
type busy struct {
	watch   *handWatch
	ticket  Ticket
	removed bool
	told    int
	ended   chan struct{} // gets a value when told
}

func (b *busy) PeerGone(PeerState) {
	if b.removed {
		panic("told after Remove")
	}
	if b.watch.mu.TryLock() {
		panic("Remove does not wait")
	}
	b.told++
	b.ended <- struct{}{}
}

// Many come and go at once, and take over each other's file descriptors. Each is
// told of its own peer only, and not after Remove.
func TestWatchManyAtOnce(t *testing.T) {
	w := watchByHand(t, false)
	var ticking, users sync.WaitGroup
	var over atomic.Bool
	ticking.Go(func() {
		for !over.Load() {
			w.tick(&w.poller)
			runtime.Gosched()
		}
	})
	var pairing sync.Mutex // so that what is accepted is what was dialed
	connect := func() (peer, conn Conn) {
		pairing.Lock()
		defer pairing.Unlock()
		peer, err := Dial(t.Context(), w.l.Addr().String(), 0)
		if err != nil {
			panic(err)
		}
		accepted, err := w.l.Accept()
		if err != nil {
			panic(err)
		}
		return peer, accepted.(Conn)
	}
	for i := range 8 {
		users.Go(func() {
			for j := range 60 {
				peer, conn := connect()
				b := &busy{ended: make(chan struct{}, 2)}
				if b.watch = w; i%2 == 0 {
					w.Add(&b.ticket, conn, b)
				} else {
					w.Add(&b.ticket, struct{ Conn }{conn}, b) // which the kernel does not watch
				}
				for range j % 8 { // a different time for each
					runtime.Gosched()
				}
				way := (i + j) % 4
				if way < 2 { // the peer's unread input has it reset
					io.WriteString(conn, "x")
					for peer.Peek() == Quiet {
						runtime.Gosched()
					}
					peer.Close()
				}
				if way == 0 {
					<-b.ended
				}
				gone := w.Remove(&b.ticket)
				b.removed = true
				if told := b.told == 1; told != gone || way == 0 && !told || way > 1 && told {
					t.Errorf("way %d: told %d times, gone %v", way, b.told, gone)
				}
				conn.Close()
				peer.Close()
			}
		})
	}
	users.Wait()
	over.Store(true)
	ticking.Wait()
	if len(w.young[0])+len(w.young[1])+len(w.swept) > 0 {
		t.Error("tickets are left")
	}
	for fd, ticket := range w.polled {
		if ticket != nil {
			t.Errorf("descriptor %d is left", fd)
		}
	}
}

// A request that is over soon costs two calls and no memory; one that waits for
// long costs at most 64 bytes, with its place in a list.
func TestWatchIsCheap(t *testing.T) {
	w := watchByHand(t, false)
	c := w.add()
	w.Remove(&c.ticket)
	if n := testing.AllocsPerRun(1000, func() {
		w.Add(&c.ticket, c.conn, c.told)
		w.Remove(&c.ticket)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if size := reflect.TypeFor[Ticket]().Size() + reflect.TypeFor[*Ticket]().Size(); size > 64 {
		t.Errorf("%d bytes", size)
	}
}

func BenchmarkWatch(b *testing.B) {
	var w Watch
	w.start()
	defer w.stop()
	var conn Conn = new(conn)
	var ticket Ticket
	b.ReportAllocs()
	for b.Loop() {
		w.Add(&ticket, conn, told(nil))
		w.Remove(&ticket)
	}
}

func BenchmarkPeek(b *testing.B) {
	l, err := Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	peer, err := Dial(b.Context(), l.Addr().String(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	b.ReportAllocs()
	for b.Loop() {
		peer.Peek()
	}
}
