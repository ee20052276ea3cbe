package e2e

import (
	"errors"
	"io"
	"net"
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

// The worker answers with its response and nothing more, and closes.
func TestWorkerBytes(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", quick...)
	for _, job := range []string{"AppID:Short", "AppID:Long", "AppID:Short:round_robin", " x : Short \r\n", "AppID:Short:whatever:else\n"} {
		if got, err := say(w.addr, job); got != response || err != nil {
			t.Errorf("%q: answer %q, %v", job, got, err)
		}
	}
	if canSignal {
		w.terminate()
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
	if canSignal {
		l.stopWith(44, 0)
	}
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
			t.Errorf("%s got %d jobs, want 2", w.name, n)
		}
	}
}

// The original client reads once; the answer has to be there in one piece.
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
		conn.Close()
	}
	l.stopWith(10, 0)
}

// A request may come in any pieces, with anything after it.
func TestOddInput(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	requests := map[string]string{
		"plain":                   shortRoundRobin,
		"newline":                 shortRoundRobin + "\n",
		"CRLF":                    shortRoundRobin + "\r\n",
		"spaces around fields":    "  AppID  :\tShort  : \t round_robin  ",
		"another first field":     "größe:Short:least_connections",
		"empty first field":       ":Short:least_connections",
		"two messages in one":     shortRoundRobin + shortLeast,
		"two messages in lines":   shortRoundRobin + "\n" + shortLeast + "\n",
		"64 KiB after it":         shortRoundRobin + "\n" + strings.Repeat("x", 64<<10),
		"the most before it":      strings.Repeat(" ", 1024-len(shortRoundRobin)) + shortRoundRobin,
		"what no terminal allows": "\x1b[2J:Short:round_robin",
	}
	answered := 0
	for name, text := range requests {
		if got := l.say(text); got != response {
			t.Errorf("%s: answer %q", name, got)
		}
		answered++
		if name == "64 KiB after it" {
			continue // the end of 65,000 single bytes would come after the answer
		}
		conn := connect(t, l.broker.addr)
		for i := range len(text) {
			send(t, conn, text[i:i+1])
		}
		conn.CloseWrite()
		if got := receive(t, conn); got != response {
			t.Errorf("%s, byte by byte and then half-closed: answer %q", name, got)
		}
		answered++
	}
	if canSignal {
		l.stopWith(answered, 0)
	}
	if strings.ContainsRune(l.broker.stdout.String(), '\x1b') {
		t.Error("a client wrote an escape to the broker's terminal")
	}
}

// A badInput is a text that is no message, and what the refusal has to say.
type badInput struct {
	name, text string
	reasons    []string
}

var badInputs = []badInput{
	{"one word", "hello\n", []string{`"hello"`, "AppID:<type>"}},
	{"newline only", "\n", []string{"AppID:<type>"}},
	{"unknown type", "AppID:Medium:round_robin", []string{`"Medium"`, "Long or Short"}},
	{"type in lower case", "AppID:short:round_robin", []string{`"short"`, "Long or Short"}},
	{"empty type", "AppID::round_robin", []string{"AppID:<type>"}},
	{"64 KiB", strings.Repeat("x", 64<<10), []string{`"xxx`, "1024"}},
	{"512 KiB, more than the system holds back", strings.Repeat("x", 512<<10), []string{`"xxx`, "1024"}},
	{"64 KiB of lines", strings.Repeat("x\n", 32<<10), []string{`"x"`}},
	{"64 KiB of spaces", strings.Repeat(" ", 64<<10), []string{"1024"}},
	{"not UTF-8", "App\xff\xfe:Short:round_robin", []string{`\xff\xfe`, "UTF-8"}},
	{"a type that is not UTF-8", "AppID:\xffShort:round_robin", []string{`\xff`}},
	{"an escape", "AppID:\x1b[2J:round_robin", []string{`\x1b[2J`}},
	{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", []string{`"GET / HTTP/1.1\r"`}},
	{"zero bytes", strings.Repeat("\x00", 100) + "\n", []string{`\x00`}},
}

// Bad input to the broker gets a refusal that really arrives, reaches no
// worker, and leaves the broker serving.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	workers := []*fake{goodWorker(t), goodWorker(t), goodWorker(t)}
	l := newBroker(t, []string{workers[0].addr, workers[1].addr, workers[2].addr}, "-request-timeout", "300ms")
	inputs := append(slices.Clone(badInputs),
		badInput{"type with a tail", "AppID:Shorter:round_robin", []string{`"AppID:Sho`}},
		badInput{"unknown approach", "AppID:Short:random", []string{`"random"`, "round_robin or least_connections"}},
		badInput{"no approach", "AppID:Short\n", []string{`"AppID:Short"`, "AppID:<type>:<approach>"}},
		badInput{"empty approach", "AppID:Short:\n", []string{"AppID:<type>:<approach>"}})
	for _, c := range inputs {
		t.Run(c.name, func(t *testing.T) {
			answer, err := say(l.broker.addr, c.text)
			if err != nil {
				t.Fatalf("%v, with %q received", err, answer)
			}
			isRefusal(t, answer, c.reasons...)
		})
	}
	for text, reason := range map[string]string{
		"":                  "AppID:<type>:<approach>",
		"AppID:Short":       "AppID:<type>:<approach>",
		"AppID:Short:round": `"round"`,
	} {
		conn := connect(t, l.broker.addr)
		send(t, conn, text)
		conn.CloseWrite()
		isRefusal(t, receive(t, conn), reason)
		isRefusal(t, l.say(text), "within 300ms") // and silence after it
	}
	isRefusal(t, dribble(t, l.broker.addr), "within 300ms")
	for _, w := range workers {
		if n := w.connections(); n != 0 {
			t.Errorf("bad input opened %d connections to a worker", n)
		}
	}
	l.works(3)
	l.stopWith(3, 0)
}

// The same for the worker's port. Its deadline is its own.
func TestBadJobs(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", quick...)
	for _, c := range badInputs {
		t.Run(c.name, func(t *testing.T) {
			answer, err := say(w.addr, c.text)
			if err != nil {
				t.Fatalf("%v, with %q received", err, answer)
			}
			isRefusal(t, answer, c.reasons...)
		})
	}
	conn := connect(t, w.addr)
	conn.CloseWrite()
	isRefusal(t, receive(t, conn), "AppID:<type>")
	silent := startVolley(w.addr, "", 1)
	isRefusal(t, dribble(t, w.addr), "within")
	for _, r := range silent() {
		isRefusal(t, r.text, "within")
	}
	if n := w.jobs(); n != 0 {
		t.Errorf("bad input started %d jobs", n)
	}
	if got, err := say(w.addr, "AppID:Short"); got != response || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	if canSignal {
		w.terminate()
	}
}

// dribble sends what could go on as a message for ever, a byte at a time and
// faster than any deadline that would start again at each byte, until the
// other side closes. It returns the answer.
func dribble(t *testing.T, addr string) string {
	t.Helper()
	conn := connect(t, addr)
	answered := make(chan reply, 1)
	go func() {
		b, err := io.ReadAll(conn)
		answered <- reply{string(b), err}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for sent := 0; ; sent++ {
		select {
		case r := <-answered:
			if r.err != nil || sent < 2 {
				t.Errorf("dribbling: %q, %v after %d bytes", r.text, r.err, sent)
			}
			return r.text
		case <-tick.C:
			io.WriteString(conn, "x") // it fails when the other side is tired of it
		}
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
