package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// look is how often a page asks for the figures.
const look = 500 * time.Millisecond

// openTime is how long all pages together may take until events come.
const openTime = 10 * time.Second

// Pages are what viewers have open.
type pages struct {
	addr   string
	client http.Client
	cancel context.CancelFunc
	open   sync.WaitGroup // the goroutines

	mu  sync.Mutex // guards err
	err error      // the first
}

// watch opens n pages of a broker, and returns when each of them has its stream
// of events. The caller ends them.
func watch(ctx context.Context, addr string, n int) (*pages, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &pages{addr: addr, cancel: cancel}
	p.client.Transport = &http.Transport{MaxIdleConnsPerHost: n}
	late := time.NewTimer(openTime)
	defer late.Stop()
	for i := range n {
		came := make(chan struct{})
		p.open.Go(func() { p.note(ctx, p.stream(ctx, came)) })
		p.open.Go(func() { p.note(ctx, p.poll(ctx, look*time.Duration(i)/time.Duration(n))) })
		select {
		case <-came:
		case <-ctx.Done():
		case <-late.C:
			return nil, errors.Join(fmt.Errorf("viewer %d of %d has no stream of events", i+1, n), p.end())
		}
	}
	if ctx.Err() != nil {
		return nil, cmp.Or(p.end(), ctx.Err())
	}
	return p, nil
}

// end closes all pages. The error says what a page has missed before.
func (p *pages) end() error {
	p.cancel()
	p.open.Wait()
	p.client.CloseIdleConnections()
	return p.err
}

// note keeps the first error. What happens after the end is none. An error ends
// the others too: figures with fewer viewers would be no figures.
func (p *pages) note(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() == nil && p.err == nil {
		p.err = err
		p.cancel()
	}
}

// stream reads events until ctx is done. It closes came when the first one is
// there.
func (p *pages) stream(ctx context.Context, came chan<- struct{}) error {
	body, err := p.get(ctx, "/events")
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := body.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	close(came)
	_, err = io.Copy(io.Discard, body)
	return fmt.Errorf("the events have ended: %w", errors.Join(err, io.ErrUnexpectedEOF))
}

// poll asks for the figures again and again until ctx is done.
func (p *pages) poll(ctx context.Context, first time.Duration) error {
	for pause := time.After(first); ; pause = time.After(look) {
		select {
		case <-pause:
		case <-ctx.Done():
			return nil
		}
		body, err := p.get(ctx, "/status.json")
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, body)
		body.Close()
		if err != nil {
			return fmt.Errorf("read the figures: %w", err)
		}
	}
}

func (p *pages) get(ctx context.Context, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
	if err != nil {
		return nil, err
	}
	reply, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		reply.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, reply.Status)
	}
	return reply.Body, nil
}
