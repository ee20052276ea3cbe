package e2e

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// When all workers are down each request is told about each worker, once; when
// one comes the broker works again, without a restart, and all of them share
// again when all are there.
func TestAllDown(t *testing.T) {
	t.Parallel()
	addrs := []string{freePort(t), freePort(t), freePort(t)}
	l := newBroker(t, addrs)
	got := l.ask("Short", "round_robin")
	const reason = "no worker available: Worker-1: connection refused; Worker-2: connection refused; Worker-3: connection refused"
	if got != (result{stderr: "[Client] Error: " + reason + "\n", code: 1}) {
		t.Errorf("client: %+v", got)
	}
	for range 4 { // until all of them cool down
		isRefusal(t, l.say(shortLeast), "no worker available", "Worker-1: ", "Worker-2: ", "Worker-3: ")
	}
	for i := range addrs {
		if n := len(l.broker.linesLike(fmt.Sprintf("Failed to connect to Worker-%d$", i+1), 5)); n != 5 {
			t.Errorf("5 requests tried Worker-%d %d times", i+1, n)
		}
	}
	w2 := startWorker(t, 2, addrs[1], "-short", "5ms")
	l.askFor(2, "Short", "round_robin")
	l.askFor(2, "Short", "least_connections")
	w1, w3 := startWorker(t, 1, addrs[0], "-short", "5ms"), startWorker(t, 3, addrs[2], "-short", "5ms")
	l.workers = []*program{w1, w2, w3}
	l.fairAgain()
	jobs := l.processed()
	for i, tl := range l.stop() {
		if sum := tl.roundRobin + tl.leastConnections; sum != jobs[i] {
			t.Errorf("Worker-%d did %d jobs for %d answers", i+1, jobs[i], sum)
		}
		if lines := len(l.broker.matches(fmt.Sprintf("Failed to connect to Worker-%d$", i+1))); tl.failed != lines {
			t.Errorf("Worker-%d failed %d times in the summary, %d in the lines", i+1, tl.failed, lines)
		}
	}
}

// A worker that is killed in mid-request: by default the client is told, as
// the job may have run; with -redispatch another worker answers.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	for _, redispatch := range []bool{false, true} {
		t.Run(fmt.Sprintf("redispatch=%v", redispatch), func(t *testing.T) {
			t.Parallel()
			w1 := startWorker(t, 1, "127.0.0.1:0", "-long", "1h")
			w2, w3 := startWorker(t, 2, "127.0.0.1:0", quick...), startWorker(t, 3, "127.0.0.1:0", quick...)
			l := newBroker(t, []string{w1.addr, w2.addr, w3.addr}, fmt.Sprintf("-redispatch=%v", redispatch))
			replies := startVolley(l.broker.addr, longRoundRobin, 3)
			w1.line("Processing long")
			w1.Kill()
			answered, refused := 0, 0
			for _, r := range replies() {
				switch {
				case r.err != nil:
					t.Errorf("%q, %v", r.text, r.err)
				case r.text == response:
					answered++
				default:
					refused++
					isRefusal(t, r.text, "Worker-1: ", "the job may have run", "-redispatch")
				}
			}
			want := [3]int{2, 1, 2}
			if redispatch {
				want = [3]int{3, 0, 3}
			}
			if got := [3]int{answered, refused, w2.jobs() + w3.jobs()}; got != want {
				t.Errorf("answered, refused, jobs at the others: %v, want %v", got, want)
			}
			// Back on its port, it is one of three again.
			l.workers = []*program{startWorker(t, 1, w1.addr, quick...), w2, w3}
			l.fairAgain()
			l.balanced()
			l.stopWith(answered+l.answered, 1+len(l.broker.matches("Failed to connect")))
		})
	}
}

// The ways in which an answer can come over TCP. The first connection meets the
// fault; later ones are answered well.
func TestAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1024)
	// until returns when the broker has had enough.
	until := func(conn *net.TCPConn) { io.Copy(io.Discard, conn) }
	say := func(text string) func(*net.TCPConn) {
		return func(conn *net.TCPConn) { io.WriteString(conn, text) }
	}
	cases := []struct {
		name   string
		answer func(conn *net.TCPConn)
		want   string // what the client gets, or "" for a failure
		reason string // what the failure says
	}{
		{"in pieces", func(conn *net.TCPConn) {
			for i := range len(response) {
				io.WriteString(conn, response[i:i+1])
			}
		}, response, ""},
		{"with a half-close", func(conn *net.TCPConn) {
			io.WriteString(conn, response)
			conn.CloseWrite()
			until(conn)
		}, response, ""},
		{"with a newline and no close", func(conn *net.TCPConn) {
			io.WriteString(conn, response+"\nmore")
			until(conn)
		}, response, ""},
		{"an error of its own", say("Error: no paper"), "", "no paper"},
		{"the longest", say(long), long, ""},
		{"64 KiB", say(strings.Repeat("a", 64<<10)), "", "longer than 1024 bytes"},
		{"without end", func(conn *net.TCPConn) {
			for {
				if _, err := io.WriteString(conn, long); err != nil {
					return
				}
			}
		}, "", "longer than 1024 bytes"},
		{"nothing but a close", func(conn *net.TCPConn) {}, "", "without an answer"},
		{"a reset", func(conn *net.TCPConn) { conn.SetLinger(0) }, "", "reset"},
		{"cut off by a reset", func(conn *net.TCPConn) {
			io.WriteString(conn, response)
			conn.SetLinger(0)
		}, "", "reset"},
	}
	for _, c := range cases {
		for _, redispatch := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/redispatch=%v", c.name, redispatch), func(t *testing.T) {
				t.Parallel()
				var met atomic.Bool
				w1 := newFake(t, func(f *fake, conn *net.TCPConn) {
					switch {
					case !f.job(conn):
					case met.Swap(true):
						io.WriteString(conn, response)
					default:
						c.answer(conn)
					}
				})
				w2 := goodWorker(t)
				l := newBroker(t, []string{w1.addr, w2.addr}, "-answer-timeout", "1h", fmt.Sprintf("-redispatch=%v", redispatch))
				got := l.say(longRoundRobin)
				answered, failed, others := 1, 0, 0
				switch {
				case c.want == "" && redispatch:
					failed, others = 1, 1
					if got != response {
						t.Errorf("got %.300q, want the other worker's answer", got)
					}
				case c.want == "":
					answered, failed = 0, 1
					isRefusal(t, got, c.reason)
					if said := strings.Contains(got, "the job may have run"); said == (got == "Error: no paper") {
						t.Errorf("got %q", got)
					}
				case got != c.want:
					t.Errorf("got %.300q, want %.300q", got, c.want)
				}
				if n := w2.connections(); n != others {
					t.Errorf("Worker-2 got %d connections, want %d", n, others)
				}
				// One failure is no reason to stay away from a worker.
				before := w1.connections()
				l.works(6)
				if n := w1.connections() - before; n != 3 {
					t.Errorf("Worker-1 got %d of the next 6, want 3", n)
				}
				l.stopWith(answered+6, failed)
			})
		}
	}
}

// One deadline covers the whole answer: a byte now and then does not put it off.
func TestAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	w1 := newFake(t, func(f *fake, conn *net.TCPConn) {
		f.job(conn)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for err := error(nil); err == nil; <-tick.C {
			_, err = io.WriteString(conn, "a")
		}
	})
	l := newBroker(t, []string{w1.addr}, "-answer-timeout", "300ms")
	isRefusal(t, l.say(longRoundRobin), "Worker-1: no whole answer within 300ms", "the job may have run")
	l.stopWith(0, 1)
}

// Clients that leave, before and after their request, by FIN and by RST, and
// some that stay and never read: their jobs run once at most, no lease and no
// request is left.
func TestClientsLeave(t *testing.T) {
	t.Parallel()
	l, workers := newHeldLab(t)
	come := func(text string) *net.TCPConn {
		t.Helper()
		conn := connect(t, l.broker.addr)
		send(t, conn, text)
		return conn
	}
	reset := func(conn *net.TCPConn) {
		conn.SetLinger(0)
		conn.Close()
	}
	for range 3 {
		for _, text := range []string{"", "AppID:Long:le"} {
			come(text).Close()
			reset(come(text))
		}
	}
	refused := 6 // none for those that sent nothing
	if runtime.GOOS == "windows" {
		refused = 3 // there a connection that was reset may be gone before it is accepted
	}
	l.broker.linesLike(`^\[Broker\] Refused \('127\.0\.0\.1', \d+\): `, refused)
	for i, w := range workers {
		if n := w.connections(); n != 0 {
			t.Errorf("half a request opened %d connections to Worker-%d", n, i+1)
		}
	}
	var conns []*net.TCPConn
	for i := range 12 {
		conns = append(conns, come(longLeast))
		await(t, "the job", workers[i%3].got)
	}
	const left = `^\[Broker\] \('127\.0\.0\.1', \d+\) left before its answer$`
	for i := range 3 {
		conns[2*i].Close()
		reset(conns[2*i+1])
	}
	l.broker.linesLike(left, refused+3) // the refused ones, and those that reset; the others may only have half-closed
	for _, w := range workers {
		close(w.release)
	}
	l.broker.linesLike("Response from", 9)
	l.broker.linesLike(left, refused+6)
	l.worksBy(shortLeast, 6) // a lease that is left shifts them
	l.stopWith(15, 0)
	for i, w := range workers {
		if n := w.connections(); n != 6 {
			t.Errorf("18 requests opened %d connections to Worker-%d, want 6", n, i+1)
		}
	}
}

// A broker that is killed takes its clients' answers with it, and nothing
// else: they notice, and one that is started on its port serves at once.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, []string{"-long", "1h", "-short", "5ms"})
	const n = 6
	results := make(chan result, n)
	for range n {
		go func() {
			r, err := finish("client", "-broker", l.broker.addr, "Long", "least_connections")
			if err != nil {
				r.stderr = err.Error()
			}
			results <- r
		}()
	}
	for _, w := range l.workers {
		w.linesLike("Processing long", n/3)
	}
	l.broker.Kill()
	for range n {
		r := await(t, "a client", results)
		if r.code != 1 || r.stdout != "" || !strings.HasPrefix(r.stderr, "[Client] Error: ") || !strings.Contains(r.stderr, l.broker.addr) {
			t.Errorf("client of a killed broker: %+v", r)
		}
	}
	r := l.ask("Short", "round_robin")
	if r.code != 1 || !strings.Contains(r.stderr, "no broker") {
		t.Errorf("client without a broker: %+v", r)
	}
	again := newBroker(t, addrsOf(l.workers), "-listen", l.broker.addr)
	again.workers = l.workers
	again.askFor(1, "Short", "round_robin")
	again.balanced()
	again.stopWith(7, 0)
	if got := l.processed(); !slices.Equal(got, []int{5, 4, 4}) {
		t.Errorf("13 requests started %v jobs", got)
	}
}
