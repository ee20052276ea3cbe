package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/cli"
	"balancelab/internal/control"
	"balancelab/internal/events"
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
	handler := status.Handler(status.Site{Orders: p.orders, Events: p.feed, Snapshot: func() stats.Snapshot {
		s := recorder.Snapshot()
		s.Listen, s.Stopping, s.Control = listen.String(), stopping.Err() != nil, p.control
		s.Totals.LinesDropped = log.NotShown()
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
	return p.feed
}

// streams returns how many of the viewers' connections may be streams of events.
func streams(viewers int) int { return min(events.MaxViewers, viewers/2) }

func (p *page) close() {
	p.cancel()
	p.running.Wait()
}
