package simulate

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// A network joins hosts by links. It behaves as TCP does between machines: what
// is sent takes time, a close is seen a moment later, data for a connection that
// is closed is answered by a reset, and what an outage holds up comes after it.
// Windows and buffers have no bounds: no message here is long.
//
// Nothing waits but in Read, Accept and Dial, and all of that ends a bubble's
// clock from standing still.
type network struct {
	seed  uint64
	start time.Time
	links map[route]*link

	mu        sync.Mutex // guards all below, and all ends and listeners
	listeners map[string]*listener
	ends      map[string]map[*end]bool // by host, those that are open
	opened    map[route]uint64         // how many connections there were
	noFiles   map[string][]window      // by host: times in which no file can be opened
	port      int
	lastID    int
}

// A route is from one host to another.
type route struct{ from, to string }

func newNetwork(seed uint64) *network {
	return &network{
		seed: seed, start: time.Now(), links: map[route]*link{}, listeners: map[string]*listener{},
		ends: map[string]map[*end]bool{}, opened: map[route]uint64{}, noFiles: map[string][]window{},
	}
}

// now returns how long the network has been there.
func (n *network) now() time.Duration { return time.Since(n.start) }

// after calls f, which gets the lock, when the network has been there for a time.
func (n *network) after(at time.Duration, f func()) {
	time.AfterFunc(at-n.now(), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		f()
	})
}

// listen returns a listener of a host, whose address is its name.
func (n *network) listen(host string) *listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[host] != nil {
		panic("simulate: there is a listener already at " + host)
	}
	l := &listener{net: n, host: host, addr: n.address()}
	n.listeners[host] = l
	return l
}

// address returns one that was not used yet. The caller holds the lock.
func (n *network) address() *net.TCPAddr {
	n.port++
	return &net.TCPAddr{IP: net.IPv4(10, byte(n.port>>16), byte(n.port>>8), byte(n.port)), Port: 1024 + n.port%60_000}
}

// A dialing is a connect under way.
type dialing struct {
	conn    *end
	err     error
	done    chan struct{} // closed when conn or err is there
	givenUp bool
}

// dial connects one host to another. key is what the connection's random
// numbers come from; 0 stands for its place among those of the route.
func (n *network) dial(ctx context.Context, r route, key uint64, within time.Duration) (*end, error) {
	d := &dialing{done: make(chan struct{})}
	if err := n.connect(d, r, key); err != nil {
		return nil, err
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-t.C:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if d.conn != nil || d.err != nil {
		return d.conn, d.err
	}
	d.givenUp = true
	if ctx.Err() != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
}

// connect sends what opens a connection.
func (n *network) connect(d *dialing, r route, key uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if anyHas(n.noFiles[r.from], n.now()) {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", neterr.Errno(neterr.ProcessFiles))}
	}
	n.opened[r]++
	if key == 0 {
		key = n.opened[r]
	}
	out, back := n.links[r], n.links[route{r.to, r.from}]
	random := rand.NewPCG(n.seed, hash(r.from, r.to)+key)
	arrives, _ := out.arrives(n.now(), random)
	n.after(arrives, func() {
		l := n.listeners[r.to]
		if d.givenUp {
			return
		}
		answered, _ := back.arrives(n.now(), random)
		if l == nil {
			n.after(answered, func() {
				d.err = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", neterr.Errno(neterr.Refused))}
				d.finish()
			})
			return
		}
		n.after(answered, func() { n.join(d, r, l, out, back, random.Uint64()) })
	})
	return nil
}

// finish ends a dialing. The caller holds the lock.
func (d *dialing) finish() {
	if !d.givenUp {
		close(d.done)
	}
}

// join makes the two ends of a connection. The listener's can be accepted a little
// later, when it knows that the other one is there; what is sent on it comes after
// that.
func (n *network) join(d *dialing, r route, l *listener, out, back *link, seed uint64) {
	if d.givenUp {
		return
	}
	if l.closed {
		d.err = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", neterr.Errno(neterr.Reset))}
		d.finish()
		return
	}
	near := &end{net: n, host: r.from, local: n.address(), remote: l.addr, out: out, reader: make(chan struct{}, 1)}
	far := &end{net: n, host: r.to, local: l.addr, remote: near.local, out: back, peer: near, reader: make(chan struct{}, 1)}
	near.peer = far
	near.jobs = &jobs{end: far}
	far.jobs = near.jobs
	near.random, far.random = *rand.NewPCG(seed, 1), *rand.NewPCG(seed, 2)
	n.open(near)
	n.open(far)
	near.send(func(far *end) { l.enqueue(far) })
	d.conn = near
	d.finish()
}

// enqueue has an end wait to be accepted.
func (l *listener) enqueue(e *end) {
	if l.closed {
		e.abort()
		return
	}
	l.queue = append(l.queue, e)
	wake(&l.changed)
}

func (n *network) open(e *end) {
	n.lastID++
	e.id = n.lastID
	if n.ends[e.host] == nil {
		n.ends[e.host] = map[*end]bool{}
	}
	n.ends[e.host][e] = true
}

// crash ends a host's program as kill -9 does: its kernel closes everything, with
// a reset where input was unread.
func (n *network) crash(host string) { n.lose(host, true) }

// vanish ends a host as a power cut does: nobody is told. When it is back it
// answers what comes for its old connections by a reset.
func (n *network) vanish(host string) { n.lose(host, false) }

func (n *network) lose(host string, told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ends := n.sorted(host)
	if l := n.listeners[host]; l != nil {
		l.close(told)
	}
	for _, e := range ends {
		e.peer.harmed.Store(true)
		e.lost = !told
		e.close()
		e.lost = true
	}
}

// sorted returns the open ends of a host in the order in which they were opened.
func (n *network) sorted(host string) []*end {
	var all []*end
	for e := range n.ends[host] {
		all = append(all, e)
	}
	sortByID(all)
	return all
}

// busy reports whether a host has a connection that its peer has closed, or that
// waits to be accepted.
func (n *network) busy(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.listeners[host]; l != nil && len(l.queue) > 0 {
		return true
	}
	for e := range n.ends[host] {
		if e.ended || e.broken != nil {
			return true
		}
	}
	return false
}

// A listener is what network.listen returns. It implements [socket.Listener].
type listener struct {
	net     *network
	host    string
	addr    *net.TCPAddr
	queue   []*end
	closed  bool
	expired bool
	changed chan struct{}       // closed at each change; nil unless somebody waits
	wrap    func(*end) net.Conn // if not nil, what Accept returns
}

var _ socket.Listener = (*listener)(nil)

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	for {
		e, wait, err := l.tryAccept()
		switch {
		case wait != nil:
			<-wait
		case err != nil:
			return nil, err
		case l.wrap != nil:
			return l.wrap(e), nil
		default:
			return e, nil
		}
	}
}

func (l *listener) tryAccept() (*end, <-chan struct{}, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	switch {
	case l.closed:
		return nil, nil, net.ErrClosed
	case len(l.queue) > 0 && anyHas(l.net.noFiles[l.host], l.net.now()):
		return nil, nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", neterr.Errno(neterr.ProcessFiles))}
	case len(l.queue) > 0:
		e := l.queue[0]
		l.queue = l.queue[1:]
		return e, nil, nil
	case l.expired:
		return nil, nil, os.ErrDeadlineExceeded
	}
	return nil, wait(&l.changed), nil
}

// SetDeadline implements [socket.Listener].
func (l *listener) SetDeadline(t time.Time) error {
	l.net.after(t.Sub(l.net.start), func() {
		l.expired = true
		wake(&l.changed)
	})
	return nil
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	l.close(true)
	return nil
}

// close resets what waits to be accepted, unless nobody is to be told.
func (l *listener) close(told bool) {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.net.listeners, l.host)
	for _, e := range l.queue {
		e.lost = !told
		e.abort()
	}
	l.queue = nil
	wake(&l.changed)
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return l.addr }

// wait returns a channel that the next wake of the same place closes.
func wait(changed *chan struct{}) <-chan struct{} {
	if *changed == nil {
		*changed = make(chan struct{})
	}
	return *changed
}

func wake(changed *chan struct{}) {
	if *changed != nil {
		close(*changed)
		*changed = nil
	}
}
