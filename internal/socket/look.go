package socket

import (
	"net"
	"syscall"
)

// Each system has its own two ways to look without waiting: peek and read, of a
// socket's number. For them it does not matter whether a deadline has passed.

// peekNet is peek for a connection of package net.
func peekNet(conn *net.TCPConn) (state PeerState, broken syscall.Errno) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Unknown, 0
	}
	if raw.Control(func(fd uintptr) { state, broken = peek(int(fd)) }) != nil {
		return Unknown, 0 // closed
	}
	return state, broken
}

// tryRead is read for a connection of package net.
func tryRead(conn *net.TCPConn, p []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := raw.Control(func(fd uintptr) { n, err = read(int(fd), p) })
	if closed != nil {
		return 0, closed
	}
	return n, err
}
