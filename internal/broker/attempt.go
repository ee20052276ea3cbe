package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// An attempt is one worker's chance to answer a request.
type attempt struct {
	lease balance.Lease
	held  bool        // the lease is to be released
	conn  socket.Conn // on which the answer comes; nil while there is none
	name  protocol.Name
	taken time.Time // when conn was taken from the idle ones; zero if it is new
}

// release ends the lease of an attempt, after its connection was closed or kept.
func (b *Broker) release(x *Exchange, o balance.Outcome) {
	a := &x.attempt
	a.conn = nil
	a.held = false
	defer a.lease.Release(o) // even if the observer panics
	b.Observer.Step(x, Released)
}

// close closes the connection.
func (a *attempt) close() {
	a.conn.Close()
	a.conn = nil
}

// abandonIfPanicking is deferred by the handlers. If one panics it takes the
// request out of the queue, closes the connection and releases the lease.
func (b *Broker) abandonIfPanicking(client *server.Conn, x *Exchange, next server.Handler) {
	a := &x.attempt
	if next != nil || !a.held && x.pool.Place() == nil {
		return
	}
	client.EndAwait()
	b.Watch.Remove(&x.ticket)
	if lease, given := b.Pool.Leave(&x.pool); given {
		lease.Release(balance.NotCounted)
	}
	if a.conn != nil {
		a.close()
	}
	if a.held {
		b.release(x, balance.NotCounted)
	}
}

// send sends the job to the lease's worker: on an idle connection if there is
// one, else on a new one.
func (b *Broker) send(ctx context.Context, x *Exchange) *AttemptError {
	a := &x.attempt
	a.conn, a.name, a.taken = nil, 0, time.Time{}
	if ctx.Err() != nil {
		return x.attemptError(NotSent, ctx.Err())
	}
	if conn := b.Idle.take(a.lease.Index()); conn != nil {
		a.conn, a.taken = conn, time.Now()
	} else {
		conn, err := b.Dial(ctx, a.lease.Worker().Addr, b.DialTimeout)
		x.Connecting += x.lap()
		if err != nil {
			return x.attemptError(NotSent, b.dialError(ctx, err))
		}
		a.conn = conn
	}
	a.conn.SetDeadline(x.mark.Add(b.AnswerTimeout))
	if b.Idle != nil {
		a.name = newName()
	}
	job := protocol.Job{Type: x.Request.Type, Name: a.name}
	n, err := io.WriteString(a.conn, job.String())
	if err == nil {
		return nil
	}
	a.close()
	b.discardOlder(a)
	if n == 0 {
		return x.attemptError(NotSent, err)
	}
	return x.attemptError(MayHaveRun, b.late(fmt.Errorf("after %d bytes of the job: %w", n, err)))
}

// dialError returns err, or for a timeout an error that names DialTimeout.
func (b *Broker) dialError(ctx context.Context, err error) error {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
		return fmt.Errorf("no connection within %v", b.DialTimeout)
	}
	return err
}

// late returns err, or for a timeout an error that names AnswerTimeout.
func (b *Broker) late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no whole answer within %v", b.AnswerTimeout)
	}
	return err
}

// newName returns the name of a job. The name is random, so that a wrong answer
// cannot carry it by chance.
func newName() protocol.Name { return protocol.Name(rand.Uint64() | 1) } // never 0

// receive waits for the answer. It does nothing else, so that a request that
// waits has a small stack.
func (b *Broker) receive(client *server.Conn, x *Exchange) *AttemptError {
	client.BeginAwait(x)
	err := x.raw.Read(x.attempt.conn)
	return b.received(x, err, client.EndAwait())
}

// errClientLeft ends an attempt whose client has left.
var errClientLeft = errors.New("the client has left")

// received ends an attempt whose answer was read, or could not be. interrupted
// says that the attempt was given up meanwhile.
func (b *Broker) received(x *Exchange, err error, interrupted bool) *AttemptError {
	a := &x.attempt
	x.Serving += x.lap()
	gone := b.Watch.Remove(&x.ticket)
	if gone && err != nil {
		err = errClientLeft
	}
	var answer protocol.Answer
	if err == nil {
		answer, err = x.raw.Parse(a.name)
	}
	if err == nil && !a.own(answer) {
		err = errNotItsAnswer
	}
	if err == nil && !interrupted && !gone && answer.Line && answer.Name != 0 {
		if a.taken.IsZero() { // without it, only a dead machine is found out later
			_ = a.conn.SetKeepAlive(true)
		}
		b.Idle.put(a.lease.Index(), a.conn)
	} else {
		a.conn.Close()
	}
	a.conn = nil
	if err == errClientLeft {
		return x.attemptError(MayHaveRun, err)
	}
	if err != nil {
		b.discardOlder(a)
		return b.unanswered(x, err)
	}
	x.Answer = answer.Text
	if reason, refused := protocol.CutRefusal(answer.Text); refused {
		return x.attemptError(JobRefused, &protocol.RefusalError{Reason: reason})
	}
	return nil
}

// errNotItsAnswer says that a connection's answers can't be trusted.
var errNotItsAnswer = errors.New("an answer that is not to this job")

// own reports whether an answer is that to the attempt's job. One without a name
// is, on a new connection: an original worker, or one of another make, does not
// know names.
func (a *attempt) own(answer protocol.Answer) bool {
	return answer.Name == a.name || answer.Name == 0 && a.taken.IsZero()
}

// unanswered says why there is no answer, and what that means for the job.
func (b *Broker) unanswered(x *Exchange, err error) *AttemptError {
	switch {
	case !errors.Is(err, protocol.ErrNotTaken):
		return x.attemptError(MayHaveRun, b.late(err))
	case b.Idle != nil:
		return x.attemptError(NotTaken, err)
	}
	// A worker that was not asked by the extension does not speak it.
	return x.attemptError(MayHaveRun, protocol.ErrNoAnswer)
}

// discardOlder throws away, after a connection that was idle has failed, those
// that had been idle for longer.
func (b *Broker) discardOlder(a *attempt) {
	if !a.taken.IsZero() {
		b.Idle.discard(a.lease.Index(), a.taken)
	}
}

func (x *Exchange) attemptError(job JobState, err error) *AttemptError {
	return &AttemptError{Worker: x.Worker, Job: job, Err: err}
}

// outcome says what a failure means for the worker: nothing, if it is ours, or
// that of a connection that was idle.
func (a *attempt) outcome(ctx context.Context, err *AttemptError) balance.Outcome {
	switch {
	case err.Job == JobRefused:
		return balance.Failed
	case ctx.Err() != nil || neterr.Exhausted(err) || !a.taken.IsZero():
		return balance.NotCounted
	}
	return balance.Failed
}
