package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"balancelab/internal/balance"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// An attempt is one worker's chance to answer a request.
type attempt struct {
	lease  balance.Lease
	held   bool        // the lease is to be released
	conn   socket.Conn // on which the answer comes; nil while there is none
	reused bool        // conn was idle: that it fails says nothing of the worker
}

// release ends the lease, after the connection was closed or kept.
func (a *attempt) release(o balance.Outcome) {
	a.conn = nil
	a.held = false
	a.lease.Release(o)
}

// close closes the connection.
func (a *attempt) close() {
	a.conn.Close()
	a.conn = nil
}

// abandonIfPanicking gives back what the attempt holds when a handler ends
// without one that goes on after it. After an answer or a failure that is
// nothing; there is something only if the handler panicked.
func (x *Exchange) abandonIfPanicking(next server.Handler) {
	a := &x.attempt
	if next != nil || !a.held {
		return
	}
	if a.conn != nil {
		a.close()
	}
	a.release(balance.NotCounted)
}

// send sends the job to the lease's worker: on an idle connection if there is
// one, else on a new one.
func (b *Broker) send(ctx context.Context, x *Exchange) *AttemptError {
	a := &x.attempt
	a.conn, a.reused = nil, false
	if ctx.Err() != nil {
		return x.attemptError(NotSent, ctx.Err())
	}
	if conn := b.Idle.take(a.lease.Index()); conn != nil {
		a.conn, a.reused = conn, true
	} else {
		conn, err := b.Dial(ctx, a.lease.Worker().Addr, b.DialTimeout)
		x.Connecting += x.lap()
		if err != nil {
			return x.attemptError(NotSent, b.dialError(ctx, err))
		}
		a.conn = conn
	}
	a.conn.SetDeadline(x.mark.Add(b.AnswerTimeout))
	job := protocol.Job{Type: x.Request.Type, Keep: b.Idle != nil}
	n, err := io.WriteString(a.conn, job.String())
	if err == nil {
		return nil
	}
	a.close()
	if n == 0 {
		return x.attemptError(NotSent, err)
	}
	return x.attemptError(MayHaveRun, b.late(fmt.Errorf("after %d bytes of the job: %w", n, err)))
}

// dialError says that the time was over in words of its own.
func (b *Broker) dialError(ctx context.Context, err error) error {
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
		return fmt.Errorf("no connection within %v", b.DialTimeout)
	}
	return err
}

// late says that the time was over in words of its own.
func (b *Broker) late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no whole answer within %v", b.AnswerTimeout)
	}
	return err
}

// receive waits for the answer. It does nothing else, so that a request that
// waits has a small stack.
func (b *Broker) receive(ctx context.Context, x *Exchange) *AttemptError {
	conn := x.attempt.conn
	cancelWatch := context.AfterFunc(ctx, func() { conn.SetDeadline(socket.Interrupt) })
	answer, whole, err := protocol.ReadAnswer(conn)
	return b.received(x, answer, cancelWatch() && whole, err)
}

// received ends an attempt whose answer was read, or could not be. reusable
// says that the connection is good for another job.
func (b *Broker) received(x *Exchange, answer string, reusable bool, err error) *AttemptError {
	a := &x.attempt
	x.Serving += x.lap()
	if reusable && b.Idle != nil {
		b.Idle.put(a.lease.Index(), a.conn)
	} else {
		a.conn.Close()
	}
	a.conn = nil
	switch {
	case err == nil:
		x.Answer = answer
		a.release(balance.Answered)
		return nil
	case !errors.Is(err, protocol.ErrNotTaken):
		return x.attemptError(MayHaveRun, b.late(err))
	case b.Idle != nil:
		return x.attemptError(NotTaken, err)
	}
	// A worker that was not asked by the extension does not speak it.
	return x.attemptError(MayHaveRun, protocol.ErrNoAnswer)
}

func (x *Exchange) attemptError(job JobState, err error) *AttemptError {
	return &AttemptError{Worker: x.Worker, Job: job, Err: err}
}

// outcome says what a failure means for the worker: nothing, if it is ours.
func outcome(ctx context.Context, err *AttemptError) balance.Outcome {
	if ctx.Err() != nil || neterr.Exhausted(err) {
		return balance.NotCounted
	}
	return balance.Failed
}
