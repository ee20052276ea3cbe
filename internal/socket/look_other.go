//go:build !unix

package socket

import (
	"net"
	"os"
	"syscall"
)

func peekNet(*net.TCPConn) (PeerState, syscall.Errno) { return Unknown, 0 }

func tryRead(*net.TCPConn, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }
