package worker

import (
	"bufio"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// keptIdle returns a connection that has had an answer, and is kept.
func (l *lab) keptIdle() *memnet.Conn {
	l.t.Helper()
	c := l.send("AppID-keep#1f:Short\n")
	answer := make([]byte, len(named))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != named {
		l.t.Errorf("%q, %v", answer, err)
	}
	synctest.Wait()
	return c
}

// read returns all that comes on c.
func (l *lab) read(c io.Reader) string {
	l.t.Helper()
	text, err := io.ReadAll(c)
	if err != nil {
		l.t.Errorf("reading: %v", err)
	}
	return string(text)
}

// However a connection ends without a job, its peer is told what it can
// understand, and the observer what is worth a line.
func TestConnectionsWithoutAJob(t *testing.T) {
	for _, test := range []struct {
		name    string
		do      func(*memnet.Conn)
		answer  string
		took    time.Duration
		refused []string
	}{
		{"silent", func(*memnet.Conn) {},
			`Error: incomplete job: got "", want AppID:<type> within 5s`, JobTimeout, []string{`incomplete job: got "", want AppID:<type> within 5s`}},
		{"half-closes at once", func(c *memnet.Conn) { c.CloseWrite() },
			"Error: empty job: want AppID:<type>", 0, nil},
		{"a browser", func(c *memnet.Conn) { io.WriteString(c, "GET /x:Short HTTP/1.1\r\n\r\n") },
			protocol.HTTPRefusal("worker"), 0, []string{"this is no HTTP server: want AppID:<type>"}},
	} {
		inSlots(t, 0, func(l *lab) {
			c := l.send("")
			test.do(c)
			start := time.Now()
			expect(t, test.name+": the answer", l.read(c), test.answer)
			expect(t, test.name+": it took", time.Since(start), test.took)
			if !slices.Equal(l.book.refused, test.refused) || len(l.book.started) != 0 {
				t.Errorf("%s: told %q, want %q", test.name, l.book.refused, test.refused)
			}
			c.Close()
		})
	}
}

// A peer that is gone in the middle of its job is refused nothing.
func TestResetInTheMiddleOfAJob(t *testing.T) {
	inSlots(t, 0, func(l *lab) {
		c := l.send("AppID:Lo")
		synctest.Wait()
		c.Reset()
		synctest.Wait()
		expect(t, "refused", len(l.book.refused), 0)
	})
}

// A broker that ends a kept connection is told nothing, even if it could still
// read.
func TestEndOfAKeptConnection(t *testing.T) {
	inSlots(t, 0, func(l *lab) {
		kept := l.keptIdle()
		kept.CloseWrite()
		expect(t, "told", l.read(kept), "")
		kept.Close()
	})
}

// A worker that refuses a job, or says that it did not take one, goes on reading
// for a moment: what comes meanwhile must not destroy what it has said.
func TestPeerMayStillSend(t *testing.T) {
	inSlots(t, 0, func(l *lab) {
		refused := l.send("AppID:Medium")
		if _, err := io.ReadFull(refused, make([]byte, len("Error: "))); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, rest := range []string{":round_", "robin"} { // a closed peer answers the first by a reset
			if _, err := io.WriteString(refused, rest); err != nil {
				t.Errorf("the rest of a job that was refused: %v", err)
			}
		}
		refused.Close()
		kept := l.keptIdle()
		stopped := make(chan time.Duration)
		go func() { stopped <- l.stop() }()
		if _, err := io.ReadFull(kept, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, job := range []string{"AppID-keep#2:", "Short\n"} {
			if _, err := io.WriteString(kept, job); err != nil {
				t.Errorf("a job that crossed the empty line: %v", err)
			}
		}
		kept.Close()
		<-stopped
	})
}

// A plain answer ends its connection at once, whether or not the asker closes.
func TestAnsweredConnectionIsClosed(t *testing.T) {
	inSlots(t, 0, func(l *lab) {
		c := l.send("AppID:Short")
		expect(t, "answer", l.read(c), protocol.Response)
		synctest.Wait()
		c.Write([]byte("x")) // which a closed peer answers by a reset
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("the connection is still open")
		}
		c.Close()
	})
}

// At the limit an idle kept connection gives way: it is told that no job was
// taken, and the next one is served at once.
func TestKeptConnectionGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabOf(t, 0, 1, nil)
		kept := l.keptIdle()
		answer, took := l.ask("AppID:Short")
		expect(t, "answer", answer, protocol.Response)
		expect(t, "it took", took, 2*time.Second)
		expect(t, "the kept connection was told", l.read(kept), "\n")
		expect(t, "refused", len(l.book.refused), 0)
		kept.Close()
		l.stop()
	})
}

// noted is a connection that notes what its keep-alive was set to, and how often
// it was closed.
type noted struct {
	socket.Conn
	mu        sync.Mutex // guards all below
	keepAlive []bool
	closed    int
}

func (c *noted) SetKeepAlive(on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keepAlive = append(c.keepAlive, on)
	return c.Conn.SetKeepAlive(on)
}

func (c *noted) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return c.Conn.Close()
}

// A connection that is kept, and no other, is watched by TCP's keep-alive: it may
// be idle for ever.
func TestKeptConnectionsAreProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns []*noted
		l := newLabOf(t, 0, 0, func(c socket.Conn) socket.Conn {
			n := &noted{Conn: c}
			conns = append(conns, n)
			return n
		})
		l.ask("AppID:Short")
		kept := l.keptIdle()
		io.WriteString(kept, "AppID-keep#1f:Short\n")
		bufio.NewReader(kept).ReadString('\n')
		kept.Close()
		synctest.Wait()
		for i, want := range [][]bool{nil, {true}} {
			if c := conns[i]; !slices.Equal(c.keepAlive, want) || c.closed == 0 {
				t.Errorf("connection %d: keep-alive %v, want %v; closed %d times", i, c.keepAlive, want, c.closed)
			}
		}
		l.stop()
	})
}

// deaf is a connection whose peer reads nothing: a write waits for its deadline.
type deaf struct {
	socket.Conn
	deadline time.Time
}

func (c *deaf) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *deaf) Write([]byte) (int, error) {
	if c.deadline.IsZero() {
		select {} // for ever: the bubble panics
	}
	time.Sleep(time.Until(c.deadline))
	return 0, os.ErrDeadlineExceeded
}

// A broker that does not read the answer on a kept connection is given up.
func TestBrokerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLabOf(t, 0, 0, func(c socket.Conn) socket.Conn { return &deaf{Conn: c} })
		kept := l.send("AppID-keep#1f:Short\n")
		start := time.Now()
		io.ReadAll(kept)
		expect(t, "given up after", time.Since(start), time.Second+JobTimeout)
		kept.Close()
		l.stop()
	})
}
