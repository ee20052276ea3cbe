//go:build unix

package socket

import (
	"net"
	"syscall"
)

// quiet looks into the kernel's buffer, without waiting, and takes nothing out
// of it. A deadline that has passed does not matter to it.
func quiet(conn *net.TCPConn) (open bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { open = peek(int(fd)) })
	return err == nil && open
}

// peek reports whether the socket fd, which does not block, is open and has
// nothing to read.
func peek(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
}
