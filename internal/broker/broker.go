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
	// Dial opens a connection to a worker's address.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
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
	// Done says how a visit ended, before the client gets its answer.
	Done(Visit)
	// Left says that the client of a visit that was Done was gone before it had
	// its answer.
	Left(v Visit, err error)
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

// Handle serves one client and closes its connection. When ctx is done it
// gives up.
func (b *Broker) Handle(ctx context.Context, conn *server.Conn) {
	defer conn.Close()
	client := conn.RemoteAddr()
	b.Journal.Connected(client)
	v := Visit{Client: client}
	v.Request, v.Err = b.read(conn, &v)
	if v.Err == nil {
		v.Answer, v.Err = b.dispatch(ctx, &v)
	}
	b.Journal.Done(v)
	err := b.reply(conn, &v)
	if err != nil {
		b.Journal.Left(v, err)
	}
}

func (b *Broker) reply(conn *server.Conn, v *Visit) error {
	if v.Err != nil {
		return conn.Finish(protocol.Refusal(v.Err.Error()))
	}
	return conn.Answer(v.Answer)
}

func (b *Broker) read(conn *server.Conn, v *Visit) (protocol.Request, error) {
	start := time.Now()
	got := conn.AwaitRequest(b.RequestTimeout)
	request, err := protocol.ReadRequest(conn)
	v.Reading = time.Since(start)
	stopped := !got()
	switch {
	case err == nil || errors.Is(err, protocol.ErrMalformed):
		return request, err
	case stopped:
		return request, errors.New("the broker is stopping")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return request, fmt.Errorf("%w within %v", err, b.RequestTimeout)
	}
	return request, fmt.Errorf("%w: %v", err, Reason(errors.Unwrap(err)))
}

// dispatch asks one worker after another until one answers, or until asking
// another could run the job twice.
func (b *Broker) dispatch(ctx context.Context, v *Visit) (string, error) {
	selector := b.Selector(v.Request.Approach)
	var tried balance.Tried
	var failures []string
	for {
		lease, ok := b.Pool.Assign(selector, &tried)
		if !ok {
			return "", fmt.Errorf("no worker available: %s", strings.Join(failures, "; "))
		}
		v.Attempts++
		v.Worker = lease.Worker().Name
		answer, sent, err := b.ask(ctx, &lease, v)
		lease.Release(outcome(ctx, err))
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return "", errors.New("the broker stopped before the answer came")
		case sent && !b.Redispatch:
			return "", fmt.Errorf("%s: %v; the job may have run, so it was not sent again (see broker -redispatch)", v.Worker, Reason(err))
		case !sent:
			b.Journal.Unreachable(v.Worker, err)
		default:
			b.Journal.HandedOn(v.Worker, err)
		}
		failures = append(failures, fmt.Sprintf("%s: %v", v.Worker, Reason(err)))
	}
}

// ask sends the job to the lease's worker and reads the answer. sent reports
// whether the worker may have taken the job.
func (b *Broker) ask(ctx context.Context, lease *balance.Lease, v *Visit) (answer string, sent bool, err error) {
	job := protocol.Job{Type: v.Request.Type, Keep: b.Kept != nil}
	deadline := time.Now().Add(b.AnswerTimeout) // for all kept connections together
	for conn := b.Kept.take(lease.Index()); conn != nil; conn = b.Kept.take(lease.Index()) {
		answer, err = b.exchange(ctx, lease, conn, job, deadline, v)
		if !stale(err) {
			return answer, true, err
		}
	}
	start := time.Now()
	conn, err := b.dial(ctx, lease.Worker().Addr)
	v.Connecting += time.Since(start)
	if err != nil {
		return "", false, err
	}
	answer, err = b.exchange(ctx, lease, conn, job, time.Now().Add(b.AnswerTimeout), v)
	return answer, !stale(err), err
}

// errNotWritten is wrapped by the error of a job of which nothing was written.
var errNotWritten = errors.New("sending the job")

// exchange sends a job on conn and reads its answer. Afterwards conn is kept
// or closed.
func (b *Broker) exchange(ctx context.Context, lease *balance.Lease, conn net.Conn, job protocol.Job, deadline time.Time, v *Visit) (string, error) {
	start := time.Now()
	conn.SetDeadline(deadline)
	stopGivingUp := context.AfterFunc(ctx, func() { conn.Close() })
	answer, line, err := send(conn, job)
	v.Serving += time.Since(start)
	if stopGivingUp() && err == nil && line && job.Keep {
		conn.SetDeadline(time.Time{})
		b.Kept.put(lease.Index(), conn)
	} else {
		conn.Close()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no whole answer within %v", b.AnswerTimeout)
	}
	return answer, err
}

func send(conn net.Conn, job protocol.Job) (answer string, line bool, err error) {
	n, err := io.WriteString(conn, job.String())
	switch {
	case err != nil && n == 0:
		return "", false, fmt.Errorf("%w: %w", errNotWritten, err)
	case err != nil:
		return "", false, fmt.Errorf("after %d bytes of the job: %w", n, err)
	}
	answer, line, err = protocol.ReadAnswer(conn)
	if errors.Is(err, protocol.ErrNotTaken) && !job.Keep {
		err = protocol.ErrNoAnswer // who was not asked by the extension does not speak it
	}
	return answer, line, err
}

func (b *Broker) dial(ctx context.Context, addr string) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, b.DialTimeout)
	defer cancel()
	conn, err := b.Dial(dialing, addr)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
		return nil, fmt.Errorf("no connection within %v", b.DialTimeout)
	}
	return conn, err
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
