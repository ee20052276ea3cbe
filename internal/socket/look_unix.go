//go:build unix

package socket

import (
	"io"
	"os"
	"syscall"

	"balancelab/internal/neterr"
)

// peek looks into the kernel's buffer for the socket fd, without waiting, and
// takes nothing out of it but the error of a broken connection, which it returns
// with [Reset].
func peek(fd int) (state PeerState, broken syscall.Errno) {
	var b [1]byte
	n, err := receive(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch errno, _ := err.(syscall.Errno); {
	case errno == syscall.EAGAIN || errno == syscall.EWOULDBLOCK:
		return Quiet, 0
	case errno == syscall.EBADF || errno == syscall.EINTR || neterr.Exhausted(errno):
		return Unknown, 0
	case errno != 0:
		return Reset, errno
	}
	if broken := pending(fd); broken != 0 {
		return Reset, broken
	}
	if n > 0 {
		return Input, 0
	}
	return Ended, 0
}

// pending returns the error of the socket fd, or 0 if its connection is not
// broken. Receiving does not tell it while there is input, and never after the
// peer's end of stream.
func pending(fd int) syscall.Errno {
	value, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if errno := syscall.Errno(value); err == nil && breaks(errno) {
		return errno
	}
	return 0
}

// breaks reports whether a socket's error is the end of its connection. Others
// are reports on the way to the peer, such as "no route to host", for which TCP
// does not give up.
func breaks(errno syscall.Errno) bool {
	switch neterr.KindOf(errno) {
	case neterr.Reset, neterr.BrokenPipe, neterr.Aborted, neterr.TimedOut:
		return true
	}
	return false
}

// read reads from the socket fd, which does not block. If nothing is there the
// error is [os.ErrDeadlineExceeded].
func read(fd int, p []byte) (int, error) {
	n, err := receive(fd, p, syscall.MSG_DONTWAIT)
	errno, _ := err.(syscall.Errno)
	return received(n, errno, p)
}

// received returns what a receive into p means to a reader.
func received(n int, err syscall.Errno, p []byte) (int, error) {
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, os.ErrDeadlineExceeded
	case err != 0:
		return 0, os.NewSyscallError("receive", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}
