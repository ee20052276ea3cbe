package main

import (
	"context"
	"net"
	"sync"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/stats"
	"balancelab/internal/status"
)

// A page is the live page of -status. It stays open while the broker drains,
// and is closed without waiting for anybody who looks at it.
type page struct {
	net.Listener
	running sync.WaitGroup
	cancel  context.CancelFunc
}

// openPage binds the page's address and starts nothing yet. Without an address
// there is no page.
func openPage(ctx context.Context, addr string) (*page, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := status.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &page{Listener: l}, nil
}

// start serves the page until close is called, and returns the observer that
// the broker is to tell: it counts, and tells next. failed is told why, if
// serving ends before.
func (p *page) start(stopping context.Context, pool *balance.Pool, listen net.Addr, next broker.Observer, failed func(error)) broker.Observer {
	recorder := stats.New(pool, next)
	handler := status.Handler(func() stats.Snapshot {
		s := recorder.Snapshot()
		s.Listen, s.Stopping = listen.String(), stopping.Err() != nil
		return s
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(stopping))
	p.cancel = cancel
	p.running.Go(func() { recorder.Watch(ctx) })
	p.running.Go(func() {
		if err := status.Serve(ctx, p.Listener, handler); err != nil {
			failed(err)
		}
	})
	return recorder
}

func (p *page) close() {
	p.cancel()
	p.running.Wait()
}
