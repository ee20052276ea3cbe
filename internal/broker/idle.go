package broker

import (
	"slices"
	"sync"
	"time"

	"balancelab/internal/socket"
)

// idleTimeout is how long a connection is kept that is not used.
const idleTimeout = 60 * time.Second

// An IdlePool keeps idle connections to workers, for the next request to use.
// Most of what a request costs the broker is opening and closing one.
//
// Only a worker that speaks the extension of package protocol is kept connected.
// A connection is looked at before it is used again, without waiting: one that
// the worker has closed is thrown away. On systems where that look is not
// implemented nothing is kept.
//
// Two cases are left. The worker closes while a job is on its way to it: it says
// so, with an empty line, and the job goes out on another connection. Or the
// worker's machine has vanished without a word: TCP's keep-alive probes find
// that out in seconds, unless a job is sent before that and gets no answer. Then
// every connection that has been idle for longer is thrown away too.
type IdlePool struct {
	// Most is how many idle connections are kept to all workers together; 0 means
	// any number. It is set before the pool is used.
	Most  int
	limit int // to each worker

	mu     sync.Mutex         // guards all below
	idle   map[int][]idleConn // by the worker's index, the latest used last
	count  int                // of all
	sweep  *time.Timer        // closes what was not used for long; nil while nothing is idle
	closed bool
}

// An idleConn is a connection that is idle since the time since.
type idleConn struct {
	socket.Conn
	since time.Time
}

// NewIdlePool returns an empty pool, for at most limit idle connections to each
// worker. The caller closes it when the broker has stopped.
func NewIdlePool(limit int) *IdlePool {
	return &IdlePool{limit: limit, idle: map[int][]idleConn{}}
}

// take returns a connection to the worker that is still open, or nil. A nil
// pool has none.
func (p *IdlePool) take(worker int) socket.Conn {
	if p == nil {
		return nil
	}
	for {
		conn := p.pop(worker)
		if conn == nil || conn.Quiet() {
			return conn
		}
		conn.Close()
	}
}

func (p *IdlePool) pop(worker int) socket.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle[worker]) - 1
	if last < 0 {
		return nil
	}
	conn := p.idle[worker][last].Conn
	p.remove(worker, last, last+1)
	return conn
}

// put keeps conn, or closes it if enough are idle or the pool is closed.
func (p *IdlePool) put(worker int, conn socket.Conn) {
	p.mu.Lock()
	full := p.closed || len(p.idle[worker]) >= p.limit || p.Most > 0 && p.count >= p.Most
	if !full {
		p.idle[worker] = append(p.idle[worker], idleConn{conn, time.Now()})
		if p.count++; p.sweep == nil {
			p.sweep = time.AfterFunc(idleTimeout, p.closeUnused)
		}
	}
	p.mu.Unlock()
	if full {
		conn.Close()
	}
}

// discard closes the connections to the worker that were idle at the time at.
func (p *IdlePool) discard(worker int, at time.Time) {
	p.mu.Lock()
	old := p.cutSince(nil, worker, at)
	p.mu.Unlock()
	closeAll(old)
}

// Drop closes all idle connections to the worker with that index, see
// [balance.Lease.Index]. A nil pool has none.
func (p *IdlePool) Drop(worker int) {
	if p != nil {
		p.discard(worker, time.Now())
	}
}

// closeUnused closes what was not used for long, and runs again when the next
// connection will not have been.
func (p *IdlePool) closeUnused() { closeAll(p.cutUnused()) }

func (p *IdlePool) cutUnused() (old []idleConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep = nil
	if p.closed {
		return nil
	}
	now := time.Now()
	next := now
	for worker := range p.idle {
		old = p.cutSince(old, worker, now.Add(-idleTimeout))
		if idle := p.idle[worker]; len(idle) > 0 && idle[0].since.Before(next) {
			next = idle[0].since
		}
	}
	if p.count > 0 {
		p.sweep = time.AfterFunc(next.Add(idleTimeout).Sub(now), p.closeUnused)
	}
	return old
}

// cutSince takes the connections to the worker out that have been idle since a
// time or for longer, which come first, and appends them to old.
func (p *IdlePool) cutSince(old []idleConn, worker int, at time.Time) []idleConn {
	n := 0
	for _, conn := range p.idle[worker] {
		if conn.since.After(at) {
			break
		}
		n++
	}
	old = append(old, p.idle[worker][:n]...)
	p.remove(worker, 0, n)
	return old
}

func (p *IdlePool) remove(worker, from, to int) {
	p.count -= to - from
	if left := slices.Delete(p.idle[worker], from, to); len(left) > 0 {
		p.idle[worker] = left
		return
	}
	delete(p.idle, worker)
}

// Close closes all idle connections; what is put afterwards is closed too.
func (p *IdlePool) Close() { closeAll(p.cutAll()) }

func (p *IdlePool) cutAll() (old []idleConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	for worker := range p.idle {
		old = p.cutSince(old, worker, time.Now())
	}
	return old
}

func closeAll(conns []idleConn) {
	for _, conn := range conns {
		conn.Close()
	}
}
