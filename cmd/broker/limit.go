package main

import "balancelab/internal/status"

// anyConns is the default of -max-conns where the system sets no limit on open
// files.
const anyConns = 100_000

// defaultMaxConns is how many clients the limit on open files allows at once,
// with room for what is open anyway. A visit takes two files, the client's
// connection and the worker's, and a third one may be an idle connection that
// -keepalive keeps. The connections of the live page are files too.
func defaultMaxConns(keepalive, page bool) int {
	limit, ok := openFiles()
	if !ok {
		return anyConns
	}
	reserved, each := 16, 2
	if page {
		reserved += status.MaxConns
	}
	if keepalive {
		each = 3
	}
	return min(anyConns, max(1, (limit-reserved)/each))
}
