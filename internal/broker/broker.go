// Package broker is one client's visit: read the request, choose a worker, ask
// it, and answer; and the next worker when one can't be asked.
//
// # What is tried again
//
// A request goes to the next worker, at once and to each worker at most once,
// as long as it was not sent: the connect failed, or the connection was reset
// before the first byte was written. Once it was sent the job may have run, and
// the client is told so: at most once is the default. With Redispatch such a
// request goes to the next worker too, and a job may then run twice.
//
// A connection to a worker is opened only for a request, and the job is written
// at once: an original worker reads in its accept loop, so a silent connection
// would block it for everybody, and one that closes empty would kill it.
//
// The time that a worker takes to connect, and to answer, has a deadline each.
// A worker's lease is released before its answer is written to the client, so a
// client that does not read costs the worker nothing.
//
// A client that leaves is noticed when its answer is written: a half-closed
// connection looks the same and is owed one.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// A Broker serves clients. Its fields are not changed while it does.
type Broker struct {
	// Pool holds the workers.
	Pool *balance.Pool
	// Selector returns the selector of an approach, one that Pool was given.
	Selector func(protocol.Approach) balance.Selector
	// Dial opens a connection to a worker's address. It gives up when ctx is
	// done, or after within, with an error that is a timeout as [net.Error] has
	// it.
	Dial func(ctx context.Context, addr string, within time.Duration) (net.Conn, error)
	// RequestTimeout is for the whole of a client's request, DialTimeout for
	// one connect, AnswerTimeout for the job to be written and answered. All
	// must be positive.
	RequestTimeout, DialTimeout, AnswerTimeout time.Duration
	// Kept, if not nil, keeps connections to workers for the next request.
	Kept *Kept
	// Redispatch hands a request on even after it was sent.
	Redispatch bool
	// Journal is told what happens.
	Journal Journal
}

// A Journal is told what happens. Its methods are called from many goroutines,
// and the client waits for them.
type Journal interface {
	// Connected says that a client has come.
	Connected(client net.Addr)
	// Unreachable says that a request could not be sent to a worker.
	Unreachable(worker string, err error)
	// HandedOn says that a job which was sent to a worker failed there, and
	// that the next worker is asked. That takes Redispatch.
	HandedOn(worker string, err error)
	// Done says how a visit ended, before the client gets its answer. The visit
	// is not to be kept.
	Done(*Visit)
	// Left says that the client of a visit that was Done was gone before it had
	// its answer. The visit is not to be kept.
	Left(v *Visit, err error)
}

// A Visit is what became of one client's request.
type Visit struct {
	Client   net.Addr
	Request  protocol.Request // zero if there was none
	Worker   string           // who was asked last; "" if nobody
	Attempts int              // how many workers it was assigned to
	Answer   string           // what the worker answered, if Err is nil
	Err      error            // why there is no answer; its text is for the client

	Reading    time.Duration // until the request was whole
	Connecting time.Duration // all connects together
	Serving    time.Duration // from the job's sending to its answer, all workers together
}

// A visit is a Visit under way. It is not on a goroutine's stack, so that it
// can go on with another one.
type visit struct {
	Visit
	mark     time.Time // until when all time is accounted for
	tried    balance.Tried
	lease    balance.Lease
	leased   bool      // there is a lease, to be released
	reused   bool      // the job went out on a kept connection: a worker that did not take it is asked anew
	deadline time.Time // for the lease's worker to answer
	failures []string  // a line for each worker that failed
}

// lap returns the time since the mark, and sets the mark to now.
func (v *visit) lap() time.Duration {
	now := time.Now()
	d := now.Sub(v.mark)
	v.mark = now
	return d
}

// Handle serves one client and closes its connection. When ctx is done it
// gives up.
//
// The answer is awaited in a goroutine that begins anew. A stack stays as large
// as its deepest call has made it, and thousands of visits may wait at once.
func (b *Broker) Handle(ctx context.Context, client *server.Conn) {
	v := &visit{mark: time.Now()}
	v.Client = client.RemoteAddr()
	b.Journal.Connected(v.Client)
	if v.Err = b.read(client, v); v.Err != nil {
		b.end(client, v)
		return
	}
	worker := b.send(ctx, v)
	if worker == nil {
		b.end(client, v)
		return
	}
	client.Then(func(ctx context.Context, client *server.Conn) {
		b.await(ctx, v, worker)
		b.end(client, v)
	})
}

// end answers the client.
func (b *Broker) end(client *server.Conn, v *visit) {
	b.Journal.Done(&v.Visit)
	if err := v.reply(client); err != nil {
		b.Journal.Left(&v.Visit, err)
	}
}

func (v *visit) reply(conn *server.Conn) error {
	if v.Err != nil {
		return conn.Finish(protocol.Refusal(v.Err.Error()))
	}
	return conn.Answer(v.Answer)
}

func (b *Broker) read(conn *server.Conn, v *visit) (err error) {
	conn.AwaitRequest(b.RequestTimeout)
	v.Request, err = protocol.ReadRequest(conn)
	v.Reading = v.lap()
	stopped := !conn.Got()
	if err == nil || errors.Is(err, protocol.ErrMalformed) {
		return err
	}
	return b.unread(err, stopped)
}

// unread says why there is no request.
func (b *Broker) unread(err error, stopped bool) error {
	switch {
	case stopped:
		return errors.New("the broker is stopping")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w within %v", err, b.RequestTimeout)
	}
	return fmt.Errorf("%w: %v", err, Reason(errors.Unwrap(err)))
}

// send sends the job to a worker, and to the next one if it can't be sent. It
// returns the connection on which the answer will come; or nil, and v.Err says
// why.
func (b *Broker) send(ctx context.Context, v *visit) net.Conn {
	for v.leased || b.assign(v) {
		worker, sent, err := b.sendTo(ctx, v)
		if err == nil {
			return worker
		}
		if v.Err = b.failed(ctx, v, sent, err); v.Err != nil {
			return nil
		}
	}
	v.Err = fmt.Errorf("no worker available: %s", strings.Join(v.failures, "; "))
	return nil
}

// await reads the answer, and asks one worker after another until one answers,
// or until asking another could run the job twice.
func (b *Broker) await(ctx context.Context, v *visit, worker net.Conn) {
	for worker != nil && !b.receive(ctx, v, worker) {
		worker = b.send(ctx, v)
	}
}

// assign chooses a worker that was not asked yet. It reports false if there is
// none.
func (b *Broker) assign(v *visit) bool {
	v.lease, v.leased = b.Pool.Assign(b.Selector(v.Request.Approach), &v.tried)
	if v.leased {
		v.Attempts++
		v.Worker = v.lease.Worker().Name
		v.deadline = v.mark.Add(b.AnswerTimeout)
	}
	return v.leased
}

// failed ends the lease after a failure and decides what follows: the final
// word to the client, or nil, and then the next worker is asked. sent says that
// the worker may have taken the job.
func (b *Broker) failed(ctx context.Context, v *visit, sent bool, err error) error {
	v.release(outcome(ctx, err))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no whole answer within %v", b.AnswerTimeout)
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("the broker stopped before the answer came")
	case sent && !b.Redispatch:
		return fmt.Errorf("%s: %v; the job may have run, so it was not sent again (see broker -redispatch)", v.Worker, Reason(err))
	case !sent:
		b.Journal.Unreachable(v.Worker, err)
	default:
		b.Journal.HandedOn(v.Worker, err)
	}
	v.failures = append(v.failures, fmt.Sprintf("%s: %v", v.Worker, Reason(err)))
	return nil
}

func (v *visit) release(o balance.Outcome) {
	v.lease.Release(o)
	v.leased = false
}

// sendTo sends the job to the lease's worker. With an error the connection is
// closed, and sent says that the worker may have taken the job all the same.
func (b *Broker) sendTo(ctx context.Context, v *visit) (worker net.Conn, sent bool, err error) {
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	v.reused = true
	for worker = b.Kept.take(v.lease.Index()); worker != nil; worker = b.Kept.take(v.lease.Index()) {
		if sent, err = b.write(v, worker); sent {
			return worker, sent, err
		}
	}
	v.reused = false
	worker, err = b.Dial(ctx, v.lease.Worker().Addr, b.DialTimeout)
	v.Connecting += v.lap()
	if err != nil {
		return nil, false, b.unconnected(ctx, err)
	}
	v.deadline = v.mark.Add(b.AnswerTimeout)
	sent, err = b.write(v, worker)
	return worker, sent, err
}

// unconnected says why there is no connection.
func (b *Broker) unconnected(ctx context.Context, err error) error {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
		return fmt.Errorf("no connection within %v", b.DialTimeout)
	}
	return err
}

// write writes the job, or closes the connection. sent says that some of it was
// written.
func (b *Broker) write(v *visit, worker net.Conn) (sent bool, err error) {
	worker.SetDeadline(v.deadline)
	job := protocol.Job{Type: v.Request.Type, Keep: b.Kept != nil}
	n, err := io.WriteString(worker, job.String())
	if err != nil {
		worker.Close()
		return n > 0, fmt.Errorf("after %d bytes of the job: %w", n, err)
	}
	return true, nil
}

// receive reads the answer, and keeps or closes the connection. It reports
// whether the visit is over; if not, the job is to be sent again.
func (b *Broker) receive(ctx context.Context, v *visit, worker net.Conn) (over bool) {
	stopGivingUp := context.AfterFunc(ctx, func() { worker.SetDeadline(longAgo) })
	answer, line, err := protocol.ReadAnswer(worker)
	v.Serving += v.lap()
	if stopGivingUp() && err == nil && line && b.Kept != nil {
		b.Kept.put(v.lease.Index(), worker)
	} else {
		worker.Close()
	}
	if err != nil {
		return b.unanswered(ctx, v, err)
	}
	v.Answer = answer
	v.release(balance.Answered)
	return true
}

var longAgo = time.Unix(1, 0)

// unanswered decides what follows when no answer came.
func (b *Broker) unanswered(ctx context.Context, v *visit, err error) (over bool) {
	notTaken := errors.Is(err, protocol.ErrNotTaken) && b.Kept != nil
	switch {
	case notTaken && v.reused:
		return false // the same worker, on another connection
	case errors.Is(err, protocol.ErrNotTaken) && !notTaken:
		err = protocol.ErrNoAnswer // who was not asked by the extension does not speak it
	}
	v.Err = b.failed(ctx, v, !notTaken, err)
	return v.Err != nil
}

// outcome says what a failure means for the worker: nothing, if it is ours.
func outcome(ctx context.Context, err error) balance.Outcome {
	switch {
	case err == nil:
		return balance.Answered
	case ctx.Err() != nil || server.Exhausted(err):
		return balance.Spared
	}
	return balance.Failed
}

// Reason returns the part of a network error that says what went wrong, without
// the addresses and system calls around it.
func Reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
