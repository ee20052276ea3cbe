package main

import (
	"balancelab/internal/broker"
	"balancelab/internal/cli"
	"balancelab/internal/events"
	"balancelab/internal/runs"
	"balancelab/internal/status"
)

// idleMax is how many idle connections to each worker -keepalive keeps at most.
const idleMax = 128

// idle returns how many idle connections to each worker are kept: no more in
// all than there are clients at once, unless that were less than one.
func (f *flags) idle() int { return min(idleMax, max(1, f.maxConns/len(f.workers))) }

// idlePool returns the pool of -keepalive. With -control there may be more workers
// later, so there is a bound for all of them too.
func (f *flags) idlePool() *broker.IdlePool {
	p := broker.NewIdlePool(f.idle())
	if f.control {
		p.Most = f.maxConns
	}
	return p
}

// A budget says how the open files are shared out.
type budget struct {
	clients int // at once
	viewers int // connections to the live page
}

// budget shares out limit open files, if limited, between clients, connections
// to workers, and the live page. Accepting a client must leave what serving it
// needs.
func (f *flags) budget(limit int, limited bool) (b budget) {
	if f.status != "" {
		b.viewers = status.DefaultMaxConns + events.MaxViewers
	}
	b.clients = cli.AnyConns
	if !limited {
		return b
	}
	b.viewers = min(b.viewers, limit/4)
	room, idle := limit-cli.OtherFiles-b.viewers-f.ownClients(limit, limited), 0
	switch {
	case f.keepalive && f.control: // any number of workers: as many as clients
		idle = room
	case f.keepalive:
		idle = idleMax * len(f.workers)
	}
	b.clients = min(b.clients, clientsIn(room, idle))
	return b
}

// ownClients returns how many requests of its own the broker has in flight at
// once, at most. Each has one more open file.
func (f *flags) ownClients(limit int, limited bool) int {
	switch {
	case !f.control:
		return 0
	case limited:
		return min(runs.MaxAtOnce, max(1, limit/8))
	}
	return runs.MaxAtOnce
}

// clientsIn returns how many clients there is room for, in files, when up to
// idle connections are kept, and no more than there are clients. An exchange
// takes two files, the client's connection and the worker's.
func clientsIn(room, idle int) int {
	return max(1, room/3, (room-idle)/2)
}
