package main

import "balancelab/internal/status"

// anyConns is the default of -max-conns where the system sets no limit on open
// files.
const anyConns = 100_000

// idleMax is how many idle connections to each worker -keepalive keeps at most.
const idleMax = 128

// idle returns how many idle connections to each worker are kept: no more in
// all than there are clients at once, unless that were less than one.
func (f *flags) idle() int { return min(idleMax, max(1, f.maxConns/len(f.workers))) }

// defaultMaxConns is how many clients the limit on open files allows at once,
// with room for what is open anyway.
func (f *flags) defaultMaxConns() int {
	limit, ok := openFiles()
	if !ok {
		return anyConns
	}
	room, idle := limit-16, 0
	if f.status != "" {
		room -= status.DefaultMaxConns
	}
	if f.keepalive {
		idle = idleMax * len(f.workers)
	}
	return min(anyConns, clientsIn(room, idle))
}

// clientsIn returns how many clients there is room for, in files, when up to
// idle connections are kept, and no more than there are clients. An exchange takes
// two files, the client's connection and the worker's.
func clientsIn(room, idle int) int {
	return max(1, room/3, (room-idle)/2)
}
