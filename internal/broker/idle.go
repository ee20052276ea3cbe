package broker

import (
	"sync"

	"balancelab/internal/socket"
)

// An IdlePool keeps idle connections to workers, for the next request to use.
// Most of what a request costs the broker is opening and closing one.
//
// Only a worker that ends its answer with a newline is kept connected; an
// original worker closes. A connection is looked at before it is used again,
// without waiting: one that the worker has closed is thrown away. On systems
// where that look is not implemented nothing is kept.
//
// One case is left: the worker stops while a job is on its way to it. It says
// so, with an empty line, and the job goes out on another connection. Anything
// else, a reset too, may mean that the job has run.
type IdlePool struct {
	limit int

	mu     sync.Mutex      // guards idle and closed
	idle   [][]socket.Conn // for each worker, the latest used last
	closed bool
}

// NewIdlePool returns an empty pool for a number of workers, with at most limit
// idle connections to each of them. The caller closes it when the broker has
// stopped.
func NewIdlePool(workers, limit int) *IdlePool {
	return &IdlePool{limit: limit, idle: make([][]socket.Conn, workers)}
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
	idle := p.idle[worker]
	if len(idle) == 0 {
		return nil
	}
	last := len(idle) - 1
	conn := idle[last]
	idle[last] = nil
	p.idle[worker] = idle[:last]
	return conn
}

// put keeps conn, or closes it if there are enough.
func (p *IdlePool) put(worker int, conn socket.Conn) {
	p.mu.Lock()
	full := p.closed || len(p.idle[worker]) >= p.limit
	if !full {
		p.idle[worker] = append(p.idle[worker], conn)
	}
	p.mu.Unlock()
	if full {
		conn.Close()
	}
}

// Close closes all idle connections; what is put afterwards is closed too.
func (p *IdlePool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for worker, idle := range p.idle {
		for _, conn := range idle {
			conn.Close()
		}
		p.idle[worker] = nil
	}
}
