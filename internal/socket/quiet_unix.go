//go:build unix

package socket

import (
	"io"
	"net"
	"os"
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

// tryRead reads what is in the kernel's buffer. A deadline that has passed does
// not matter to it.
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

// read reads from the socket fd, which does not block. If nothing is there the
// error is [os.ErrDeadlineExceeded].
func read(fd int, p []byte) (int, error) {
	n, err := syscall.Read(fd, p)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
