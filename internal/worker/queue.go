package worker

import (
	"container/list"
	"context"
	"sync"
)

// A queue is a semaphore that is fair: who has waited longest comes next. A
// channel as a semaphore promises no order among those who wait to send.
//
// The zero value has nobody in it.
type queue struct {
	mu      sync.Mutex // guards all below, and the places' element
	running int
	waiting list.List // of *place, who came first in front
}

// A place is one job's, from joining the queue to leaving it.
type place struct {
	queue   *queue
	turn    chan struct{} // closed by the queue when the job may start
	element *list.Element // in queue.waiting; nil when it is the job's turn
}

// join returns a place among so many that may run at once (0: any number). It
// may be the job's turn already. The caller calls leave.
func (q *queue) join(slots int) *place {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := &place{queue: q, turn: make(chan struct{})}
	if slots > 0 && q.running >= slots {
		p.element = q.waiting.PushBack(p)
		return p
	}
	q.running++
	close(p.turn)
	return p
}

// leave gives up the place: a slot goes to who has waited longest.
func (p *place) leave() {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.element != nil {
		q.waiting.Remove(p.element)
		return
	}
	first := q.waiting.Front()
	if first == nil {
		q.running--
		return
	}
	next := q.waiting.Remove(first).(*place)
	next.element = nil
	close(next.turn)
}

// await returns nil when it is the job's turn, errLeft when in says that the
// asker has gone before that, or the error of ctx.
func (p *place) await(ctx context.Context, in *inbox) error {
	select {
	case <-p.turn:
		return ctx.Err()
	default:
	}
	watch := in.watch()
	select {
	case <-p.turn:
	case <-watch.left:
	case <-ctx.Done():
	}
	if watch.end() {
		return errLeft
	}
	return ctx.Err()
}
