// Package worker does one job: it reads it, works (which here means waiting
// for as long as the type says), and answers.
//
// A worker takes any number of jobs at once, as the original does, which
// starts a thread for each. When it has to stop before a job is done it closes
// the connection without an answer, as a worker does that was killed: the
// broker knows what that means, and an "Error: " would be relayed as an answer.
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
// for ever, with everybody else behind.
const JobTimeout = 5 * time.Second

// A Journal is told what happens. Its methods are called from many goroutines.
type Journal interface {
	// Processing says that work on a job has begun.
	Processing(job protocol.Job, peer net.Addr)
	// Refused says that peer got a refusal instead of work.
	Refused(peer net.Addr, reason string)
}

// A Worker handles jobs. Its fields are not changed while it does.
type Worker struct {
	Long, Short time.Duration // how long the work takes
	Journal     Journal
}

// Handle serves one connection and closes it: one job, or as many as come as
// long as each one asks to keep the connection. When ctx is done it gives up.
func (w *Worker) Handle(ctx context.Context, conn *server.Conn) {
	defer conn.Close()
	if !w.serve(ctx, conn, conn.AwaitRequest(JobTimeout), conn) {
		return
	}
	for w.serve(ctx, conn, conn.AwaitRequest(0), &startsDeadline{conn, false}) {
	}
}

// startsDeadline is for an idle kept connection, which may stay idle for ever:
// it sets the deadline for a job when its first byte has come.
type startsDeadline struct {
	net.Conn
	started bool
}

func (s *startsDeadline) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 && !s.started {
		s.started = true
		s.SetReadDeadline(time.Now().Add(JobTimeout))
	}
	return n, err
}

// serve does one job, which it reads from r, and reports whether another one
// may follow on conn.
func (w *Worker) serve(ctx context.Context, conn *server.Conn, got func() bool, r io.Reader) (another bool) {
	job, err := protocol.ReadJob(r)
	stopped := !got()
	switch {
	case stopped && err != nil:
		// Not taken, for a broker that has just sent a job on a kept connection.
		_ = conn.Finish("\n")
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.refuse(conn, fmt.Sprintf("%v within %v", err, JobTimeout))
		return false
	case errors.Is(err, protocol.ErrMalformed):
		w.refuse(conn, err.Error())
		return false
	case err != nil:
		return false // the peer is gone
	}
	w.Journal.Processing(job, conn.RemoteAddr())
	if err := w.work(ctx, job); err != nil {
		w.Journal.Refused(conn.RemoteAddr(), "stopped before the job was done")
		return false
	}
	// Whether the answer arrives is the asker's to notice: the work is done.
	if !job.Keep {
		_ = conn.Answer(protocol.Response)
		return false
	}
	conn.SetWriteDeadline(time.Now().Add(JobTimeout))
	_, err = io.WriteString(conn, protocol.Response+"\n")
	return err == nil
}

func (w *Worker) work(ctx context.Context, job protocol.Job) error {
	d := w.Short
	if job.Type == protocol.Long {
		d = w.Long
	}
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
	w.Journal.Refused(conn.RemoteAddr(), reason)
	_ = conn.Finish(protocol.Refusal(reason))
}
