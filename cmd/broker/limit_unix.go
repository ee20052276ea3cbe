//go:build unix

package main

import "syscall"

// defaultMaxConns leaves room for what is open anyway. A visit takes two file
// descriptors, the client's and the worker's, and a third one may be an idle
// connection that -keepalive keeps.
func defaultMaxConns() int {
	const reserved = 16
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 3*anyConns {
		return anyConns
	}
	return max(1, (int(limit.Cur)-reserved)/3)
}
