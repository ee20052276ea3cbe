package process

import (
	"syscall"
	"time"
)

// MaxFiles returns how many files this process may have open, if there is a
// limit.
func MaxFiles() (limit int, ok bool) { return 0, false }

func cpu() time.Duration {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0
	}
	var created, ended, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(self, &created, &ended, &kernel, &user) != nil {
		return 0
	}
	return length(kernel) + length(user)
}

// length returns a time of Windows that is a length, in units of 100 ns.
func length(t syscall.Filetime) time.Duration {
	return time.Duration(uint64(t.HighDateTime)<<32|uint64(t.LowDateTime)) * 100
}
