//go:build !linux

package socket

import (
	"context"
	"net"
	"time"
)

func dial(ctx context.Context, addr string, within time.Duration) (Conn, error) {
	return dialNet(ctx, addr, within)
}

func accepting(l *net.TCPListener) (Listener, error) { return netListener{l}, nil }

type netListener struct{ *net.TCPListener }

// Accept implements [net.Listener].
func (l netListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &netConn{TCPConn: conn}, nil
}
