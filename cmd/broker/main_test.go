package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
	"balancelab/internal/protocol"
	"balancelab/internal/stats"
)

// A program is the broker as it runs.
type program struct {
	addr string        // where clients connect
	page string        // the URL of its live page; "" if it has none
	stop func() result // stops it; more calls return the same
}

// A result is what a program leaves behind.
type result struct {
	code           int
	stdout, stderr string
}

// places are what a program says of where it is.
var (
	clients = regexp.MustCompile(`Listening on port (\d+)|"msg":"listening","address":"127\.0\.0\.1:(\d+)"`)
	viewers = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`)
)

// A screen is what has been written to it.
type screen interface {
	io.Writer
	String() string
}

// launch runs the broker on free ports, and returns when it listens.
func launch(t *testing.T, args ...string) *program {
	t.Helper()
	return launchUntil(t, context.Background(), new(bytes.Buffer), args...)
}

// launchUntil is launch for a broker that also stops when ctx is done, and that
// says on stderr what it has to say.
func launchUntil(t *testing.T, ctx context.Context, stderr screen, args ...string) *program {
	t.Helper()
	p := &program{}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	var stdout bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), w, stderr)
		w.Close()
		ended <- code
	}()
	out := bufio.NewReader(io.TeeReader(r, &stdout))
	line := func() string {
		text, err := out.ReadString('\n')
		if err != nil {
			t.Fatalf("%v; standard error: %s", err, stderr.String())
		}
		return text
	}
	at := clients.FindStringSubmatch(line())
	if at == nil {
		t.Fatalf("it does not say where it listens: %q", stdout.String())
	}
	p.addr = "127.0.0.1:" + at[1] + at[2]
	if slices.Contains(args, "-status") {
		p.page = viewers.FindString(line())
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, out)
	}()
	p.stop = sync.OnceValue(func() result {
		cancel()
		code := <-ended
		<-read
		return result{code, stdout.String(), stderr.String()}
	})
	t.Cleanup(func() { p.stop() })
	return p
}

// ask sends text, and returns all that comes back.
func (p *program) ask(t *testing.T, text string) string {
	t.Helper()
	conn := dial(t, p.addr, text)
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("the answer to %q: %v", text, err)
	}
	return string(answer)
}

// startWorker returns the address of a worker that does what serve does with
// each connection, and a func that returns how many there were.
func startWorker(t *testing.T, serve func(net.Conn)) (addr string, count func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards n
	n := 0
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// answers does one job after another, as long as they come.
func answers(conn net.Conn) {
	for {
		job, err := protocol.ReadJob(conn)
		if err != nil {
			return
		}
		if job.Name == 0 {
			io.WriteString(conn, protocol.Response)
			return
		}
		io.WriteString(conn, job.Name.Line(protocol.Response))
	}
}

// fails reads a job and closes.
func fails(conn net.Conn) { protocol.ReadJob(conn) }

// hangs reads a job and answers nothing.
func hangs(conn net.Conn) { io.Copy(io.Discard, conn) }

const longRoundRobin = "AppID:Long:round_robin"

// Each flag for what happens to a request reaches the broker, and does so with
// its own value.
func TestFlagsOfRequests(t *testing.T) {
	const again = "; the job may have run, so it was not sent again (see broker -redispatch)"
	good, _ := startWorker(t, answers)
	bad, _ := startWorker(t, fails)
	deaf, _ := startWorker(t, hangs)
	for _, test := range []struct{ flags, text, want string }{
		{"-workers " + bad + "," + good, longRoundRobin, "Error: Worker-1: closed without an answer" + again},
		{"-redispatch -workers " + bad + "," + good, longRoundRobin, protocol.Response},
		{"-answer-timeout 1ms -workers " + deaf, longRoundRobin, "Error: Worker-1: no whole answer within 1ms" + again},
		{"-request-timeout 1ms -workers " + good, "", `Error: incomplete request: got "", want AppID:<type>:<approach> within 1ms`},
		{"-workers " + good, "AppID:Medium:round_robin", `Error: unknown type "Medium": want Long or Short`},
	} {
		p := launch(t, strings.Fields(test.flags)...)
		if got := p.ask(t, test.text); got != test.want {
			t.Errorf("%s: %q, want %q", test.flags, got, test.want)
		}
		if got := p.stop(); got.code != cli.OK || got.stderr != "broker: stopping; no request is in flight\n" {
			t.Errorf("%s: %+v", test.flags, got)
		}
	}
}

// With -keepalive a connection to a worker that can is used again, and without
// it is not.
func TestKeepalive(t *testing.T) {
	for flags, want := range map[string]int{"": 3, "-keepalive": 1} {
		addr, count := startWorker(t, answers)
		p := launch(t, append(strings.Fields(flags), "-workers", addr)...)
		for range 3 {
			if got := p.ask(t, longRoundRobin); got != protocol.Response {
				t.Errorf("%q: %q", flags, got)
			}
		}
		p.stop()
		if n := count(); n != want {
			t.Errorf("%q: 3 requests took %d connections, want %d", flags, n, want)
		}
	}
}

// Requests are served at once, and not one after the other.
func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	all.Add(3)
	addr, _ := startWorker(t, func(conn net.Conn) {
		protocol.ReadJob(conn)
		all.Done()
		all.Wait() // nobody is answered before the last one has come
		io.WriteString(conn, protocol.Response)
	})
	p := launch(t, "-workers", addr)
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			if got := p.ask(t, longRoundRobin); got != protocol.Response {
				t.Errorf("%q", got)
			}
		})
	}
	asking.Wait()
}

// With -max-conns one client more has to wait; at the stop it is told.
func TestClientsWait(t *testing.T) {
	came, release := make(chan struct{}, 2), make(chan struct{})
	addr, _ := startWorker(t, func(conn net.Conn) {
		protocol.ReadJob(conn)
		came <- struct{}{}
		<-release
		io.WriteString(conn, protocol.Response)
	})
	p := launch(t, "-max-conns", "1", "-workers", addr)
	answered := make(chan string, 1)
	go func() { answered <- p.ask(t, longRoundRobin) }()
	<-came
	conn := dial(t, p.addr, longRoundRobin)
	go p.stop()
	waited, err := io.ReadAll(conn)
	close(release)
	if first := <-answered; first != protocol.Response || string(waited) != "Error: the broker is stopping" {
		t.Errorf("the first one read %q, the second one %q, %v", first, waited, err)
	}
}

// A stop with no time to drain cuts off what is in flight, and says so.
func TestDrainTimeout(t *testing.T) {
	came := make(chan struct{})
	addr, _ := startWorker(t, func(conn net.Conn) {
		protocol.ReadJob(conn)
		close(came)
		hangs(conn)
	})
	p := launch(t, "-drain-timeout", "1ms", "-answer-timeout", "1h", "-workers", addr)
	answer := make(chan string, 1)
	go func() { answer <- p.ask(t, longRoundRobin) }()
	<-came
	got := p.stop()
	const want = `broker: finishing 1 request, at most 1ms; once more to end now
broker: not everything in flight was finished in time
`
	if got.code != cli.Failed || got.stderr != want {
		t.Errorf("%+v, want %q", got, want)
	}
	if got := <-answer; got != "Error: the broker stopped before the answer came" {
		t.Errorf("the client read %q", got)
	}
}

// When its window is closed the broker takes less time than it may at other
// times, and says so.
func TestWindowClosed(t *testing.T) {
	came, told := make(chan struct{}), make(chan struct{})
	addr, _ := startWorker(t, func(conn net.Conn) {
		protocol.ReadJob(conn)
		close(came)
		<-told
		io.WriteString(conn, protocol.Response)
	})
	ctx, stop := context.WithCancelCause(t.Context())
	p := launchUntil(t, ctx, &telling{told: told}, "-answer-timeout", "1h", "-workers", addr)
	answer := make(chan string, 1)
	go func() { answer <- p.ask(t, longRoundRobin) }()
	<-came
	stop(cli.ErrWindowClosed)
	if got := <-answer; got != protocol.Response {
		t.Errorf("the client read %q", got)
	}
	if got := p.stop(); got.code != cli.OK || got.stderr != "broker: finishing 1 request, at most 4s; once more to end now\n" {
		t.Errorf("%+v", got)
	}
}

// telling closes told when something is written.
type telling struct {
	bytes.Buffer
	told chan struct{}
}

func (s *telling) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	close(s.told)
	return n, err
}

// Each format of the log has its own lines. All of them are written before the
// program ends.
func TestLog(t *testing.T) {
	addr, _ := startWorker(t, answers)
	p := launch(t, "-workers", addr)
	conn := dial(t, p.addr, longRoundRobin)
	io.ReadAll(conn)
	lines := strings.Split(p.stop().stdout, "\n")
	want := []string{
		"[Broker] Listening on port " + strings.TrimPrefix(p.addr, "127.0.0.1:") + "...",
		"[Broker] Connected with ('127.0.0.1', " + strings.TrimPrefix(conn.LocalAddr().String(), "127.0.0.1:") + ")",
		"[Broker] Response from Worker-1: Response from Worker",
		"[Broker] Worker-1: answered 1 by round_robin, 0 by least_connections; failed 0; at most 1 at once",
		"",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("text:\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}

	p = launch(t, "-log", "json", "-status", "127.0.0.1:0", "-workers", addr)
	p.ask(t, longRoundRobin)
	var msgs []string
	for line := range strings.Lines(p.stop().stdout) {
		var event struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		msgs = append(msgs, event.Msg)
	}
	if got := strings.Join(msgs, ", "); got != "listening, status page, answered, summary" {
		t.Errorf("json: %s", got)
	}

	var stdout, stderr bytes.Buffer
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if code := run(stopped, []string{"-log", "off", "-listen", "127.0.0.1:0", "-status", "127.0.0.1:0"}, &stdout, &stderr); code != cli.OK || stdout.Len() > 0 {
		t.Errorf("off: exit code %d, %q", code, stdout.String())
	}
}

// The page shows the broker's own exchanges.
func TestPageShowsTheBroker(t *testing.T) {
	addr, _ := startWorker(t, answers)
	p := launch(t, "-workers", addr+"=3", "-status", "127.0.0.1:0")
	p.ask(t, longRoundRobin)
	reply, err := http.Get(p.page + "status.json")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var s stats.Snapshot
	if err := json.NewDecoder(reply.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if s.Listen != p.addr || s.Stopping || s.Totals.Connected != 1 || s.Totals.Answered != 1 {
		t.Errorf("listens at %s, want %s; %+v", s.Listen, p.addr, s.Totals)
	}
	if len(s.Workers) != 1 || s.Workers[0].Addr != addr || s.Workers[0].Weight != 3 || s.Workers[0].Answered[protocol.RoundRobin] != 1 {
		t.Errorf("%+v", s.Workers)
	}
}

// Each approach has its own selector.
func TestSelectors(t *testing.T) {
	all := selectors()
	if _, ok := all[protocol.RoundRobin].(*balance.RoundRobin); !ok {
		t.Errorf("round robin is %T", all[protocol.RoundRobin])
	}
	if _, ok := all[protocol.LeastConnections].(*balance.LeastConnections); !ok {
		t.Errorf("least connections is %T", all[protocol.LeastConnections])
	}
}

// A port that is taken ends the program with one line.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stopped, cancel := context.WithCancel(t.Context())
	cancel() // so that it does not wait for the port
	var stdout, stderr bytes.Buffer
	code := run(stopped, []string{"-listen", l.Addr().String()}, &stdout, &stderr)
	if code != cli.Failed || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "the address is in use") {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stderr); code != cli.OK || stdout.String() != usage || stderr.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
