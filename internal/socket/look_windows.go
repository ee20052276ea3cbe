package socket

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"balancelab/internal/neterr"
)

// What package syscall does not have.
const (
	pollErr    = 0x1   // POLLERR
	pollNVal   = 0x4   // POLLNVAL
	pollRdNorm = 0x100 // POLLRDNORM: input, or the end of it
	msgPeek    = 0x2   // MSG_PEEK
)

var wsaPoll = syscall.NewLazyDLL("ws2_32.dll").NewProc("WSAPoll")

// A pollFd is a WSAPOLLFD.
type pollFd struct {
	socket  syscall.Handle
	asked   int16
	present int16
}

// poll returns what there is to see on the socket fd, without waiting: 0 if the
// connection is open and there is nothing to read. A socket of package net blocks
// whoever reads from it directly, so read only what poll has seen.
func poll(fd int) (present int16) {
	p := pollFd{socket: syscall.Handle(fd), asked: pollRdNorm}
	n, _, _ := wsaPoll.Call(uintptr(unsafe.Pointer(&p)), 1, 0)
	if int32(n) < 0 { // SOCKET_ERROR
		return pollNVal
	}
	return p.present
}

// receive reads what is there; flags may be msgPeek.
func receive(fd int, p []byte, flags uint32) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n uint32
	buffer := syscall.WSABuf{Len: uint32(len(p)), Buf: &p[0]}
	err := syscall.WSARecv(syscall.Handle(fd), &buffer, 1, &n, &flags, nil, nil)
	return int(n), err
}

// peek looks into the system's buffer for the socket fd, without waiting, and
// takes nothing out of it but perhaps the error of a broken connection, which it
// returns with [Reset].
func peek(fd int) (state PeerState, broken syscall.Errno) {
	present := poll(fd)
	switch {
	case present == 0:
		return Quiet, 0
	case present&pollNVal != 0:
		return Unknown, 0
	}
	n, err := receive(fd, make([]byte, 1), msgPeek)
	errno, _ := err.(syscall.Errno)
	switch {
	case neterr.Exhausted(errno):
		return Unknown, 0
	case errno != 0:
		return Reset, errno
	case present&pollErr != 0: // behind what can still be read
		return Reset, neterr.Errno(neterr.Reset)
	case n > 0:
		return Input, 0
	}
	return Ended, 0
}

// read reads from the socket fd, without waiting. If nothing is there the error
// is [os.ErrDeadlineExceeded].
func read(fd int, p []byte) (int, error) {
	if poll(fd) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := receive(fd, p, 0)
	if err != nil {
		return 0, os.NewSyscallError("wsarecv", err)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
