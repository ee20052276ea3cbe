// Package events tells viewers what happens to requests, step by step, while it
// happens. A page can show each request move with it.
//
// A [Feed] is a [broker.Observer] that passes everything on to another one. While
// nobody watches, it does nothing else. It keeps the latest events in a ring, as
// JSON, and each [Viewer] reads the ring at its own pace. So a viewer that is slow
// holds up nothing: what it did not read in time is overwritten, and it is told
// how many events it has lost.
//
// # Dots
//
// A page shows a dot for each request. With more than [Rate] requests a second
// only some are followed, each of which stands for several: N says for how many
// of its type. The events of one request have one ID. A request that is not
// followed has no events; those of the next one that is followed count it, unless
// that one comes after a pause of a second or more: it would show a crowd that is
// long gone.
//
// Events of requests that had begun before somebody watched are not sent.
package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/protocol"
)

// Rate is how many requests a second are followed, each by itself. As many may
// come at once.
const Rate = 40

// MaxViewers is how many viewers a [Feed] has at once.
const MaxViewers = 100

// ringSize is how many events wait for a slow viewer: of some seconds, if each
// followed request has a handful.
const ringSize = 2048

// A Kind is what happened.
type Kind string

// The steps of a request, its ends, and what else happens.
const (
	Queued   Kind = "queued"   // it waits for a place at a worker
	Assigned Kind = "assigned" // it has a place at the worker; what was there before has failed
	Sent     Kind = "sent"     // the worker has the job
	Answered Kind = "answered" // the client gets an answer
	Failed   Kind = "failed"   // the client gets an error
	Left     Kind = "left"     // the client has left
	State    Kind = "state"    // of a worker
	Refused  Kind = "refused"  // the text was no request; it had no steps before
	Crowded  Kind = "crowded"  // more requests come than are followed; once a second
	Lost     Kind = "lost"     // this viewer was too slow: N events are missing here
	Note     Kind = "note"     // something else that Text says
)

// An Event is one step of one request, or a change of a worker's state.
type Event struct {
	Kind     Kind              `json:"event"`
	At       float64           `json:"at"`                // seconds since the feed began
	ID       uint64            `json:"id,omitempty"`      // the request's
	N        int               `json:"n,omitempty"`       // how many requests it stands for
	Type     protocol.Type     `json:"type,omitzero"`     // the request's
	Approach protocol.Approach `json:"approach,omitzero"` // the request's
	Worker   string            `json:"worker,omitempty"`
	Attempt  int               `json:"attempt,omitempty"` // from 1 on
	Text     string            `json:"text,omitempty"`    // an error, what changed a state, or a note
	State    string            `json:"state,omitempty"`   // the text of a [balance.State]
	Seconds  float64           `json:"seconds,omitempty"` // how long a cool-down lasts
}

// A Feed makes the events.
type Feed struct {
	broker.Observer // the next one, which is told everything
	started         time.Time
	viewers         atomic.Int32 // changed under mu; 0 while nobody watches

	mu       sync.Mutex // guards what follows; never held over input or output
	followed map[*broker.Exchange]dot
	ids      uint64
	budget   budget
	unseen   [protocol.NumTypes]int // requests that came since the latest one of their type that is followed
	ring     [ringSize][]byte       // event n is at n % ringSize
	came     time.Time              // when the latest request came
	crowded  time.Time              // when it was last told that requests are not followed
	count    uint64                 // of all events
	wake     chan struct{}          // closed by the next event; nil unless a viewer waits
}

// A dot is a request that is followed.
type dot struct {
	id uint64
	n  int
}

// New returns a Feed that passes everything on to next.
func New(next broker.Observer) *Feed {
	return &Feed{Observer: next, started: time.Now(), followed: map[*broker.Exchange]dot{}}
}

// Age returns for how long the feed has been there: the time of its events.
func (f *Feed) Age() time.Duration { return time.Since(f.started) }

// Step implements [broker.Observer].
func (f *Feed) Step(x *broker.Exchange, s broker.Step) {
	if f.viewers.Load() > 0 && s != broker.Released {
		f.step(x, steps[s])
	}
	f.Observer.Step(x, s)
}

var steps = [...]Kind{broker.Queued: Queued, broker.Assigned: Assigned, broker.Sent: Sent}

func (f *Feed) step(x *broker.Exchange, k Kind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.followed[x]
	if !ok && isFirst(k, x) {
		d, ok = f.follow(x)
	}
	if ok {
		f.add(f.event(k, x, d))
	}
}

// isFirst reports whether a request has come to its first step: a place at a
// worker, or before that the queue.
func isFirst(k Kind, x *broker.Exchange) bool {
	return k == Queued && x.Attempts == 0 || k == Assigned && x.Attempts == 1 && x.Queued == 0
}

// follow decides whether a request that has come to its first step is followed.
func (f *Feed) follow(x *broker.Exchange) (dot, bool) {
	t, now := x.Request.Type, time.Now()
	if now.Sub(f.came) >= time.Second {
		f.unseen = [protocol.NumTypes]int{}
	}
	f.came = now
	f.unseen[t]++
	if !f.budget.take(now) {
		if now.Sub(f.crowded) >= time.Second {
			f.crowded = now
			f.add(Event{Kind: Crowded})
		}
		return dot{}, false
	}
	f.ids++
	d := dot{f.ids, f.unseen[t]}
	f.unseen[t] = 0
	f.followed[x] = d
	return d, true
}

func (f *Feed) event(k Kind, x *broker.Exchange, d dot) Event {
	e := Event{Kind: k, ID: d.id, N: d.n, Type: x.Request.Type, Approach: x.Request.Approach}
	if k != Queued {
		e.Worker, e.Attempt = x.Worker, x.Attempts
	}
	return e
}

// Done implements [broker.Observer].
func (f *Feed) Done(x *broker.Exchange) {
	if f.viewers.Load() > 0 {
		f.done(x)
	}
	f.Observer.Done(x)
}

func (f *Feed) done(x *broker.Exchange) {
	k, text := Answered, ""
	switch fail := x.Failure; {
	case fail == nil:
	case fail.Reason == broker.NoRequest:
		return
	case fail.Reason == broker.ClientLeft:
		k = Left
	case fail.Unread():
		k, text = Refused, fail.Error()
	default:
		k, text = Failed, fail.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.followed[x]
	delete(f.followed, x)
	if !ok && x.Attempts == 0 && x.Queued == 0 { // it had no steps
		d, ok = f.follow(x)
		delete(f.followed, x)
	}
	if !ok {
		return
	}
	e := f.event(k, x, d)
	e.Text = protocol.Printable(text)
	f.add(e)
}

// Changed says that a worker's state has changed.
func (f *Feed) Changed(c balance.Change) {
	if f.viewers.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(Event{Kind: State, Worker: c.Name, State: c.State.String(), Text: c.Cause.String(), Seconds: c.Cooling.Seconds()})
}

// Note tells the viewers something in words.
func (f *Feed) Note(text string) {
	if f.viewers.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(Event{Kind: Note, Text: protocol.Printable(text)})
}

func (f *Feed) add(e Event) {
	e.At = f.Age().Seconds()
	f.ring[f.count%ringSize] = encoded(e)
	f.count++
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

func encoded(e Event) []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("events: an event that has no JSON form: %v", err))
	}
	return text
}

// ErrFull says that there are [MaxViewers] already.
var ErrFull = errors.New("too many viewers watch the events; ask again later")

// A Viewer reads the events of a [Feed] from the time on when it came.
type Viewer struct {
	feed *Feed
	next uint64 // the number of the next event
}

// Watch returns a new Viewer, or ErrFull. The caller closes it.
func (f *Feed) Watch() (*Viewer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.viewers.Load() >= MaxViewers {
		return nil, ErrFull
	}
	f.viewers.Add(1)
	return &Viewer{f, f.count}, nil
}

// Close ends the viewing.
func (v *Viewer) Close() {
	f := v.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.viewers.Add(-1) == 0 {
		clear(f.followed)
		f.unseen = [protocol.NumTypes]int{}
	}
}

// Read returns the events, each as JSON, that came since the latest Read. If some
// of them are lost, an event of the kind Lost is the first. If there are none, the
// channel is closed when one comes.
func (v *Viewer) Read() (events [][]byte, more <-chan struct{}) {
	f := v.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.next == f.count {
		if f.wake == nil {
			f.wake = make(chan struct{})
		}
		return nil, f.wake
	}
	if lost := f.count - v.next; lost > ringSize {
		v.next = f.count - ringSize
		events = append(events, encoded(Event{Kind: Lost, At: f.Age().Seconds(), N: int(lost - ringSize)}))
	}
	for ; v.next < f.count; v.next++ {
		events = append(events, f.ring[v.next%ringSize])
	}
	return events, nil
}

// A budget lets Rate things a second through: a token bucket.
type budget struct {
	tokens float64
	at     time.Time // up to which the tokens are counted
}

func (b *budget) take(now time.Time) bool {
	b.tokens = min(b.tokens+Rate*now.Sub(b.at).Seconds(), Rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
