//go:build !windows

package neterr

import (
	"syscall"
	"testing"
)

// What each number means, reads and decides is written out once more: a mistake
// in the table shows here.
func TestEachEntry(t *testing.T) {
	entries := []struct {
		number             syscall.Errno
		text               string
		exhausted, passing bool
	}{
		{syscall.ECONNREFUSED, "connection refused", false, false},
		{syscall.ECONNRESET, "connection reset by peer", false, true},
		{syscall.EPIPE, "broken pipe", false, false},
		{syscall.ECONNABORTED, "software caused connection abort", false, true},
		{syscall.ETIMEDOUT, "connection timed out", false, false},
		{syscall.EHOSTUNREACH, "no route to host", false, true},
		{syscall.ENETUNREACH, "network is unreachable", false, true},
		{syscall.EADDRINUSE, "address already in use", true, true},
		{syscall.EADDRNOTAVAIL, "cannot assign requested address", true, true},
		{syscall.EACCES, "permission denied", false, false},
		{syscall.EMFILE, "too many open files", true, true},
		{syscall.ENFILE, "too many open files in system", true, true},
		{syscall.ENOBUFS, "no buffer space available", true, true},
		{syscall.ENOMEM, "cannot allocate memory", true, true},
	}
	for _, e := range entries {
		for _, err := range wrapped(e.number) {
			if got := Reason(err).Error(); got != e.text || Exhausted(err) != e.exhausted || Passing(err) != e.passing {
				t.Errorf("%d reads %q, exhausted %v, passing %v", e.number, got, Exhausted(err), Passing(err))
			}
		}
	}
	own := 7 // those of TestAcceptingIsComplete, with the system's own words
	if len(entries)+own != len(kinds) {
		t.Errorf("%d numbers of %d are tested", len(entries)+own, len(kinds))
	}
}

func TestUnreserved(t *testing.T) {
	if Unreserved != "above 1023" {
		t.Errorf("got %q", Unreserved)
	}
}

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
