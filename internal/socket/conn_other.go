//go:build !linux

package socket

import (
	"context"
	"net"
	"time"
)

func dial(ctx context.Context, addr string, within time.Duration) (net.Conn, error) {
	return dialNet(ctx, addr, within)
}

func accepting(l *net.TCPListener) (net.Listener, error) { return netListener{l}, nil }

type netListener struct{ *net.TCPListener }

// Accept is for [net.Listener].
func (l netListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return netConn{conn}, nil
}
