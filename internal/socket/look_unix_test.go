//go:build unix

package socket

import (
	"syscall"
	"testing"
)

// The kernel also tells what it heard on the way to the peer; a connection lives
// on after that.
func TestWhatBreaksAConnection(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.ECONNRESET: true, syscall.EPIPE: true, syscall.ETIMEDOUT: true, syscall.ECONNABORTED: true,
		0: false, syscall.EHOSTUNREACH: false, syscall.ENETUNREACH: false, syscall.ECONNREFUSED: false,
	} {
		if got := breaks(errno); got != want {
			t.Errorf("%v: %v", errno, got)
		}
	}
}
