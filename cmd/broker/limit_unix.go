//go:build unix

package main

import "syscall"

// defaultMaxConns leaves room for what is open anyway: a visit takes two file
// descriptors, the client's and the worker's.
func defaultMaxConns() int {
	const reserved = 16
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 2*anyConns {
		return anyConns
	}
	return max(1, (int(limit.Cur)-reserved)/2)
}
