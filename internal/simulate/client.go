package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// patience is how long anything is waited for at most. In a lab that works a whole
// run is over in a quarter of an hour; in one that hangs, each hour of timers that fire
// in vain takes real time.
const patience = 3 * time.Hour

// A client is one that asks once.
type client struct {
	*lab
	clientPlan
	extra bool // it is not in the plan
	probe bool // all is well: it must be answered

	conn             *end // nil if it could not connect
	connected, ended time.Duration
	text             string // all that it read
	err              error  // why it read no more; nil for the end of the stream
	left             bool   // it left of its own accord
	answered         bool   // what it read is no refusal
}

// startClients starts them, each at its time.
func (l *lab) startClients() *sync.WaitGroup {
	var asked sync.WaitGroup
	l.all = make([]*client, 0, len(l.clients))
	for _, plan := range l.clients {
		c := &client{lab: l, clientPlan: plan}
		l.all = append(l.all, c)
	}
	asked.Go(func() {
		for _, c := range l.all[:len(l.clients)] {
			l.sleepUntil(c.at)
			asked.Go(c.ask)
		}
	})
	return &asked
}

// ask connects, and does what the client's behaviour is.
func (c *client) ask() {
	if c.behaviour == crowd {
		c.left = true
		c.crowd()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if c.behaviour == usual {
		c.usual(ctx)
	} else if conn, err := c.connect(ctx); err == nil {
		c.behave(conn)
		conn.Close()
	} else {
		c.err = err
	}
	c.ended = c.net.now()
	c.came(c)
}

func (c *client) connect(ctx context.Context) (net.Conn, error) {
	e, err := c.net.dial(ctx, route{clientsHost, brokerHost}, uint64(c.number)<<20, patience)
	if err != nil {
		return nil, err
	}
	c.conn, c.connected = e, c.net.now()
	c.connects(c)
	return e, nil
}

// crowd is a load run as cmd/client makes one. Its report must say what its
// clients say.
func (c *client) crowd() {
	var answered, failed atomic.Int64
	report := load.Run(context.Background(), load.Config{
		Plan: c.load, C: c.most,
		Do: func(_ context.Context, r protocol.Request) error {
			one := &client{lab: c.lab, clientPlan: clientPlan{number: c.lastNumber(), at: c.net.now(), request: r}, extra: true}
			one.ask()
			if one.answered {
				answered.Add(1)
				return nil
			}
			failed.Add(1)
			return cmp.Or(one.err, error(&protocol.RefusalError{Reason: one.text}))
		},
	})
	if r := report.Requests; r.OK != answered.Load() || r.Failed != failed.Load() || r.OK+r.Failed != int64(c.load.N) {
		c.fault("client %d: the report says %+v of %d requests; %d were answered, %d failed", c.number, r, c.load.N, answered.Load(), failed.Load())
	}
}

// usual asks as cmd/client does.
func (c *client) usual(ctx context.Context) {
	c.text, c.err = protocol.Ask(ctx, c.connect, c.request)
	var refusal *protocol.RefusalError
	if errors.As(c.err, &refusal) {
		c.text, c.err = protocol.Refusal(refusal.Reason), nil
		return
	}
	c.answered = c.err == nil
}

func (c *client) behave(conn net.Conn) {
	e := c.conn
	e.SetDeadline(time.Now().Add(patience))
	text := c.clientPlan.request.String()
	switch c.behaviour {
	case halfClose:
		io.WriteString(e, text)
		e.CloseWrite()
	case bytewise:
		c.dribble(text, 1)
	case slow:
		c.dribble(text, 1+len(text)/2)
	case deaf, leaver, resetter:
		c.left = true
		io.WriteString(e, text)
		time.Sleep(c.pause)
		if c.behaviour == resetter {
			e.Reset()
		}
		return
	case visitor:
		c.left = true
		time.Sleep(c.pause)
		return
	case rubbish:
		io.WriteString(e, c.clientPlan.text)
	case talker:
		io.WriteString(e, text+strings.Repeat("\nand more", c.number%50))
	}
	b, err := io.ReadAll(conn)
	c.text, c.err = string(b), err
	_, refused := protocol.CutRefusal(c.text)
	c.answered = err == nil && !refused && c.text != "" && !strings.HasPrefix(c.text, "HTTP/")
}

// dribble sends text in pieces, with the client's pause spread between them.
func (c *client) dribble(text string, n int) {
	pieces := (len(text) + n - 1) / n
	for i := 0; i < len(text); i += n {
		if i > 0 {
			time.Sleep(c.pause / time.Duration(pieces))
		}
		if _, err := io.WriteString(c.conn, text[i:min(i+n, len(text))]); err != nil {
			return
		}
	}
}

// excused reports whether a client may have ended without an answer and without a
// refusal: its connection was harmed, or there was no broker, or it left, or it
// sent more when it had been refused already, or the broker stopped before it was accepted. The caller
// holds the checker's lock.
func (c *client) excused() bool {
	b := &c.plan.broker
	switch {
	case c.left, c.behaviour == halfClose && b.abortOnClose, c.conn != nil && c.conn.harmed.Load():
		return true
	case (c.behaviour == slow || c.behaviour == bytewise) && c.pause > b.request-2*time.Second:
		return true
	case c.conn == nil && c.plan.has(brokerCrash, c.at, c.ended):
		return true
	case c.stopAt == 0 || c.ended < c.stopAt:
		return false
	}
	return c.conn == nil || c.requests[c.conn.local] == nil || c.connected+c.pause > c.stopAt-2*time.Second || b.maxConns > 0 || b.drain < time.Minute
}

// waited returns how long the client has waited since it was accepted, and its
// connection had no trouble any more. How long it takes to be accepted depends on
// the broker's places and files.
func (c *client) waited() time.Duration {
	if c.conn == nil || c.requests[c.conn.local] == nil {
		return 0
	}
	since := c.requests[c.conn.local].accepted
	if c.conn.harmed.Load() {
		since = max(since, c.plan.end())
	}
	return c.ended - since
}

// bound returns how long the client may have waited at most.
func (c *client) bound() time.Duration {
	b := c.plan.broker
	const attempts = 3 + 2 // as long as three, and one more: with -keepalive that may be two
	return c.pause + b.request + b.queue + attempts*(b.dial+b.answer) + 10*time.Second
}

// check says what is wrong with how the client ended.
func (c *client) check() error {
	switch {
	case c.waited() > c.bound():
		return fmt.Errorf("it waited for %v", c.waited())
	case c.probe && !c.answered:
		return fmt.Errorf("all is well, and it got %q, %v", c.text, c.err)
	case c.excused():
		return nil
	case c.err != nil:
		return fmt.Errorf("it got neither an answer nor a refusal: %q, %w", c.text, c.err)
	case c.text == "":
		return errors.New("its connection was closed without a word")
	}
	return nil
}
