package simulate

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/control"
	"balancelab/internal/events"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/stats"
)

// A brokerLife is the time of one broker from its start to its end: all that
// cmd/broker puts together. It is the broker's observer, and passes on to the
// checker what happens until the broker is gone.
type brokerLife struct {
	*lab
	pool     *balance.Pool
	broker   *broker.Broker
	recorder *stats.Recorder
	feed     *events.Feed
	log      *console.Broker
	orders   http.Handler
	stop     context.CancelFunc
	served   chan error         // how the server ended
	beside   sync.WaitGroup     // what runs beside the server
	cancel   context.CancelFunc // ends that
	gone     bool               // it has crashed; guarded by the checker's mu
}

// startBroker does what cmd/broker does.
func (l *lab) startBroker() {
	b := l.newBroker()
	l.begins(b)
	stopping, stop := context.WithCancel(context.Background())
	beside, cancel := context.WithCancel(context.Background())
	b.stop, b.cancel, b.served = stop, cancel, make(chan error, 1)
	b.beside.Go(func() { b.broker.Watch.Run(beside) })
	b.beside.Go(func() { b.recorder.Watch(beside) })
	for _, v := range l.viewers {
		b.beside.Go(func() { b.view(beside, v) })
	}
	s := server.Server{
		Handle: b.broker.Handle, MaxConns: l.plan.broker.maxConns, Paused: b.log.Paused, Panicked: l.panicked,
		Stopping: func(int) time.Duration {
			if b.isGone() {
				return 0
			}
			return l.plan.broker.drain
		},
	}
	listener := l.net.listen(brokerHost)
	go func() { b.served <- s.Serve(stopping, listener) }()
}

// newBroker puts a broker together, with all that is told what it does: the
// checker, the page's events and figures, and the log.
func (l *lab) newBroker() *brokerLife {
	var workers []balance.Worker
	for _, w := range l.workers {
		workers = append(workers, w.Worker)
	}
	f := l.plan.broker
	b := &brokerLife{lab: l, pool: balance.NewPool(workers, selectors()...)}
	b.log = console.NewBroker(&output{l.net, l.troubles})
	b.recorder = stats.New(b.pool, b.log)
	b.feed = events.New(b.recorder)
	b.orders = control.Handler(b.pool, f.perWorker)
	b.broker = &broker.Broker{
		Pool: b.pool, Dial: b.dial,
		RequestTimeout: f.request, DialTimeout: f.dial, AnswerTimeout: f.answer, QueueTimeout: f.queue,
		Redispatch: f.redispatch, Observer: b,
		Watch: &socket.Watch{EndIsGone: f.abortOnClose},
	}
	if f.keepalive {
		b.broker.Idle = broker.NewIdlePool(128)
	}
	b.pool.OnChange = func(c balance.Change) {
		if c.State == balance.Draining || c.State == balance.Drained {
			b.broker.Idle.Drop(c.Index)
		}
		b.told(func() { l.changed(c) })
		b.feed.Changed(c)
		b.log.Changed(c)
	}
	return b
}

// selectors returns the selector of each approach, at its place.
func selectors() []balance.Selector {
	return []balance.Selector{
		protocol.RoundRobin:       new(balance.RoundRobin),
		protocol.LeastConnections: new(balance.LeastConnections),
	}
}

// end ends all but the server, which has been stopped before.
func (b *brokerLife) end() {
	if b.broker.Idle != nil {
		b.broker.Idle.Close()
	}
	b.log.Summary(b.pool.Snapshot())
	b.cancel()
	b.beside.Wait()
	before := b.net.now()
	b.log.Close()
	if took := b.net.now() - before; took > time.Second {
		b.fault("the broker's end took %v, for output that is not read", took)
	}
}

// crash ends the broker at once, as kill -9 does. What is left of the program in
// this simulation finds its connections closed, and ends by itself.
func (b *brokerLife) crash() {
	b.crashed(b)
	b.stop()
	b.running.Go(func() {
		<-b.served
		b.end()
	})
}

// dial is the broker's Dial.
func (b *brokerLife) dial(ctx context.Context, addr string, within time.Duration) (socket.Conn, error) {
	if b.isGone() {
		return nil, net.ErrClosed
	}
	e, err := b.net.dial(ctx, route{brokerHost, addr}, 0, within)
	if err != nil {
		return nil, err
	}
	if b.isGone() {
		e.Reset()
		return nil, net.ErrClosed
	}
	return &jobConn{e, b.checker}, nil
}

// output is where the broker's lines go. While it is not read, a write waits.
type output struct {
	net      *network
	troubles []trouble
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	for _, t := range o.troubles {
		if now := o.net.now(); t.kind == unread && t.has(now) {
			time.Sleep(t.to - now)
		}
	}
	return len(p), nil
}

// stopBroker tells the broker to stop, and waits until it has.
func (l *lab) stopBroker() {
	l.note("broker", "is told to stop", "")
	l.stopping(l.net.now())
	b := l.current()
	b.stop()
	l.stoppedWith(<-b.served)
}

// isGone reports whether the broker has crashed.
func (b *brokerLife) isGone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gone
}

// told has the checker look at something, unless the broker is gone.
func (b *brokerLife) told(look func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gone {
		look()
	}
}

var _ broker.Observer = (*brokerLife)(nil)

// Connected implements [broker.Observer].
func (b *brokerLife) Connected(client net.Addr) {
	b.told(func() { b.accepts(client) })
	b.feed.Connected(client)
}

// Unreachable implements [broker.Observer].
func (b *brokerLife) Unreachable(worker string, err error) {
	b.told(func() { b.unreachable(worker, err) })
	b.feed.Unreachable(worker, err)
}

// Redispatched implements [broker.Observer].
func (b *brokerLife) Redispatched(worker string, err error) {
	b.told(func() { b.redispatched(worker, err) })
	b.feed.Redispatched(worker, err)
}

// Step implements [broker.Observer].
func (b *brokerLife) Step(x *broker.Exchange, s broker.Step) {
	b.told(func() { b.step(x, s) })
	b.feed.Step(x, s)
}

// Done implements [broker.Observer].
func (b *brokerLife) Done(x *broker.Exchange) {
	b.told(func() { b.ends(x) })
	b.feed.Done(x)
}

// ClientGone implements [broker.Observer].
func (b *brokerLife) ClientGone(x *broker.Exchange, err error) {
	b.told(func() { b.clientGone(x, err) })
	b.feed.ClientGone(x, err)
}
