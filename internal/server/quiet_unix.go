//go:build unix

package server

import (
	"net"
	"syscall"
)

// Quiet reports whether conn is open and has nothing to read. It looks into the
// kernel's buffer, without waiting, and takes nothing out of it. Where it can't
// tell it reports false.
func Quiet(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	var look error
	err = raw.Read(func(fd uintptr) bool {
		_, _, look = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err == nil && (look == syscall.EAGAIN || look == syscall.EWOULDBLOCK)
}
