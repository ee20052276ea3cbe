package broker

import (
	"context"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/server"
)

// enqueued begins the wait of a request that is in the pool's queue. It returns
// the handler that waits.
func (b *Broker) enqueued(client *server.Conn, x *Exchange) server.Handler {
	x.lap()
	b.Observer.Step(x, Queued)
	b.Watch.Add(&x.ticket, client.Conn, x)
	return func(ctx context.Context, client *server.Conn) server.Handler {
		return b.wait(ctx, client, x)
	}
}

// wait waits for a place: as long as is left of QueueTimeout, if the request has
// waited before. It does nothing else, so that a request that waits has a small
// stack.
func (b *Broker) wait(ctx context.Context, client *server.Conn, x *Exchange) (next server.Handler) {
	defer func() { b.abandonIfPanicking(x, next) }()
	timer := time.NewTimer(b.QueueTimeout - x.Queued)
	var lease balance.Lease
	var failure *Failure
	select {
	case lease = <-x.pool.Place():
	case <-timer.C:
		failure = &Failure{Reason: QueueTimeout, Within: b.QueueTimeout, Waiting: b.Pool.Queue().Waiting}
	case <-ctx.Done():
		failure = &Failure{Reason: CutOff}
	}
	timer.Stop()
	return b.waited(client, x, lease, failure)
}

// waited ends the wait. lease is zero if the client has left, or there is a
// failure. A place that came at the same moment as the failure is
// used, unless nobody waits for the answer any more.
func (b *Broker) waited(client *server.Conn, x *Exchange, lease balance.Lease, failure *Failure) server.Handler {
	x.Queued += x.lap()
	gone := b.Watch.Remove(&x.ticket)
	given := !lease.IsZero()
	if !given {
		lease, given = b.Pool.Leave(&x.pool)
	}
	if gone {
		failure = &Failure{Reason: ClientLeft}
	}
	if given {
		b.begin(x, lease)
		if failure == nil || failure.Reason == QueueTimeout {
			return func(ctx context.Context, client *server.Conn) server.Handler { return b.ask(ctx, client, x) }
		}
		b.giveBack(x, failure)
	}
	x.Failure = failure
	b.reply(client, x)
	return nil
}

// giveBack ends an attempt before its job is sent. The pool has counted it, so
// it counts as one: the client has left, or the broker has stopped.
func (b *Broker) giveBack(x *Exchange, f *Failure) {
	if f.Reason == ClientLeft {
		b.release(x, balance.Withdrawn)
		return
	}
	b.release(x, balance.NotCounted)
	f.Attempts = []*AttemptError{x.attemptError(NotSent, context.Canceled)}
}
