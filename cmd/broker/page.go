package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/cli"
	"balancelab/internal/control"
	"balancelab/internal/events"
	"balancelab/internal/runs"
	"balancelab/internal/stats"
	"balancelab/internal/status"
)

// A page is the live page of -status. It stays open while the broker drains,
// and is closed without waiting for its viewers.
type page struct {
	net.Listener
	line    *cli.Line    // is told what goes wrong
	control bool         // orders are taken
	orders  http.Handler // takes them, or says why not
	atOnce  int          // how many requests of a run are in flight at once
	runs    *runs.Runner // nil unless orders are taken
	feed    *events.Feed
	running sync.WaitGroup
	cancel  context.CancelFunc
}

// openPage binds the page's address and starts nothing yet. It says so if other
// machines can reach it. Without an address there is no page.
func openPage(ctx context.Context, line *cli.Line, addr string) (*page, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := status.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	if status.Exposed(l.Addr()) {
		line.Note("the status page on %s can be read by everybody who reaches this address; there is no password", exposedURL(addr, l.Addr()))
	}
	return &page{Listener: l, line: line, orders: control.Off()}, nil
}

// exposedURL returns the URL of a page at the address at, with the host as the
// command line has it: a listener on 0.0.0.0 has the address [::].
func exposedURL(given string, at net.Addr) string {
	host, _, _ := net.SplitHostPort(given)
	atHost, port, _ := net.SplitHostPort(at.String())
	return "http://" + net.JoinHostPort(cmp.Or(host, atHost), port) + "/"
}

// start serves the page until close is called, and returns the observer that
// the broker is to tell: it counts, and tells log. At most a number of viewers
// are connected at once.
func (p *page) start(stopping context.Context, pool *balance.Pool, listen net.Addr, log observer, viewers int) broker.Observer {
	recorder := stats.New(pool, log)
	p.feed = events.New(recorder)
	observer := p.takeRuns(pool, listen)
	handler := status.Handler(status.Site{Orders: p.orders, Events: p.feed, Snapshot: func() stats.Snapshot {
		s := recorder.Snapshot()
		s.Listen, s.Stopping, s.Control = listen.String(), stopping.Err() != nil, p.control
		s.Run, s.Totals.LinesDropped = p.run(), log.NotShown()
		return s
	}})
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	p.cancel = cancel
	p.running.Go(func() { recorder.Watch(ctx) })
	p.running.Go(func() {
		s := status.Server{
			Handler: handler, MaxConns: max(1, viewers-streams(viewers)), MaxStreams: streams(viewers), Panicked: p.line.Panicked,
		}
		if err := s.Serve(ctx, p.Listener); err != nil {
			p.line.Fail(err)
		}
	})
	return observer
}

// takeRuns adds runs to the orders, if any are taken, and returns the observer
// that the broker is to tell.
func (p *page) takeRuns(pool *balance.Pool, listen net.Addr) broker.Observer {
	if !p.control {
		return p.feed
	}
	addr := ownAddr(listen)
	p.runs = runs.New(runs.Config{
		Pool: pool, Addr: addr, Dial: runs.Dial(addr), Observer: p.feed, MaxAtOnce: p.atOnce, Note: p.feed.Note,
	})
	mux := http.NewServeMux()
	mux.Handle("/run", control.Runs(p.runs))
	mux.Handle("/", p.orders)
	p.orders = mux
	return p.runs
}

// ownAddr returns where the broker connects to itself, if it listens at addr.
func ownAddr(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err == nil && at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
	}
	return addr.String()
}

// run returns what a snapshot says of the latest run.
func (p *page) run() *stats.Run {
	if p.runs == nil {
		return nil
	}
	id, part, running := p.runs.Latest()
	if id == 0 {
		return nil
	}
	return &stats.Run{ID: id, Running: running, Part: part}
}

// afterRuns returns a context that is done when ctx is, and the run that goes on
// then was stopped. So the broker does not wait for requests of its own.
func (p *page) afterRuns(ctx context.Context) context.Context {
	if p == nil || p.runs == nil {
		return ctx
	}
	after, done := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		p.runs.Close()
		done(context.Cause(ctx))
	})
	return after
}

// streams returns how many of the viewers' connections may be streams of events.
func streams(viewers int) int { return min(events.MaxViewers, viewers/2) }

func (p *page) close() {
	if p.runs != nil {
		p.runs.Close()
	}
	p.cancel()
	p.running.Wait()
}
