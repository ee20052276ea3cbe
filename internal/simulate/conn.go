package simulate

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// An end is one end of a connection. It implements [socket.Conn]. The network's
// lock guards it.
type end struct {
	net           *network
	id            int // in the order in which they were opened
	host          string
	local, remote *net.TCPAddr
	peer          *end
	out           *link // to the peer
	random        rand.PCG
	latest        time.Duration // when the latest of what was sent arrives

	in       []byte
	endedAt  time.Duration // when the end of the peer's stream came
	ended    bool          // the peer's stream has ended
	broken   error         // why the connection is broken; nil if it is not
	finished bool          // this side's stream has ended
	closed   bool          // by this side
	lost     bool          // its host has lost it: what comes for it is answered by a reset
	harmed   atomic.Bool   // by a trouble of the network

	reader   chan struct{} // has room for one; full while a Read is under way
	cut      bool          // writing was interrupted
	deadline time.Time     // for reading
	expire   *time.Timer
	changed  chan struct{} // closed at each change; nil unless somebody waits

	probe *time.Timer   // of keep-alive; nil while it is off
	heard time.Duration // when anything came from the peer

	jobs *jobs // of a connection to a worker
}

var _ socket.Conn = (*end)(nil)

// Read implements [net.Conn]. As with package net, what comes is for the Read that was
// called first: otherwise a reader that was forgotten would seldom take the bytes of
// another one, and the scheduler would decide when.
func (e *end) Read(p []byte) (int, error) {
	e.reader <- struct{}{}
	defer func() { <-e.reader }()
	for {
		n, wait, err := e.tryRead(p)
		if wait == nil {
			return n, err
		}
		<-wait
	}
}

// TryRead implements [socket.Conn].
func (e *end) TryRead(p []byte) (int, error) {
	n, wait, err := e.tryRead(p)
	if wait != nil {
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

func (e *end) tryRead(p []byte) (n int, w <-chan struct{}, err error) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	switch {
	case e.closed:
		return 0, nil, net.ErrClosed
	case interrupts(e.deadline):
		return 0, nil, late("read")
	case len(e.in) > 0:
		n = copy(p, e.in)
		e.in = e.in[n:]
		return n, nil, nil
	case e.broken != nil:
		return 0, nil, e.broken
	case e.ended:
		return 0, nil, io.EOF
	case !e.deadline.IsZero() && !time.Now().Before(e.deadline):
		return 0, nil, late("read")
	}
	return 0, wait(&e.changed), nil
}

func late(what string) error { return fmt.Errorf("%s: %w", what, os.ErrDeadlineExceeded) }

// Write implements [net.Conn]. It never waits.
func (e *end) Write(p []byte) (int, error) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	switch {
	case e.closed || e.finished:
		return 0, net.ErrClosed
	case e.broken != nil:
		return 0, os.NewSyscallError("write", neterr.Errno(neterr.BrokenPipe))
	case e.cut:
		return 0, late("write")
	}
	now := e.net.now()
	if anyHas(e.out.resets, now) && chance(&e.random, 3) {
		return e.writeReset(p)
	}
	for rest := slices.Clone(p); len(rest) > 0; {
		n := len(rest)
		if anyHas(e.out.cuts, now) {
			n = 1 + int(e.random.Uint64()%uint64(n))
		}
		piece := rest[:n]
		rest = rest[n:]
		e.send(func(to *end) { to.came(piece) })
	}
	return len(p), nil
}

// writeReset breaks the connection with what is written on it: before it is
// delivered, after, or when a part of it was.
func (e *end) writeReset(p []byte) (int, error) {
	e.harmed.Store(true)
	e.peer.harmed.Store(true)
	if n := int(e.random.Uint64() % uint64(len(p)+1)); n > 0 || chance(&e.random, 2) {
		piece := slices.Clone(p[:n])
		if chance(&e.random, 2) {
			piece = slices.Clone(p)
		}
		e.send(func(to *end) { to.came(piece) })
	}
	e.send(func(to *end) { to.reset() })
	e.peer.send(func(to *end) { to.reset() })
	return len(p), nil
}

// send has f happen at the peer when what is sent now arrives, after all that
// was sent before.
func (e *end) send(f func(to *end)) {
	at, held := e.out.arrives(e.net.now(), &e.random)
	if held {
		e.harmed.Store(true)
		e.peer.harmed.Store(true)
	}
	at = max(at, e.latest+1)
	e.latest = at
	e.net.after(at, func() {
		e.peer.heard = e.net.now()
		f(e.peer)
	})
}

// came is called when data has arrived.
func (e *end) came(data []byte) {
	switch {
	case e.closed || e.lost:
		e.refuse()
	case e.broken == nil:
		e.in = append(e.in, data...)
		wake(&e.changed)
	}
}

// refuse answers what came for a connection that is closed.
func (e *end) refuse() { e.send(func(to *end) { to.reset() }) }

// reset is called when a reset has arrived. It destroys what was not read.
func (e *end) reset() { e.breaks(neterr.Reset) }

func (e *end) breaks(k neterr.Kind) {
	if e.closed || e.broken != nil {
		return
	}
	e.broken, e.in = os.NewSyscallError("read", neterr.Errno(k)), nil
	wake(&e.changed)
}

// finish is called when the end of the peer's stream has arrived.
func (e *end) finish() {
	if e.lost {
		e.refuse()
		return
	}
	e.ended, e.endedAt = true, e.net.now()
	wake(&e.changed)
}

// Close implements [net.Conn]. As with TCP the peer is reset if there is unread
// input, or once it writes again.
func (e *end) Close() error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.close()
	return nil
}

func (e *end) close() {
	if len(e.in) > 0 {
		e.abort()
		return
	}
	e.end()
	e.shut()
}

// abort closes with a reset.
func (e *end) abort() {
	if !e.closed && !e.lost && e.broken == nil {
		e.send(func(to *end) { to.reset() })
	}
	e.shut()
}

func (e *end) shut() {
	if e.closed {
		return
	}
	e.closed, e.in = true, nil
	delete(e.net.ends[e.host], e)
	for _, t := range []*time.Timer{e.expire, e.probe} {
		if t != nil {
			t.Stop()
		}
	}
	wake(&e.changed)
}

// end ends this side's stream.
func (e *end) end() {
	if !e.closed && !e.finished && !e.lost && e.broken == nil {
		e.send(func(to *end) { to.finish() })
	}
	e.finished = true
}

// leftAt returns when the peer's stream ended; false if it has not.
func (e *end) leftAt() (time.Duration, bool) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	return e.endedAt, e.ended
}

// arrived returns when all that was sent until now has arrived.
func (e *end) arrived() time.Duration {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	return e.latest
}

// CloseWrite implements [socket.Conn].
func (e *end) CloseWrite() error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if e.closed || e.broken != nil {
		return net.ErrClosed
	}
	e.end()
	return nil
}

// Reset closes as a program does that is killed with input unread.
func (e *end) Reset() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.abort()
}

// Peek implements [socket.Conn].
func (e *end) Peek() socket.PeerState {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	switch {
	case e.closed:
		return socket.Unknown
	case e.broken != nil:
		return socket.Reset
	case len(e.in) > 0:
		return socket.Input
	case e.ended:
		return socket.Ended
	}
	return socket.Quiet
}

// Quiet implements [socket.Conn].
func (e *end) Quiet() bool { return e.Peek() == socket.Quiet }

// SetDeadline implements [net.Conn].
func (e *end) SetDeadline(t time.Time) error {
	e.SetWriteDeadline(t)
	return e.SetReadDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (e *end) SetReadDeadline(t time.Time) error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.deadline = t
	if e.expire != nil {
		e.expire.Stop()
		e.expire = nil
	}
	if left := time.Until(t); !t.IsZero() && left > 0 {
		e.expire = time.AfterFunc(left, e.wake)
	}
	wake(&e.changed)
	return nil
}

func (e *end) wake() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	wake(&e.changed)
}

// SetWriteDeadline implements [net.Conn]. Writing never waits, so all that
// matters is whether it is interrupted.
func (e *end) SetWriteDeadline(t time.Time) error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.cut = interrupts(t)
	return nil
}

func interrupts(t time.Time) bool { return !t.IsZero() && !t.After(socket.Interrupt) }

// LocalAddr implements [net.Conn].
func (e *end) LocalAddr() net.Addr { return e.local }

// RemoteAddr implements [net.Conn].
func (e *end) RemoteAddr() net.Addr { return e.remote }

// What keep-alive does, as package socket has it.
const (
	probeAfter = 15 * time.Second
	probeAgain = 5 * time.Second
	probeMax   = 30 * time.Second
)

// SetKeepAlive implements [socket.Conn].
func (e *end) SetKeepAlive(on bool) error {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if !on || e.probe != nil || e.closed {
		return nil
	}
	e.heard = e.net.now()
	e.probe = time.AfterFunc(probeAfter, e.probes)
	return nil
}

// probes asks the peer whether it is there.
func (e *end) probes() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	now := e.net.now()
	silent := now - e.heard
	lost := anyHas(e.out.outages, now) || anyHas(e.peer.out.outages, now)
	switch {
	case e.closed || e.broken != nil:
		return
	case silent < probeAfter:
		e.probe.Reset(probeAfter - silent)
	case lost && silent >= probeMax:
		e.breaks(neterr.TimedOut)
	case lost:
		e.probe.Reset(probeAgain)
	case e.peer.lost || e.peer.closed:
		e.breaks(neterr.Reset)
	default:
		e.heard = now
		e.probe.Reset(probeAfter)
	}
}

func sortByID(all []*end) {
	slices.SortFunc(all, func(a, b *end) int { return cmp.Compare(a.id, b.id) })
}
