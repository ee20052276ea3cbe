package broker

import (
	"context"

	"balancelab/internal/balance"
	"balancelab/internal/server"
)

// enqueued begins the wait of a request that is in the pool's queue. It returns
// the handler that waits.
func (b *Broker) enqueued(client *server.Conn, x *Exchange) server.Handler {
	x.lap()
	b.Observer.Step(x, Queued)
	b.Watch.Add(&x.ticket, client.Conn, x)
	return func(_ context.Context, client *server.Conn) server.Handler { return b.wait(client, x) }
}

// wait waits for a place: as long as is left of QueueTimeout, if the request has
// waited before. It does nothing else, so that a request that waits has a small
// stack.
func (b *Broker) wait(client *server.Conn, x *Exchange) (next server.Handler) {
	defer func() { b.abandonIfPanicking(client, x, next) }()
	timer := x.pool.WakeAfter(b.QueueTimeout - x.Queued)
	client.BeginAwait(x)
	lease := <-x.pool.Place()
	timer.Stop()
	return b.waited(client, x, lease, client.EndAwait())
}

// waited ends the wait. Without a lease the client has left, or the broker gives
// up, or no worker is left, or the time is over. A place that comes just when the
// time is over is used. One that comes just when the client leaves, or the broker
// gives up, is given back.
func (b *Broker) waited(client *server.Conn, x *Exchange, lease balance.Lease, givingUp bool) server.Handler {
	x.Queued += x.lap()
	gone := b.Watch.Remove(&x.ticket)
	if lease.IsZero() {
		lease, _ = b.Pool.Leave(&x.pool)
	}
	given := !lease.IsZero()
	switch {
	case gone:
		x.Failure = &Failure{Reason: ClientLeft}
	case givingUp:
		x.Failure = &Failure{Reason: CutOff}
	case !given && x.pool.Ended():
		x.Failure = b.noWorker(x)
	case !given:
		x.Failure = &Failure{Reason: QueueTimeout, Within: b.QueueTimeout, Waiting: b.Pool.Queue().Waiting + 1}
	}
	if given {
		b.begin(x, lease)
		if x.Failure == nil {
			return func(ctx context.Context, client *server.Conn) server.Handler { return b.ask(ctx, client, x) }
		}
		b.giveBack(x, x.Failure)
	}
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
