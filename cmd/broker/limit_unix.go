//go:build unix

package main

import (
	"math"
	"syscall"
)

// openFiles returns the limit on open files, if there is one.
func openFiles() (limit int, ok bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0, false
	}
	return int(r.Cur), true
}
