//go:build !windows

package neterr

import (
	"syscall"
	"testing"
)

// The numbers that accept(2) passes on from the new connection are each in the
// table: that a connection was broken must not end a server.
func TestAcceptingIsComplete(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.EINTR, syscall.EPERM, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EOPNOTSUPP,
		syscall.ECONNABORTED, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if !Passing(errno) || Exhausted(errno) {
			t.Errorf("%v: passing %v, exhausted %v", errno, Passing(errno), Exhausted(errno))
		}
	}
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EBADF, syscall.ENOTSOCK, syscall.EFAULT} {
		if Passing(errno) {
			t.Errorf("%v is passing", errno)
		}
	}
}
