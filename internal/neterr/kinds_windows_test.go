package neterr

import (
	"strings"
	"syscall"
	"testing"
)

// What each number means, reads and decides is written out once more: a mistake
// in the table shows here.
func TestEachEntry(t *testing.T) {
	entries := []struct {
		numbers            []syscall.Errno
		text               string
		exhausted, passing bool
	}{
		{[]syscall.Errno{10061, 1225}, "connection refused", false, false},
		{[]syscall.Errno{10054, 64}, "connection reset by peer", false, true},
		{[]syscall.Errno{10058, 109, 232}, "broken pipe", false, false},
		{[]syscall.Errno{10053, 1236, 10057}, "software caused connection abort", false, true},
		{[]syscall.Errno{10060, 10052, 121}, "connection timed out", false, false},
		{[]syscall.Errno{10065, 1232}, "no route to host", false, true},
		{[]syscall.Errno{10051, 1231}, "network is unreachable", false, true},
		{[]syscall.Errno{10048}, "address already in use", true, true},
		{[]syscall.Errno{10049}, "cannot assign requested address", true, true},
		{[]syscall.Errno{10013}, "permission denied", false, false},
		{[]syscall.Errno{10024, 4}, "too many open files", true, true},
		{[]syscall.Errno{10055, 1450, 1816}, "no buffer space available", true, true},
		{[]syscall.Errno{8}, "cannot allocate memory", true, true},
	}
	tested := 1 // 10050 has the system's own words
	for _, e := range entries {
		for _, number := range e.numbers {
			tested++
			for _, err := range wrapped(number) {
				if got := Reason(err).Error(); got != e.text || Exhausted(err) != e.exhausted || Passing(err) != e.passing {
					t.Errorf("%d reads %q, exhausted %v, passing %v", number, got, Exhausted(err), Passing(err))
				}
			}
		}
	}
	if !Passing(syscall.Errno(10050)) || Exhausted(syscall.Errno(10050)) || tested != len(kinds) {
		t.Errorf("%d numbers of %d are tested", tested, len(kinds))
	}
}

func TestUnreserved(t *testing.T) {
	if !strings.Contains(Unreserved, `"netsh interface ipv4 show excludedportrange tcp"`) {
		t.Errorf("got %q", Unreserved)
	}
}

// The names that package syscall has for Unix are numbers that no socket returns.
func TestInventedNumbers(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.EACCES,
	} {
		if kind := KindOf(errno); kind != Other {
			t.Errorf("%v is of kind %d", errno, kind)
		}
	}
}
