// Package broker is one client's exchange: read the request, choose a worker,
// ask it, and answer; and the next worker when one can't be asked.
//
// An exchange is a sequence of attempts, each at one worker. An attempt has a
// lease of the pool, a connection, and a deadline. What follows a failed one is
// decided in one place ([Broker.decide]) by what its error says of the job:
//
//	the job was        by default             with Redispatch
//	not sent           the next worker        the next worker
//	not taken          the next worker        the next worker
//	refused            the client is told     the next worker
//	perhaps started    the client is told     the next worker
//
// A request goes to the next worker at once, and to each worker at most once. Of
// those that cool down it meets three at most, see package balance. No further
// worker is asked when the attempts so far have taken longer than three can take
// (DialTimeout and AnswerTimeout each). So three workers are all asked; and when a
// hundred machines have just vanished, a client is told so, and does not wait for the
// hundredth.
// A job that was sent may have run, and the client is told so: at most once is
// the default. With Redispatch a job may run twice.
//
// A refusal is an answer that begins with "Error: ". It is relayed word for
// word, and counts as the worker's failure: otherwise a worker that refuses at
// once would have the fewest requests in flight, and attract everything.
//
// # Idle connections
//
// A connection that was idle and fails says nothing of the worker, but something
// of all that have been idle for longer: they are thrown away together, and the
// worker is asked again on another connection if the job was not taken. Only a
// new connection that fails is held against the worker.
//
// A connection to a worker is opened only for a request, and the job is written
// at once: an original worker reads in its accept loop, so a silent connection
// would block it for all other requests, and one that closes empty would kill it.
//
// The time that a worker takes to connect, and to answer, has a deadline each.
// A worker's lease is released before its answer is written to the client, so a
// client that does not read costs the worker nothing.
//
// # The queue
//
// With a limit for each worker ([balance.Worker]) a request may find no place. It
// then waits in the pool's queue, on a goroutine of its own, until it is given
// one, or QueueTimeout is over, or its client leaves, or the broker gives up. A
// request that waits was not sent, so it may go to any worker.
//
// # Clients that leave
//
// A client that resets its connection has left for certain. If that is seen while
// its worker works, the job is withdrawn: the connection to the worker is closed,
// the lease is released, and no worker has failed. A client that closes in good
// order looks like one that has only half-closed and still waits, so its job goes
// on; whether it has left is seen when the answer is written, see
// [server.ErrPeerGone]. To take every end of stream for leaving, as HAProxy's
// option abortonclose does, is up to the [socket.Watch].
package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// A Broker serves clients. Its fields are not changed while it does.
type Broker struct {
	// Pool holds the workers. Its selectors are indexed by [protocol.Approach].
	Pool *balance.Pool
	// Dial opens a connection to a worker's address. It gives up when ctx is
	// done, or after the time within, with an error that is a timeout as
	// [net.Error] has it.
	Dial func(ctx context.Context, addr string, within time.Duration) (socket.Conn, error)
	// RequestTimeout is for the whole of a client's request, DialTimeout for
	// one connect, AnswerTimeout for the job to be written and answered. All
	// must be positive.
	RequestTimeout, DialTimeout, AnswerTimeout time.Duration
	// Idle, if not nil, keeps connections to workers for the next request.
	Idle *IdlePool
	// QueueTimeout is how long a request waits for a place at a worker, all times
	// together. It must be positive if any worker has a limit.
	QueueTimeout time.Duration
	// Redispatch sends a request to the next worker even after it was sent.
	Redispatch bool
	// Watch, if not nil, tells when a client leaves while its worker works. The
	// caller runs it.
	Watch *socket.Watch
	// Observer is told what happens.
	Observer Observer
}

// An Observer is told what happens. Its methods are called from many
// goroutines, and the client waits for them. An exchange is not to be kept.
type Observer interface {
	// Connected says that a client has come.
	Connected(client net.Addr)
	// Unreachable says that a request could not be sent to a worker.
	Unreachable(worker string, err error)
	// Redispatched says that a job which was sent to a worker failed there, and
	// that the next worker is asked. That takes Redispatch.
	Redispatched(worker string, err error)
	// Step says that an exchange has come to a step.
	Step(x *Exchange, s Step)
	// Done says how an exchange ended, before the client gets its answer.
	Done(x *Exchange)
	// ClientGone says that the client of an exchange that was Done was gone
	// before it had its answer.
	ClientGone(x *Exchange, err error)
}

// A Step is a step of an exchange between its request and its end. Each attempt
// begins with Assigned and ends with Released.
type Step uint8

const (
	Queued   Step = iota // it waits for a place at a worker
	Assigned             // it has a place at Worker
	Sent                 // its job was written to Worker
	Released             // its place at Worker is given back
)

// An Exchange is one client's request and what becomes of it.
type Exchange struct {
	Client   net.Addr
	Request  protocol.Request // zero if there was none
	Worker   string           // the worker that was asked last; "" if none
	Attempts int              // how many workers it was assigned to
	Answer   string           // what the worker answered, a refusal too
	Failure  *Failure         // why there is no answer

	Reading    time.Duration // until the request was whole
	Queued     time.Duration // waiting for a place at a worker, all times together
	Connecting time.Duration // all connects together
	Serving    time.Duration // from the job's sending to its answer, all workers together

	mark    time.Time       // the time up to here is accounted for
	pool    balance.Request // the workers of all attempts, and the place in the queue
	attempt attempt         // the one under way, or the last one
	ticket  socket.Ticket   // of the client, while a worker works
	raw     protocol.RawAnswer
	failed  []*AttemptError // those after which another worker may be asked
}

// LastServing returns the part of Serving that was the last worker's.
func (x *Exchange) LastServing() time.Duration {
	if n := len(x.failed); n > 0 {
		return x.Serving - x.failed[n-1].served
	}
	return x.Serving
}

// lap returns the time since the mark, and sets the mark to now.
func (x *Exchange) lap() time.Duration {
	now := time.Now()
	d := now.Sub(x.mark)
	x.mark = now
	return d
}

// Handle serves one client and closes its connection. When ctx is done it gives
// up. It is a [server.Handler].
func (b *Broker) Handle(ctx context.Context, client *server.Conn) (next server.Handler) {
	x := &Exchange{Client: client.RemoteAddr(), mark: time.Now()}
	defer func() { b.abandonIfPanicking(client, x, next) }()
	b.Observer.Connected(x.Client)
	x.Failure = b.readRequest(client, x)
	if x.Failure != nil {
		b.reply(client, x)
		return nil
	}
	return b.choose(ctx, client, x)
}

func (b *Broker) readRequest(client *server.Conn, x *Exchange) *Failure {
	client.BeginRead(b.RequestTimeout)
	request, err := protocol.ReadRequest(client)
	end := client.EndRead()
	x.Request, x.Reading = request, x.lap()
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil:
		return nil
	case end == server.GaveWay:
		return &Failure{Reason: GaveWay}
	case end == server.Stopped && !errors.Is(err, protocol.ErrMalformed):
		return &Failure{Reason: Stopping}
	case errors.Is(err, protocol.ErrEmpty) && !late:
		return &Failure{Reason: NoRequest, Err: err}
	case errors.Is(err, protocol.ErrMalformed):
		return &Failure{Reason: Malformed, Err: err}
	case late:
		return &Failure{Reason: Incomplete, Err: err, Within: b.RequestTimeout}
	}
	return &Failure{Reason: Incomplete, Err: err}
}

// choose assigns the request to a worker and asks it. If no worker has a place,
// the request waits for one.
func (b *Broker) choose(ctx context.Context, client *server.Conn, x *Exchange) server.Handler {
	if lease, ok := b.Pool.Assign(int(x.Request.Approach), &x.pool); ok {
		b.begin(x, lease)
		return b.ask(ctx, client, x)
	}
	if x.pool.Place() != nil {
		return b.enqueued(client, x)
	}
	x.Failure = b.noWorker(x)
	if len(x.failed) == 0 {
		x.Failure.Reason = AllDrain
	}
	b.reply(client, x)
	return nil
}

// noWorker says that no worker is left for the request.
func (b *Broker) noWorker(x *Exchange) *Failure {
	return &Failure{Reason: NoWorker, Attempts: x.failed, NotAsked: b.Pool.NotUpBeside(&x.pool)}
}

// begin begins an attempt at the lease's worker.
func (b *Broker) begin(x *Exchange, lease balance.Lease) {
	x.Attempts++
	x.Worker = lease.Worker().Name
	x.attempt = attempt{lease: lease, held: true}
	b.Observer.Step(x, Assigned)
}

// ask begins an attempt. It returns the handler that awaits the answer, which
// runs on a new goroutine: connecting needs a large stack, which would stay
// large while the request waits.
func (b *Broker) ask(ctx context.Context, client *server.Conn, x *Exchange) (next server.Handler) {
	defer func() { b.abandonIfPanicking(client, x, next) }()
	err := b.send(ctx, x)
	if err == nil {
		b.Observer.Step(x, Sent)
		b.Watch.Add(&x.ticket, client.Conn, x)
	}
	return func(ctx context.Context, client *server.Conn) server.Handler {
		return b.finish(ctx, client, x, err)
	}
}

// finish awaits the answer of an attempt that has begun. It answers the client,
// or begins another attempt.
func (b *Broker) finish(ctx context.Context, client *server.Conn, x *Exchange, err *AttemptError) (next server.Handler) {
	defer func() { b.abandonIfPanicking(client, x, next) }()
	if err == nil {
		err = b.receive(client, x)
	}
	if err != nil {
		return b.failed(ctx, client, x, err)
	}
	b.release(x, balance.Answered)
	b.reply(client, x)
	return nil
}

// failed goes on after a failed attempt.
func (b *Broker) failed(ctx context.Context, client *server.Conn, x *Exchange, err *AttemptError) server.Handler {
	switch b.decide(ctx, x, err) {
	case nextWorker:
		return b.choose(ctx, client, x)
	case sameWorker:
		return b.ask(ctx, client, x)
	}
	b.reply(client, x)
	return nil
}

// reply answers the client. One that has asked for nothing has not left early.
func (b *Broker) reply(client *server.Conn, x *Exchange) {
	b.Observer.Done(x)
	err := x.deliver(client)
	if err != nil && (x.Failure == nil || x.Failure.Reason != NoRequest) {
		b.Observer.ClientGone(x, err)
	}
}

// PeerGone implements [socket.Waiter]: the client has left, so neither the answer
// nor a place is awaited any longer.
func (x *Exchange) PeerGone(socket.PeerState) { x.GiveUp() }

// GiveUp implements [server.Awaiter].
func (x *Exchange) GiveUp() {
	if x.attempt.conn == nil { // it is in the queue
		x.pool.Wake()
		return
	}
	x.attempt.conn.SetDeadline(socket.Interrupt)
}

// deliver sends the client what the exchange has come to.
func (x *Exchange) deliver(client *server.Conn) error {
	switch f := x.Failure; {
	case f == nil || f.Reason == Refused:
		return client.Answer(x.Answer)
	case f.Reason == ClientLeft:
		client.Close()
		return server.ErrPeerGone
	case errors.Is(f, protocol.ErrHTTP):
		return client.Finish(protocol.HTTPRefusal("broker"))
	case f.Reason == GaveWay:
		return client.Answer(protocol.Refusal(f.Error())) // there is nothing unread to wait for
	default:
		return client.Finish(protocol.Refusal(f.Error()))
	}
}

// A step is what follows a failed attempt.
type step int

const (
	giveUp     step = iota // the exchange is over: Failure says why
	sameWorker             // another attempt at the same worker, with the same lease
	nextWorker             // another attempt at a worker that was not asked yet
)

// fullAttempts is how many attempts may take as long as one can. It is as many as the
// course's lab has workers: there, each is asked.
const fullAttempts = 3

// decide says what follows a failed attempt. It is the only place that does. But
// for sameWorker it has released the lease.
func (b *Broker) decide(ctx context.Context, x *Exchange, err *AttemptError) step {
	a := &x.attempt
	if errors.Is(err, errClientLeft) {
		b.release(x, balance.Withdrawn)
		x.Failure = &Failure{Reason: ClientLeft}
		return giveUp
	}
	if !a.taken.IsZero() && err.untouched() && ctx.Err() == nil {
		return sameWorker // the idle connection failed, not the worker
	}
	b.release(x, a.outcome(ctx, err))
	switch {
	case err.Job == JobRefused && (!b.Redispatch || ctx.Err() != nil):
		x.Failure = &Failure{Reason: Refused, Attempts: []*AttemptError{err}}
		return giveUp
	case ctx.Err() != nil:
		x.Failure = &Failure{Reason: CutOff, Attempts: []*AttemptError{err}}
		return giveUp
	case err.untouched():
		b.Observer.Unreachable(x.Worker, err.Err)
	case b.Redispatch:
		b.Observer.Redispatched(x.Worker, err.Err)
	default:
		x.Failure = &Failure{Reason: WorkerFailed, Attempts: []*AttemptError{err}}
		return giveUp
	}
	x.Answer = ""
	err.served = x.Serving
	x.failed = append(x.failed, err)
	if each := b.DialTimeout + b.AnswerTimeout; len(x.failed) >= fullAttempts && (x.Connecting+x.Serving)/fullAttempts > each {
		x.Failure = &Failure{Reason: NoWorker, Attempts: x.failed, Within: fullAttempts * each}
		return giveUp
	}
	return nextWorker
}
