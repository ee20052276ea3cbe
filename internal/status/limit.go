package status

import (
	"net"
	"sync"
)

// MaxConns is how many connections to the page may be open at once.
const MaxConns = 128

// A limited is a listener of which at most MaxConns accepted connections are
// open.
type limited struct {
	net.Listener
	tokens chan struct{} // holds one token for each open connection
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

// Accept first waits until there are fewer than MaxConns. Until then new
// connections wait in the kernel's queue.
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

// A limitedConn gives its token back, once, when it is closed.
type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
