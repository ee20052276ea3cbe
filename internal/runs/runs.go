// Package runs has a broker send requests to itself, so that a class needs no
// second window: a load run, or a comparison. A [Runner] carries out one [Order]
// at a time. Its requests are like any other: they come over TCP to the broker's
// own port, are counted, and wait their turn.
//
//	runner := runs.New(runs.Config{Pool: pool, Addr: addr, Dial: runs.Dial(addr), Observer: next})
//	report, err := runner.Start(runs.Order{N: 30, C: 30, Types: longs, Approaches: roundRobin})
//	…
//	report = runner.Report() // at any time
//	runner.Close()           // before the broker drains
//
// # A comparison
//
// It sends the same requests at the same times, first under round robin, then
// under least connections, each in a part of its own. A part begins when all
// requests of the one before have ended.
//
// If any worker has a limit of requests in flight, there is a third part: one
// queue, in the broker. Limits change what the first two would show, because
// requests then wait in the broker under either approach. So they are taken off
// for these two, and set again for the third, which is under round robin: when
// each request goes to the first worker that is free, the approach hardly
// matters. However the comparison ends, each limit is there again that was taken
// off, unless an order has set another one meanwhile. A worker that comes
// meanwhile keeps its own.
//
// # What is counted
//
// Latencies are a client's, from the planned start if there is a rate: see
// package load. Only answered requests have one. The most in flight at a worker,
// and how many Longs and Shorts it was given, are counted by the broker while the
// part goes on. If other clients send requests at the same time, these are
// counted there too.
//
// # Bounds
//
// A run, of however many parts, has at most [MaxRequests] requests, [MaxRate] of
// them a second, and is stopped after [MaxTime]. One without a rate is slowed down to MaxRate, between
// its requests, so that no latency has that pause in it.
//
// A stop resets the connections of the requests in flight. A broker takes that
// for clients that have left, even without -abort-on-close, and withdraws the
// jobs. So it does not wait for its own run when it stops.
package runs

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
)

var (
	// ErrRunning says that a run goes on.
	ErrRunning = errors.New("a run goes on: stop it first, or wait for its end")
	// ErrStopping says that the Runner was closed.
	ErrStopping = errors.New("the broker is stopping")
)

// The causes of a run's end before all of its requests have ended.
var (
	errStopped = errors.New("it was stopped")
	errTooLong = errors.New("it was stopped after an hour")
)

// A Config says what a Runner needs.
type Config struct {
	// Pool is the broker's. Required.
	Pool *balance.Pool
	// Addr is the broker's, for command lines.
	Addr string
	// Dial opens a connection to the broker: see [Dial]. Required.
	Dial func(ctx context.Context) (net.Conn, error)
	// Observer is told everything that the Runner is told. Required.
	Observer broker.Observer
	// MaxAtOnce is how many requests are in flight at once, at most; 0 means
	// [MaxAtOnce], and more is not allowed.
	MaxAtOnce int
	// Note, if not nil, is told in words that a run begins, goes on or has ended.
	Note func(text string)
}

// A Runner carries out runs. It is to be the observer of its broker, and passes
// everything on to the next one: while there is no run it does nothing else. All
// methods may be called at the same time.
type Runner struct {
	broker.Observer
	config   Config
	counting atomic.Pointer[part] // the one that goes on; nil if none does

	mu     sync.Mutex // guards what follows
	latest *run       // nil before the first
	closed bool
}

// New returns a Runner. The caller closes it.
func New(c Config) *Runner {
	c.MaxAtOnce = cmp.Or(c.MaxAtOnce, MaxAtOnce)
	if c.Note == nil {
		c.Note = func(string) {}
	}
	return &Runner{Observer: c.Observer, config: c}
}

// Dial returns what connects to a broker at addr, for a [Config]. When ctx is done
// before a connection is closed, that resets the connection.
func Dial(addr string) func(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return leaving{conn, ctx}, nil
	}
}

// A leaving connection tells its peer more than that the stream has ended, which a
// half-closed one does too.
type leaving struct {
	net.Conn
	ctx context.Context
}

// Close resets the connection if it is interrupted.
func (c leaving) Close() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && c.ctx.Err() != nil {
		_ = tcp.SetLinger(0) // fails if the connection is broken: then there is nothing to tell
	}
	return c.Conn.Close()
}

// Step implements [broker.Observer].
func (r *Runner) Step(x *broker.Exchange, s broker.Step) {
	if p := r.counting.Load(); p != nil && s == broker.Assigned {
		p.assigned(x.Worker, x.Request.Type)
	}
	r.Observer.Step(x, s)
}

// Start begins a run, and returns its first report. The error is ErrRunning,
// ErrStopping, or says what is wrong with the order.
func (r *Runner) Start(o Order) (Report, error) {
	if err := o.check(r.config.MaxAtOnce); err != nil {
		return Report{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return Report{}, ErrStopping
	case r.latest != nil && !r.latest.over():
		return Report{}, ErrRunning
	}
	id := 1
	if r.latest != nil {
		id = r.latest.id + 1
	}
	r.latest = begin(r, id, o)
	return r.latest.report(), nil
}

// Report says how far the latest run is, or what it has come to.
func (r *Runner) Report() Report {
	if u := r.run(); u != nil {
		return u.report()
	}
	return Report{Results: []Result{}}
}

// Latest says which part of the latest run goes on, or was the last. The id is 0
// before the first run.
func (r *Runner) Latest() (id int, part string, running bool) {
	u := r.run()
	if u == nil {
		return 0, "", false
	}
	running = !u.over()
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.id, u.parts[u.at].way.name, running
}

func (r *Runner) run() *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

// Stop stops the run, if one goes on, and returns when it has ended, with its
// report.
func (r *Runner) Stop() Report {
	if u := r.run(); u != nil {
		u.stop(errStopped)
	}
	return r.Report()
}

// Close stops the run, if one goes on, and returns when it has ended. None begins
// afterwards.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	if u := r.run(); u != nil {
		u.stop(ErrStopping)
	}
}

// A run is one that was ordered.
type run struct {
	id      int
	runner  *Runner
	compare bool
	parts   []*part // at least one
	limits  []limit // that were taken off
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed at the end

	mu       sync.Mutex // guards what follows
	at       int        // the part that goes on, or was the last
	sentence string
	err      string
}

// begin begins a run. It ends by itself, or by stop.
func begin(r *Runner, id int, o Order) *run {
	u := &run{id: id, runner: r, compare: o.Compare, ended: make(chan struct{})}
	o.Seed = cmp.Or(o.Seed, newSeed())
	if o.Compare {
		u.limits = takeOff(r.config.Pool)
	}
	for _, w := range o.ways(len(u.limits) > 0) {
		u.parts = append(u.parts, newPart(o, w, r.config))
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	u.cancel = cancel
	go u.carryOut(ctx)
	return u
}

func (u *run) over() bool {
	select {
	case <-u.ended:
		return true
	default:
		return false
	}
}

// stop ends the run, and returns when it has ended.
func (u *run) stop(why error) {
	u.cancel(why)
	<-u.ended
}

// grace is what the last requests of a run of MaxTime have to be answered.
const grace = time.Minute

// carryOut carries out one part after another.
func (u *run) carryOut(ctx context.Context) {
	defer close(u.ended)
	defer u.cancel(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime+grace, errTooLong)
	defer cancel()
	pool := u.runner.config.Pool
	u.runner.config.Note(u.beginning())
	for i, p := range u.parts {
		u.mu.Lock()
		u.at = i
		u.mu.Unlock()
		if i > 0 {
			u.runner.config.Note("The comparison goes on under " + p.way.name + ".")
		}
		if p.way.limited {
			setAgain(pool, u.limits)
		}
		p.carryOut(ctx, u.runner)
		if p.stopped != nil {
			break
		}
	}
	setAgain(pool, u.limits)
	u.conclude()
}

// conclude works out what is said at the end.
func (u *run) conclude() {
	sentence, err := u.saying(), u.failures()
	u.mu.Lock()
	u.sentence, u.err = sentence, err
	u.mu.Unlock()
	u.runner.config.Note("The run has ended. " + sentence)
}

// A limit is one that was taken off a worker.
type limit struct {
	worker string
	n      int
}

func takeOff(pool *balance.Pool) (limits []limit) {
	for _, w := range pool.Snapshot().Workers {
		if w.Limit > 0 {
			limits = append(limits, limit{w.Name, w.Limit})
		}
	}
	for _, l := range limits {
		_, _ = pool.SetLimit(l.worker, 0) // fails if it was removed
	}
	return limits
}

// setAgain sets the limits of workers that have none. One that was set by an
// order meanwhile stays.
func setAgain(pool *balance.Pool, limits []limit) {
	now := make(map[string]int)
	for _, w := range pool.Snapshot().Workers {
		now[w.Name] = w.Limit
	}
	for _, l := range limits {
		if now[l.worker] == 0 {
			_, _ = pool.SetLimit(l.worker, l.n) // fails if it was removed
		}
	}
}

// A throttle keeps those that call wait below MaxRate together.
type throttle struct {
	mu   sync.Mutex // guards next
	next time.Time  // the earliest start that is not taken
}

// wait waits for the caller's turn, or until ctx is done.
func (t *throttle) wait(ctx context.Context) {
	t.mu.Lock()
	now := time.Now()
	if t.next.Before(now) {
		t.next = now
	}
	turn := t.next
	t.next = turn.Add(time.Second / MaxRate)
	t.mu.Unlock()
	if turn == now {
		return
	}
	select {
	case <-time.After(turn.Sub(now)):
	case <-ctx.Done():
	}
}
