package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// untilClosed answers, tells the peer that nothing follows, and returns all
// that the peer says until it closes: what it wrote, and nothing more.
func untilClosed(f *fake, conn *net.TCPConn) {
	b := make([]byte, 1024)
	n, _ := conn.Read(b)
	io.WriteString(conn, response)
	conn.CloseWrite()
	rest, _ := io.ReadAll(conn)
	f.hears(string(b[:n]) + string(rest))
}

// The client writes the request and nothing more, no newline and no
// half-close.
func TestClientBytes(t *testing.T) {
	t.Parallel()
	const enough = 100 * time.Millisecond // for anything that follows the request
	follows := make(chan error, 1)
	broker := newFake(t, func(f *fake, conn *net.TCPConn) {
		b := make([]byte, 1024)
		n, _ := io.ReadFull(conn, b[:len(longLeast)])
		conn.SetReadDeadline(time.Now().Add(enough))
		_, err := conn.Read(make([]byte, 1))
		follows <- err
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, response)
		conn.CloseWrite()
		rest, _ := io.ReadAll(conn)
		f.hears(string(b[:n]) + string(rest))
	})
	if got := run(t, "client", "-broker", broker.addr, "Long", "least_connections"); got != (result{stdout: received}) {
		t.Errorf("client: %+v", got)
	}
	if err := await(t, "the request", follows); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("what followed the request was a byte, or a half-close: %v", err)
	}
	broker.awaitHeard(t, longLeast)
}

// awaitHeard waits until as many peers have said what they had to say, in any
// order.
func (f *fake) awaitHeard(t *testing.T, want ...string) {
	t.Helper()
	for range want {
		await(t, "the rest of what a peer says", f.said)
	}
	got := f.allHeard()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// The broker writes the job and nothing more, on a new connection for each.
func TestBrokerBytes(t *testing.T) {
	t.Parallel()
	worker := newFake(t, untilClosed)
	l := newBroker(t, []string{worker.addr})
	for _, request := range []string{longLeast, shortRoundRobin, "\tAppID : Long\r: least_connections\r\nmore"} {
		if got := l.say(request); got != response {
			t.Errorf("%q: answer %q", request, got)
		}
	}
	l.stopWith(3, 0)
	worker.awaitHeard(t, "AppID:Long", "AppID:Short", "AppID:Long")
	if n := worker.connections(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
}

func TestOriginalWorker(t *testing.T) {
	t.Parallel()
	a, b := originalWorker(t), originalWorker(t)
	l := newBroker(t, []string{a.addr, b.addr})
	for _, n := range []int{1, 2, 1, 2} {
		l.askFor(n, "Long", "round_robin")
	}
	// What is no request, and a client that leaves, must not reach a worker:
	// it would die of the empty connection.
	isRefusal(t, l.say("nonsense\n"))
	silent := connect(t, l.broker.addr)
	silent.Close()
	allAnswered(t, volley(l.broker.addr, shortLeast, 40))
	l.stopWith(44, 0)
	for _, f := range []*fake{a, b} {
		if f.isDead() {
			t.Error("an original worker died of an empty connection")
		}
		for _, text := range f.allHeard() {
			if text != "AppID:Long" && text != "AppID:Short" {
				t.Errorf("an original worker read %q", text)
			}
		}
	}
	if n := a.connections() + b.connections(); n != 44 {
		t.Errorf("%d connections for 44 requests", n)
	}
}

func TestOriginalBroker(t *testing.T) {
	t.Parallel()
	w1 := startWorker(t, 1, "127.0.0.1:0", quick...)
	w2 := startWorker(t, 2, "127.0.0.1:0", quick...)
	broker := originalBroker(t, w1.addr, w2.addr)
	for range 4 {
		if got := run(t, "client", "-broker", broker.addr, "Short", "round_robin"); got != (result{stdout: received}) {
			t.Errorf("client: %+v", got)
		}
	}
	for _, text := range broker.allHeard() {
		if text != shortRoundRobin {
			t.Errorf("the original broker read %q", text)
		}
	}
	for _, w := range []*program{w1, w2} {
		if n := len(w.linesLike(`^\[Worker\] Processing short request from `, 2)); n != 2 {
			t.Errorf("%s got %d jobs, want 2", w.Name, n)
		}
	}
}

// The original client reads once; the answer has to be there in one piece. The
// address that the broker shows is the client's own.
func TestOriginalClient(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 10 {
		conn := connect(t, l.broker.addr)
		send(t, conn, shortLeast)
		b := make([]byte, 1024)
		if n, err := conn.Read(b); err != nil || string(b[:n]) != response {
			t.Errorf("one read gave %q, %v", b[:n], err)
		}
		l.broker.line(`^\[Broker\] Connected with ` + peerOf(conn) + `$`)
		conn.Close()
	}
	l.stopWith(10, 0)
}

// A request may come in any pieces, with anything after it.
func TestOddInput(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	requests := map[string]struct{ text, after string }{
		"plain":                   {shortRoundRobin, ""},
		"spaces around fields":    {"  AppID  :\tShort  : \t round_robin  ", ""},
		"two messages in one":     {shortRoundRobin, shortLeast},
		"64 KiB after it":         {shortRoundRobin, "\n" + strings.Repeat("x", 64<<10)},
		"what no terminal allows": {"\x1b[2J:Short:round_robin", ""},
	}
	answered := 0
	for name, r := range requests {
		if got := l.say(r.text + r.after); got != response {
			t.Errorf("%s: answer %q", name, got)
		}
		conn := connect(t, l.broker.addr)
		last := len(r.text) - 1
		for i := range last {
			send(t, conn, r.text[i:i+1])
		}
		send(t, conn, r.text[last:]+r.after) // at once: the answer comes, and the broker closes soon after it
		conn.CloseWrite()
		if got := receive(t, conn); got != response {
			t.Errorf("%s, byte by byte and then half-closed: answer %q", name, got)
		}
		answered += 2
	}
	l.stopWith(answered, 0)
	if strings.ContainsRune(l.broker.Stdout.String(), '\x1b') {
		t.Error("a client wrote an escape to the broker's terminal")
	}
}

// Bad input gets a refusal that really arrives, however much of it is unread,
// and leaves broker and worker serving. The broker contacts no worker.
func TestBadInput(t *testing.T) {
	t.Parallel()
	workers := []*fake{goodWorker(t), goodWorker(t), goodWorker(t)}
	l := newBroker(t, []string{workers[0].addr, workers[1].addr, workers[2].addr})
	w := startWorker(t, 1, "127.0.0.1:0", quick...)
	for _, c := range []struct{ name, text, reason string }{
		{"one word", "hello\n", `"hello"`},
		{"64 KiB", strings.Repeat("x", 64<<10), "longer than 1024"},
		{"512 KiB, more than the system holds back", strings.Repeat("x", 512<<10), "longer than 1024"},
		{"64 KiB of lines", strings.Repeat("x\n", 32<<10), `"x"`},
		{"64 KiB of spaces", strings.Repeat(" ", 64<<10), "longer than 1024"},
		{"an escape", "AppID:\x1b[2J:round_robin", `\x1b[2J`},
		{"zero bytes", strings.Repeat("\x00", 100) + "\n", `\x00`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range []*program{l.broker, w} {
				answer, err := say(p.addr, c.text)
				if err != nil {
					t.Fatalf("%s: %v, with %q received", p.Name, err, answer)
				}
				isRefusal(t, answer, c.reason, "want ")
			}
		})
	}
	for _, c := range []struct {
		to           *program
		text, reason string
	}{
		{l.broker, "", "AppID:<type>:<approach>"},
		{l.broker, "AppID:Short", "AppID:<type>:<approach>"},
		{l.broker, "AppID:Short:round", `"round"`},
		{w, "", "AppID:<type>"},
	} {
		conn := connect(t, c.to.addr)
		send(t, conn, c.text)
		conn.CloseWrite()
		isRefusal(t, receive(t, conn), c.reason)
	}
	for _, p := range []*program{l.broker, w} { // a browser can read what this is
		answer, err := say(p.addr, "GET /x:Short:round_robin HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")
		reply, bad := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
		if err != nil || bad != nil || reply.StatusCode != http.StatusBadRequest || !strings.Contains(answer, "This is the "+p.Name) {
			t.Errorf("%s answered a browser with %q, %v, %v", p.Name, answer, err, bad)
		}
	}
	for _, f := range workers {
		if n := f.connections(); n != 0 {
			t.Errorf("bad input opened %d connections to a worker", n)
		}
	}
	l.works(3)
	l.stopWith(3, 0)
	if n := w.jobs(); n != 0 {
		t.Errorf("bad input started %d jobs", n)
	}
	if got, err := say(w.addr, "AppID:Short"); got != response || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

// A client that is refused while it still writes is not cut off: the reset
// could overtake the refusal.
func TestRefusedWhileWriting(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, addr := range []string{l.broker.addr, l.workers[0].addr} {
		conn := connect(t, addr)
		send(t, conn, "x\n")
		begin := make([]byte, len("Error: "))
		if _, err := io.ReadFull(conn, begin); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			send(t, conn, strings.Repeat("x", 64<<10))
		}
		conn.CloseWrite()
		isRefusal(t, string(begin)+receive(t, conn), `"x"`)
	}
	l.works(3)
	l.stopWith(3, 0)
}
