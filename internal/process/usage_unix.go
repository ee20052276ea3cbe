//go:build unix

package process

import (
	"math"
	"syscall"
	"time"
)

// MaxFiles returns how many files this process may have open, if there is a
// limit.
func MaxFiles() (limit int, ok bool) {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0, false
	}
	return int(r.Cur), true
}

func cpu() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
