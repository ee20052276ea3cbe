package status

import (
	"net"
	"sync"
)

// MaxConns is how many connections to the page are open at once.
const MaxConns = 128

// limited is a listener with at most MaxConns accepted connections open.
type limited struct {
	net.Listener
	tokens chan struct{} // holds one for each open connection
	closed chan struct{} // closed by Close
	close  func() error
}

func newLimited(l net.Listener) *limited {
	closed := make(chan struct{})
	return &limited{l, make(chan struct{}, MaxConns), closed, sync.OnceValue(func() error {
		close(closed)
		return l.Close()
	})}
}

func (l *limited) Close() error { return l.close() }

// Accept waits for a free place first, so that who comes too many stays in the
// kernel's queue.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.tokens <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.tokens
		return nil, err
	}
	return &limitedConn{conn, sync.OnceFunc(func() { <-l.tokens })}, nil
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
