package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/neterr"
)

// A Client gives orders to a broker. Each method returns an error that says in
// words what to do about it, if the broker refuses the order or can't be reached.
type Client struct {
	// Addr is the address of the broker's status page.
	Addr string
	// Dial opens a connection to Addr; nil means TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// timeout is for one order to be answered. The broker answers at once.
const timeout = 10 * time.Second

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 16 << 20

// Workers returns all workers, in order.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) {
	var all list
	err := c.do(ctx, http.MethodGet, "/workers", nil, &all)
	return all.Workers, err
}

// Add adds a worker, and returns it with its name.
func (c *Client) Add(ctx context.Context, order New) (w Worker, err error) {
	err = c.do(ctx, http.MethodPost, "/workers", order, &w)
	return w, err
}

// Change changes a worker, and returns it as it is then.
func (c *Client) Change(ctx context.Context, name string, order Change) (Worker, error) {
	return c.named(ctx, http.MethodPatch, name, order)
}

// Remove removes a worker as soon as nothing is in flight there. The state of the
// worker that it returns is removed if it is gone already.
func (c *Client) Remove(ctx context.Context, name string) (Worker, error) {
	return c.named(ctx, http.MethodDelete, name, nil)
}

func (c *Client) named(ctx context.Context, method, name string, order any) (w Worker, err error) {
	if name == "" || name == "." || name == ".." { // a path that ends with it means another one
		return Worker{}, fmt.Errorf("%w: %q", balance.ErrUnknown, name)
	}
	err = c.do(ctx, method, "/workers/"+url.PathEscape(name), order, &w)
	return w, err
}

// pause is how long Drained waits before it looks again.
const pause = 100 * time.Millisecond

// Drained waits until a worker that drains has nothing in flight, and, if removed
// is true, is removed. It returns an error if the worker is up again.
func (c *Client) Drained(ctx context.Context, name string, removed bool) error {
	for {
		all, err := c.Workers(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s goes on draining, and is not waited for any longer", name)
		case err != nil:
			return err
		}
		w, there := find(all, name)
		switch {
		case !there, !removed && w.State == balance.Drained.String():
			return nil
		case w.State != balance.Drained.String() && w.State != balance.Draining.String():
			return fmt.Errorf("%s drains no longer: somebody has ordered it up again", name)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func find(all []Worker, name string) (w Worker, found bool) {
	for _, w := range all {
		if w.Name == name {
			return w, true
		}
	}
	return Worker{}, false
}

// An answer is what an order is answered with, unless it is refused.
type answer interface {
	// whole reports whether it was there. Another program may answer with JSON too.
	whole() bool
}

func (l *list) whole() bool   { return l.Workers != nil }
func (w *Worker) whole() bool { return w.Name != "" }

// do sends an order and reads the answer into to.
func (c *Client) do(ctx context.Context, method, path string, order any, to answer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body bytes.Buffer
	if order != nil {
		if err := json.NewEncoder(&body).Encode(order); err != nil {
			return fmt.Errorf("write the order: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.Addr+path, &body)
	if err != nil {
		return fmt.Errorf("write the order: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DialContext: c.Dial, DisableKeepAlives: true} // without a proxy
	reply, err := transport.RoundTrip(r)
	if err != nil {
		return c.unreachable(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxAnswer))
	if err != nil {
		return c.unreachable(err)
	}
	return c.answered(reply, text, to)
}

// answered reads an answer into to, or returns the reason of a refusal.
func (c *Client) answered(reply *http.Response, text []byte, to answer) error {
	var no refusal
	ok := reply.StatusCode == http.StatusOK || reply.StatusCode == http.StatusCreated
	switch {
	case ok && json.Unmarshal(text, to) == nil && to.whole():
		return nil
	case !ok && json.Unmarshal(text, &no) == nil && no.Error != "":
		return errors.New(no.Error)
	}
	return fmt.Errorf("what answers on %s takes no orders (%s): is it the status page of a broker?", c.Addr, reply.Status)
}

func (c *Client) unreachable(err error) error {
	if neterr.KindOf(err) == neterr.Refused {
		return fmt.Errorf("no status page on %s: start the broker with -status %s -control, or name another address with -status", c.Addr, c.Addr)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer from the status page on %s within %v", c.Addr, timeout)
	}
	if network := net.Error(nil); !errors.As(err, &network) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("what answers on %s speaks no HTTP: is it the status page of a broker?", c.Addr)
	}
	return fmt.Errorf("ask the status page on %s: %w", c.Addr, neterr.Reason(err))
}
