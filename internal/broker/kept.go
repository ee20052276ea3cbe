package broker

import (
	"net"
	"sync"

	"balancelab/internal/server"
)

// Kept holds idle connections to workers, for the next request to use. Most
// of what a request costs the broker is opening and closing one.
//
// Only a worker that ends its answer with a newline is kept connected; an
// original worker closes. A connection is looked at before it is used again,
// without waiting: one that the worker has closed is thrown away. On systems
// where that look is not implemented nothing is kept.
//
// One case is left: the worker stops while a job is on its way to it. It says
// so, with an empty line, and the job goes out on another connection. Anything
// else, a reset too, may mean that the job has run.
type Kept struct {
	most int

	mu     sync.Mutex   // guards idle and closed
	idle   [][]net.Conn // for each worker, the latest used last
	closed bool
}

// NewKept returns a Kept for so many workers, with at most so many idle
// connections to each of them. The caller closes it when the broker has
// stopped.
func NewKept(workers, most int) *Kept {
	return &Kept{most: most, idle: make([][]net.Conn, workers)}
}

// take returns a connection to the worker that is still open, or nil. A nil
// Kept has none.
func (k *Kept) take(worker int) net.Conn {
	if k == nil {
		return nil
	}
	for {
		conn := k.pop(worker)
		if conn == nil || server.Quiet(conn) {
			return conn
		}
		conn.Close()
	}
}

func (k *Kept) pop(worker int) net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	idle := k.idle[worker]
	if len(idle) == 0 {
		return nil
	}
	last := len(idle) - 1
	conn := idle[last]
	idle[last] = nil
	k.idle[worker] = idle[:last]
	return conn
}

// put keeps conn, or closes it if there are enough.
func (k *Kept) put(worker int, conn net.Conn) {
	k.mu.Lock()
	full := k.closed || len(k.idle[worker]) >= k.most
	if !full {
		k.idle[worker] = append(k.idle[worker], conn)
	}
	k.mu.Unlock()
	if full {
		conn.Close()
	}
}

// Close closes all idle connections; what is put afterwards is closed too.
func (k *Kept) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for worker, idle := range k.idle {
		for _, conn := range idle {
			conn.Close()
		}
		k.idle[worker] = nil
	}
}
