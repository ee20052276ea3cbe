//go:build !linux || 386 || s390x

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
