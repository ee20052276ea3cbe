package status

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/events"
	"balancelab/internal/protocol"
)

// streaming returns a server with two connections and this many streams.
func streaming(feed *events.Feed, streams int) *Server {
	mux := http.NewServeMux()
	mux.Handle("/events", stream(feed))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	return &Server{Handler: mux, MaxConns: 2, MaxStreams: streams}
}

// data returns the next data line of a stream, or why there is none.
func (m *member) data() string {
	for {
		line, err := m.r.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSpace(text)
		}
	}
}

// happens makes one event.
func happens(feed *events.Feed) {
	feed.Step(&broker.Exchange{Request: protocol.Request{Type: protocol.Long}, Attempts: 1, Worker: "Worker-1"}, broker.Assigned)
}

// Events come within a batch's time, a stream lasts for as long as its viewer
// reads, and a stop ends it.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := events.New(console.Off{})
		c := newCrowd(t, streaming(feed, 1))
		m := c.join(request("/events"))
		if got := m.data(); got != `{"event":"hello","at":0.000}` {
			t.Errorf("first %q", got)
		}
		for range 3 {
			time.Sleep(time.Minute)
			happens(feed)
			start := time.Now()
			if got := m.data(); !strings.HasPrefix(got, `{"event":"assigned","at":`) || time.Since(start) > batch {
				t.Errorf("%q after %v", got, time.Since(start))
			}
		}
		c.over()
	})
}

// Streams have places of their own: they take none from probes, no probe ends
// them, and one too many is told so.
func TestStreamsHavePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := events.New(console.Off{})
		c := newCrowd(t, streaming(feed, 3))
		for range 3 {
			c.join(request("/events")).data()
		}
		for range 10 {
			if took := c.probe(); took > 0 {
				t.Errorf("a probe waited for %v", took)
			}
		}
		fourth := c.join(request("/events"))
		reply, err := http.ReadResponse(fourth.r, nil)
		if err != nil || reply.StatusCode != http.StatusServiceUnavailable || reply.Header.Get("Retry-After") == "" {
			t.Errorf("one too many: %v, %v", reply, err)
		}
		if gone := c.closed(); len(gone) > 0 {
			t.Errorf("%v were closed", gone)
		}
		c.members[0].Close()
		synctest.Wait()
		happens(feed)
		time.Sleep(time.Second)
		if got := c.join(request("/events")).data(); !strings.HasPrefix(got, `{"event":"hello"`) {
			t.Errorf("after one has left: %q", got)
		}
		c.over()
	})
}

// firstIsStuck is a listener, and nothing can be written to the first connection
// that it accepts.
type firstIsStuck struct {
	net.Listener
	accepted bool
}

func (l *firstIsStuck) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if l.accepted || err != nil {
		return conn, err
	}
	l.accepted = true
	closed, ended := context.WithCancel(context.Background())
	return &stuckConn{Conn: conn, closed: closed, ended: ended}, nil
}

type stuckConn struct {
	net.Conn
	deadline time.Time
	closed   context.Context
	ended    context.CancelFunc
}

func (c *stuckConn) Close() error {
	c.ended()
	return c.Conn.Close()
}

func (c *stuckConn) SetWriteDeadline(at time.Time) error {
	c.deadline = at
	return nil
}

func (c *stuckConn) Write([]byte) (int, error) {
	select {
	case <-c.closed.Done():
		return 0, net.ErrClosed
	case <-time.After(time.Until(c.deadline)):
		return 0, os.ErrDeadlineExceeded
	}
}

// A viewer that does not read is cut off, and the others go on.
func TestStuckStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := events.New(console.Off{})
		c := newCrowdBehind(t, streaming(feed, 2), func(l net.Listener) net.Listener { return &firstIsStuck{Listener: l} })
		c.join(request("/events"))
		reads := c.join(request("/events"))
		reads.data()
		for range 200 {
			time.Sleep(time.Second / 10)
			happens(feed)
			if got := reads.data(); !strings.HasPrefix(got, `{"event":"assigned"`) {
				t.Fatalf("%q", got)
			}
		}
		if gone := c.closed(); len(gone) != 1 || gone[0] != 0 {
			t.Errorf("closed: %v, want the one that does not read", gone)
		}
		c.over()
	})
}
