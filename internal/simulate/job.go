package simulate

import (
	"net"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/protocol"
)

// A job is one that was written to a worker. The wire says nowhere for which
// request it is, so the checker notes it: an observer is told of Sent at the very
// moment of the write.
type job struct {
	serial   int
	host     string
	written  time.Duration
	arrives  time.Duration // the last of it, unless its connection is harmed
	jobs     *jobs
	request  *request // nil if no request could be named for certain
	begun    bool
	answered bool
}

// jobs are those of one connection, in order.
type jobs struct {
	end      *end          // the worker's
	life     *workerLife   // that has accepted it; nil before that
	accepted time.Duration // when the worker accepted it
	all      []*job
	begun    int
}

// A jobConn is the broker's end of a connection to a worker.
type jobConn struct {
	*end
	checker *checker
}

// Write implements [net.Conn].
func (c *jobConn) Write(p []byte) (int, error) {
	n, err := c.end.Write(p)
	if err == nil {
		c.checker.wrote(c)
	}
	return n, err
}

// An answerConn is a worker's end. It writes the number of the job into the
// answer, so that an answer can be told from that to another job.
type answerConn struct {
	*end
	life *workerLife
}

const tag = " to job "

// Write implements [net.Conn].
func (c *answerConn) Write(p []byte) (int, error) {
	if !strings.Contains(string(p), protocol.Response) {
		return c.end.Write(p)
	}
	text := strings.Replace(string(p), protocol.Response, protocol.Response+tag+c.life.finished(c.jobs), 1)
	if n, err := c.end.Write([]byte(text)); err != nil {
		return min(n, len(p)), err
	}
	return len(p), nil
}

// serialOf returns the number of the job to which text is the answer, or 0.
func serialOf(text string) int {
	_, number, _ := strings.Cut(text, tag)
	n, _ := strconv.Atoi(number)
	return n
}

// A workerLife is the time of one worker from its start to its end. It implements
// [worker.Observer].
type workerLife struct {
	*checker
	host   string
	few    bool // it has few places: connections may wait for one
	slots  int  // 0 means any number
	begun  int
	done   int
	doneAt time.Duration // the latest
	killed bool
}

// accepted says that the worker has accepted a connection.
func (w *workerLife) accepted(e *end) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[e.remote], e.jobs.accepted, e.jobs.life = e.jobs, w.now(), w
}

// Processing implements [worker.Observer].
func (w *workerLife) Processing(_ protocol.Job, peer net.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.conns[peer]
	if w.killed || jobs == nil || jobs.begun == len(jobs.all) {
		return
	}
	w.begun++
	j := jobs.all[jobs.begun]
	jobs.begun++
	j.begun = true
	// What the broker has left before the worker served it looks half-closed, and
	// is done.
	if at, left := jobs.end.leftAt(); left && at < w.now() && at > jobs.accepted && !w.few {
		w.wrong("%s begins a job of %v, and the broker has left at %v", w.host, j.request, at)
	}
	w.tell(j.request, "begins", w.host)
}

// Refused implements [worker.Observer].
func (w *workerLife) Refused(net.Addr, string) {}

// Dropped implements [worker.Observer].
func (w *workerLife) Dropped(peer net.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if jobs := w.conns[peer]; jobs != nil && jobs.begun < len(jobs.all) {
		w.tell(jobs.all[jobs.begun].request, "is dropped by", w.host)
	}
}

// finished notes that the latest job of a connection is done, and returns its
// number.
func (w *workerLife) finished(jobs *jobs) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if jobs.begun == 0 {
		return "0"
	}
	j := jobs.all[jobs.begun-1]
	if !w.killed && !j.answered {
		w.done++
		w.doneAt = w.now()
	}
	j.answered = true
	return strconv.Itoa(j.serial)
}

func (w *workerLife) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = true
}

func (w *workerLife) isKilled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

// overdue reports whether a job has not begun though it could, before this moment: it
// has come to the worker, no trouble has harmed its connection, and there is a slot for
// it. The caller holds the checker's lock.
func (j *job) overdue() bool {
	w, now := j.jobs.life, j.jobs.end.net.now()
	switch {
	case j.begun || w == nil || j.jobs.end.peer.harmed.Load():
		return false
	case w.few && j.jobs.begun == 0: // its connection may wait for a place
		return false
	}
	free := w.slots == 0 || w.begun-w.done < w.slots && w.doneAt < now
	return free && max(j.arrives, j.jobs.accepted) < now
}
