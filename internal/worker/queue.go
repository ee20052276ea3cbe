package worker

import (
	"container/list"
	"context"
	"sync"
)

// A queue is a fair semaphore: the job that has waited longest comes next. A
// channel as a semaphore promises no order among the goroutines that wait.
//
// The zero value is an empty queue.
type queue struct {
	mu      sync.Mutex // guards all below, and the tickets' element
	running int
	waiting list.List // of *ticket, the longest waiting in front
}

// A ticket is one job's place, from joining the queue to leaving it.
type ticket struct {
	queue   *queue
	turn    chan struct{} // closed by the queue when the job may start
	element *list.Element // in queue.waiting; nil when it is the job's turn
}

// join returns a ticket for one of the slots (0: any number of them). It may be
// the job's turn already. The caller calls leave.
func (q *queue) join(slots int) *ticket {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := &ticket{queue: q, turn: make(chan struct{})}
	if slots > 0 && q.running >= slots {
		t.element = q.waiting.PushBack(t)
		return t
	}
	q.running++
	close(t.turn)
	return t
}

// leave gives the ticket back: a slot goes to the job that has waited longest.
func (t *ticket) leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.element != nil {
		q.waiting.Remove(t.element)
		return
	}
	first := q.waiting.Front()
	if first == nil {
		q.running--
		return
	}
	next := q.waiting.Remove(first).(*ticket)
	next.element = nil
	close(next.turn)
}

// await returns nil when it is the job's turn, errLeft when in says that the
// peer has gone before that, or the error of ctx.
func (t *ticket) await(ctx context.Context, in *jobReader) error {
	select {
	case <-t.turn:
		return ctx.Err()
	default:
	}
	watch := in.watch()
	select {
	case <-t.turn:
	case <-watch.gone:
	case <-ctx.Done():
	}
	if watch.end() {
		return errLeft
	}
	return ctx.Err()
}
