package protocol

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/neterr"
	"balancelab/internal/socket"
)

// A broker is what Ask connects to, in memory.
type broker struct {
	net   memnet.Net
	serve func(c *memnet.Conn, request string) // after it has read the request
	ended chan error                           // what is read after that, when the client has closed
}

// inBubble runs f with a broker that does what serve does.
func inBubble(t *testing.T, serve func(*memnet.Conn, string), f func(*testing.T, *broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &broker{serve: serve, ended: make(chan error, 1)}
		l := b.net.Listen("broker")
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			text := make([]byte, MaxLen)
			n, _ := c.Read(text)
			b.serve(c.(*memnet.Conn), string(text[:n]))
			_, err = c.Read(text)
			b.ended <- err
		}()
		f(t, b)
		l.Close()
	})
}

func (b *broker) dial(ctx context.Context) (net.Conn, error) { return b.net.Dial(ctx, "broker") }

var aRequest = Request{Type: Long, Approach: LeastConnections}

// hangs answers nothing until the client has gone.
func hangs(*memnet.Conn, string) {}

// Ask sends the request as it is, returns the answer, and closes.
func TestAsk(t *testing.T) {
	sent := ""
	inBubble(t, func(c *memnet.Conn, request string) {
		sent = request
		time.Sleep(time.Minute)
		io.WriteString(c, "an answer")
		c.CloseWrite()
	}, func(t *testing.T, b *broker) {
		start := time.Now()
		answer, err := Ask(t.Context(), b.dial, aRequest)
		if answer != "an answer" || err != nil || time.Since(start) != time.Minute {
			t.Errorf("%q, %v after %v", answer, err, time.Since(start))
		}
		if err := <-b.ended; err != io.EOF {
			t.Errorf("the connection is not closed: %v", err)
		}
		if sent != "AppID:Long:least_connections" {
			t.Errorf("sent %q", sent)
		}
	})
}

// A refusal is an error, whose text is the reason.
func TestAskIsRefused(t *testing.T) {
	inBubble(t, func(c *memnet.Conn, _ string) {
		io.WriteString(c, "Error: no")
		c.CloseWrite()
	}, func(t *testing.T, b *broker) {
		answer, err := Ask(t.Context(), b.dial, aRequest)
		if refusal := (*RefusalError)(nil); answer != "" || !errors.As(err, &refusal) || refusal.Reason != "no" || err.Error() != "no" {
			t.Errorf("%q, %v", answer, err)
		}
		<-b.ended
	})
}

// failing is a connection on which an operation fails.
type failing struct {
	socket.Conn
	write, read error
}

func (c failing) Write(p []byte) (int, error) {
	if c.write != nil {
		return 0, c.write
	}
	return c.Conn.Write(p)
}

func (c failing) Read(p []byte) (int, error) {
	if c.read != nil {
		return 0, c.read
	}
	return c.Conn.Read(p)
}

// The error names the step that failed and wraps the reason. A deadline of the
// connection is that of the context, whichever is noticed first.
func TestAskFails(t *testing.T) {
	refused, reset := neterr.Errno(neterr.Refused), neterr.Errno(neterr.Reset)
	for _, test := range []struct {
		name        string
		dial        error
		write, read error
		step        Step
		want        error
		text        string
	}{
		{name: "connect", dial: refused, step: Connect, want: refused, text: "connect: connection refused"},
		{name: "connect in time", dial: os.ErrDeadlineExceeded, step: Connect, want: context.DeadlineExceeded, text: "connect: context deadline exceeded"},
		{name: "send", write: reset, step: Send, want: reset, text: "send the request: connection reset by peer"},
		{name: "send in time", write: os.ErrDeadlineExceeded, step: Send, want: context.DeadlineExceeded, text: "send the request: context deadline exceeded"},
		{name: "receive", read: reset, step: Receive, want: reset, text: "read the answer: connection reset by peer"},
		{name: "receive in time", read: os.ErrDeadlineExceeded, step: Receive, want: context.DeadlineExceeded, text: "read the answer: context deadline exceeded"},
		{name: "nothing", read: io.EOF, step: Receive, want: ErrNoAnswer, text: "read the answer: closed without an answer"},
	} {
		inBubble(t, hangs, func(t *testing.T, b *broker) {
			dial := func(ctx context.Context) (net.Conn, error) {
				if test.dial != nil {
					return nil, test.dial
				}
				c, err := b.net.Dial(ctx, "broker")
				return failing{c, test.write, test.read}, err
			}
			_, err := Ask(t.Context(), dial, aRequest)
			if failed := (*AskError)(nil); !errors.As(err, &failed) || failed.Step != test.step || !errors.Is(err, test.want) || neterr.InWords(err).Error() != test.text {
				t.Errorf("%s: %v, want %s", test.name, err, test.text)
			}
			if test.dial == nil {
				<-b.ended // it is closed, or the bubble reports a deadlock
			}
		})
	}
}

// When its context is done Ask gives up, whatever it waits for.
func TestAskGivesUp(t *testing.T) {
	inBubble(t, hangs, func(t *testing.T, b *broker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := Ask(ctx, b.dial, aRequest); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		<-b.ended
	})
	inBubble(t, hangs, func(t *testing.T, b *broker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		time.AfterFunc(time.Minute, cancel)
		if _, err := Ask(ctx, b.dial, aRequest); !errors.Is(err, context.Canceled) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		<-b.ended
	})
}

// suspended is a connection of a program that is suspended before it reads, and
// counts the deadlines that are set.
type suspended struct {
	socket.Conn
	during    time.Duration
	deadlines *atomic.Int32
}

func (c suspended) Read(p []byte) (int, error) {
	time.Sleep(c.during)
	return c.Conn.Read(p)
}

func (c suspended) SetDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetDeadline(t)
}

// An answer that has come by the deadline is returned, however late it is looked
// at. When Ask has returned, nothing watches its context any more.
func TestAnswerThatIsReadLate(t *testing.T) {
	inBubble(t, func(c *memnet.Conn, _ string) {
		io.WriteString(c, "in time\n")
	}, func(t *testing.T, b *broker) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var deadlines atomic.Int32
		answer, err := Ask(ctx, func(ctx context.Context) (net.Conn, error) {
			c, err := b.net.Dial(ctx, "broker")
			return suspended{c, time.Hour, &deadlines}, err
		}, aRequest)
		if answer != "in time" || err != nil {
			t.Errorf("%q, %v", answer, err)
		}
		<-b.ended
	})
	inBubble(t, func(c *memnet.Conn, _ string) {
		io.WriteString(c, "at once\n")
	}, func(t *testing.T, b *broker) {
		ctx, cancel := context.WithCancel(t.Context())
		var deadlines atomic.Int32
		_, err := Ask(ctx, func(ctx context.Context) (net.Conn, error) {
			c, err := b.net.Dial(ctx, "broker")
			return suspended{c, 0, &deadlines}, err
		}, aRequest)
		before := deadlines.Load()
		cancel()
		synctest.Wait()
		if after := deadlines.Load(); err != nil || after != before {
			t.Errorf("%v; %d deadlines were set after the answer", err, after-before)
		}
		<-b.ended
	})
}
