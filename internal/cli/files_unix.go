//go:build unix

package cli

import (
	"math"
	"syscall"
)

// OpenFiles returns how many files this process may have open, if there is a
// limit.
func OpenFiles() (limit int, ok bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0, false
	}
	return int(r.Cur), true
}
