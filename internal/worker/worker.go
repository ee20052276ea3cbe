// Package worker does one job: it reads it, works (which here means waiting
// for as long as the type says), and answers.
//
// A worker takes any number of jobs at once, as the original does, which
// starts a thread for each. When it has to stop before a job is done it closes
// the connection without an answer, as a worker does that was killed: the
// broker knows what that means, and an "Error: " would be relayed as an answer.
//
// # Slots
//
// With a limit, Slots jobs are worked on at once. The rest wait, in the order
// in which they were read whole; a drain waits for them too.
//
// A job that waits is dropped, and never starts, when its peer has gone: its
// connection was reset, or its stream ended. A broker that gives up closes, and
// a close looks from here just like a half-close by a peer that is still
// there (nc -N, straight to a worker). So the end of the stream has to mean
// "gone": otherwise answers that are not awaited would take the time of those
// that are. It means that only while a job waits: without a
// limit, and once the work has begun, a peer that half-closes gets the
// answer. And one that half-closed too early can read why there is none: the
// worker says so before it closes.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// JobTimeout is how long a worker waits for the whole job. The original waits
// for ever, and all others wait behind it.
const JobTimeout = 5 * time.Second

// An Observer is told what happens. Its methods are called from many goroutines.
type Observer interface {
	// Processing says that work on a job has begun.
	Processing(job protocol.Job, peer net.Addr)
	// Refused says that peer got a refusal instead of work.
	Refused(peer net.Addr, reason string)
	// Dropped says that a job was not started, since peer left while it waited.
	Dropped(peer net.Addr)
}

// A Worker handles jobs. Its fields are not changed while it does.
type Worker struct {
	Work     [protocol.NumTypes]time.Duration // how long it takes, for each type
	Slots    int                              // how many jobs are worked on at once; 0 means any number
	Observer Observer

	queue queue
}

// Handle serves one connection and closes it: one job, or as many as come as
// long as each one asks to keep the connection. When ctx is done it gives up.
// It is a [server.Handler].
func (w *Worker) Handle(ctx context.Context, conn *server.Conn) server.Handler {
	defer conn.Close()
	in := &jobReader{conn: conn}
	conn.BeginRead(JobTimeout)
	if !w.serve(ctx, conn, in) {
		return nil
	}
	// Nothing but TCP finds out that the broker's machine is gone, on a
	// connection that may be idle for ever. Without it, the connection is only
	// kept for longer.
	_ = conn.SetKeepAlive(true)
	for {
		in.idle, in.inPart = true, false
		conn.BeginRead(0)
		if !w.serve(ctx, conn, in) {
			return nil
		}
	}
}

// serve does one job, which it reads from in, and reports whether another one
// may follow on conn.
func (w *Worker) serve(ctx context.Context, conn *server.Conn, in *jobReader) (another bool) {
	job, err := protocol.ReadJob(in)
	end := conn.EndRead()
	switch {
	case err == nil:
	case end == server.Stopped:
		// Not taken, for a broker that has just sent a job on a kept connection.
		_ = conn.Finish("\n")
		return false
	case end == server.GaveWay:
		_ = conn.Answer("\n") // there is nothing unread to wait for
		return false
	case errors.Is(err, protocol.ErrHTTP):
		w.Observer.Refused(conn.RemoteAddr(), err.Error())
		_ = conn.Finish(protocol.HTTPRefusal("worker"))
		return false
	case in.idle && errors.Is(err, protocol.ErrEmpty):
		return false // the broker has closed a connection that it kept
	case errors.Is(err, protocol.ErrEmpty) && !errors.Is(err, os.ErrDeadlineExceeded):
		_ = conn.Finish(protocol.Refusal(err.Error())) // such a connection is a probe
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.refuse(conn, fmt.Sprintf("%v within %v", err, JobTimeout))
		return false
	case errors.Is(err, protocol.ErrMalformed):
		w.refuse(conn, err.Error())
		return false
	default:
		return false // the peer is gone
	}
	switch err := w.inTurn(ctx, conn, in, job); {
	case errors.Is(err, errLeft):
		w.Observer.Dropped(conn.RemoteAddr())
		_ = conn.Finish(protocol.Refusal("the connection was closed, at least in one direction, while the job waited; it was not started"))
		return false
	case err != nil:
		w.Observer.Refused(conn.RemoteAddr(), "stopped before the job was done")
		return false
	}
	// Whether the answer arrives is the peer's to notice: the work is done.
	if job.Name == 0 {
		_ = conn.Answer(protocol.Response)
		return false
	}
	conn.SetWriteDeadline(time.Now().Add(JobTimeout))
	_, err = io.WriteString(conn.Conn, job.Name.Line(protocol.Response))
	return err == nil
}

// inTurn works on a job when a slot is free and no other job has waited longer. Its
// error says why the job was not done: errLeft, or that of ctx.
func (w *Worker) inTurn(ctx context.Context, conn net.Conn, in *jobReader, job protocol.Job) error {
	ticket := w.queue.join(w.Slots)
	defer ticket.leave()
	if err := ticket.await(ctx, in); err != nil {
		return err
	}
	w.Observer.Processing(job, conn.RemoteAddr())
	return w.work(ctx, job)
}

func (w *Worker) work(ctx context.Context, job protocol.Job) error {
	d := w.Work[job.Type]
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Worker) refuse(conn *server.Conn, reason string) {
	w.Observer.Refused(conn.RemoteAddr(), reason)
	_ = conn.Finish(protocol.Refusal(reason))
}
