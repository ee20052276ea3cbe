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

// Handle serves one connection and closes it. When ctx is done it gives up.
func (w *Worker) Handle(ctx context.Context, conn *server.Conn) {
	defer conn.Close()
	got := conn.AwaitRequest(JobTimeout)
	job, err := protocol.ReadJob(conn)
	stopped := !got()
	switch {
	case stopped && err != nil:
		return // with no answer: the broker may ask another worker
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.refuse(conn, fmt.Sprintf("%v within %v", err, JobTimeout))
		return
	case errors.Is(err, protocol.ErrMalformed):
		w.refuse(conn, err.Error())
		return
	case err != nil:
		return // the peer is gone
	}
	w.Journal.Processing(job, conn.RemoteAddr())
	if err := w.work(ctx, job); err != nil {
		w.Journal.Refused(conn.RemoteAddr(), "stopped before the job was done")
		return
	}
	// Whether the answer arrives is the asker's to notice: the work is done.
	_ = conn.Finish(protocol.Response)
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
