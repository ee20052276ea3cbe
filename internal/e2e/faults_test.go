package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A worker that is not running costs a client nothing, and no other worker
// gets a job twice for it.
func TestWorkerNotRunning(t *testing.T) {
	t.Parallel()
	a, b := goodWorker(t), goodWorker(t)
	l := newBroker(t, []string{closedPort(t), a.addr, b.addr})
	for range 3 {
		for _, approach := range []string{"round_robin", "least_connections"} {
			if got := l.ask("Short", approach); got != (result{stdout: received}) {
				t.Errorf("client Short %s: %+v", approach, got)
			}
		}
	}
	l.broker.sync()
	failed := len(l.broker.matches(`^\[Broker\] Failed to connect to Worker-1$`))
	if all := len(l.broker.matches("Failed to connect")); failed == 0 || all != failed {
		t.Errorf("failed to connect %d times, %d of them to Worker-1", all, failed)
	}
	l.stopWith(6, failed)
	if n := a.connections() + b.connections(); n != 6 {
		t.Errorf("6 requests opened %d connections to the others", n)
	}
}

// When all workers are down each request is told about each worker, once; when
// one comes the broker works again, without a restart, and all of them share
// again when all are there.
func TestAllDown(t *testing.T) {
	t.Parallel()
	addrs := []string{closedPort(t), closedPort(t), closedPort(t)}
	l := newBroker(t, addrs)
	got := l.ask("Short", "round_robin")
	const reason = "no worker available: Worker-1: connection refused; Worker-2: connection refused; Worker-3: connection refused"
	if canSignal && got != (result{stderr: "[Client] Error: " + reason + "\n", code: 1}) {
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
	startWorker(t, 1, addrs[0], "-short", "5ms")
	startWorker(t, 3, addrs[2], "-short", "5ms")
	l.fairAgain()
	if n, want := w2.jobs(), countOf(l.answeredBy(), 2); n != want {
		t.Errorf("Worker-2 did %d jobs for %d answers", n, want)
	}
	tallies := l.stop()
	for i, tl := range tallies {
		if lines := len(l.broker.matches(fmt.Sprintf("Failed to connect to Worker-%d$", i+1))); tl.failed != lines {
			t.Errorf("Worker-%d failed %d times in the summary, %d in the lines", i+1, tl.failed, lines)
		}
	}
}

func countOf(numbers []int, n int) (count int) {
	for _, m := range numbers {
		if m == n {
			count++
		}
	}
	return count
}

// fairAgain asks until every worker answers, which takes a cool-down, and then
// wants them to take turns. Nobody is answered by an error meanwhile.
func (l *lab) fairAgain() {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for since := len(l.answeredBy()); ; l.works(1) {
		seen := l.answeredBy()[since:]
		if countOf(seen, 1) > 0 && countOf(seen, 2) > 0 && countOf(seen, 3) > 0 {
			break
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("somebody does not come back: answered by %v", seen)
		}
		<-tick.C
	}
	before := len(l.answeredBy())
	l.works(9)
	for n := 1; n <= 3; n++ {
		if got := countOf(l.answeredBy()[before:], n); got != 3 {
			l.t.Errorf("Worker-%d answered %d of 9, want its share: 3", n, got)
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
			l := newLabOf(t, []string{"-long", "700ms", "-short", "5ms"}, fmt.Sprintf("-redispatch=%v", redispatch))
			replies := startVolley(l.broker.addr, longRoundRobin, 3)
			for _, w := range l.workers {
				w.line("Processing long")
			}
			l.workers[0].kill()
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
			jobs := 0 // of the workers that live on
			for _, w := range l.workers[1:] {
				jobs += w.jobs()
			}
			want := [3]int{2, 1, 2}
			if redispatch {
				want = [3]int{3, 0, 3}
			}
			if got := [3]int{answered, refused, jobs}; got != want {
				t.Errorf("answered, refused, jobs at the others: %v, want %v", got, want)
			}
			// Back on its port, it is one of three again.
			l.workers[0] = startWorker(t, 1, l.workers[0].addr, "-long", "700ms", "-short", "5ms")
			l.fairAgain()
			l.balanced()
			by := len(l.answeredBy())
			l.stopWith(by, 1+len(l.broker.matches("Failed to connect")))
		})
	}
}

// overlapping sends n requests, each while all before it that were not
// refused are in flight at the held workers, then lets these answer, and
// returns all replies.
func overlapping(t *testing.T, addr, text string, n int, a, b *heldWorker) (replies []reply) {
	t.Helper()
	came := make(chan reply, n)
	for range n {
		go func() {
			text, err := say(addr, text)
			came <- reply{text, err}
		}()
		select {
		case <-a.got:
		case <-b.got:
		case r := <-came:
			replies = append(replies, r)
		case <-time.After(patience):
			t.Fatal("a request came nowhere")
		}
	}
	close(a.release)
	close(b.release)
	for len(replies) < n {
		replies = append(replies, await(t, "a reply", came))
	}
	return replies
}

// A worker that fails at once always has the fewest requests in flight. It
// must not attract them all.
func TestFailsAtOnce(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*fake, *net.TCPConn){
		"closes": func(*fake, *net.TCPConn) {},
		"resets": func(_ *fake, conn *net.TCPConn) { conn.SetLinger(0) },
		"reads and closes": func(f *fake, conn *net.TCPConn) {
			f.job(conn)
		},
	}
	for name, fault := range faults {
		for _, redispatch := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/redispatch=%v", name, redispatch), func(t *testing.T) {
				t.Parallel()
				bad, a, b := newFake(t, fault), newHeldWorker(t), newHeldWorker(t)
				l := newBroker(t, []string{bad.addr, a.addr, b.addr}, fmt.Sprintf("-redispatch=%v", redispatch))
				refused := 0
				for _, r := range overlapping(t, l.broker.addr, shortLeast, 60, a, b) {
					if r.err != nil {
						t.Fatalf("%q, %v", r.text, r.err)
					}
					if r.text != response {
						refused++
						isRefusal(t, r.text, "Worker-1: ")
					}
				}
				if most := map[bool]int{false: 4, true: 0}[redispatch]; refused > most {
					t.Errorf("%d of 60 failed, want at most %d", refused, most)
				}
				if n := bad.connections(); n == 0 || n > 4 {
					t.Errorf("Worker-1 was given %d of 60, want 1 to 4", n)
				}
				if jobs := a.connections() + b.connections(); jobs != 60-refused {
					t.Errorf("the others got %d jobs for %d answers", jobs, 60-refused)
				}
				l.stopWith(60-refused, bad.connections())
			})
		}
	}
}

// A worker whose cool-down is over gets one request on trial, and no other
// until that one is answered.
func TestTrial(t *testing.T) {
	t.Parallel()
	var good atomic.Bool
	trial, release := make(chan struct{}, 1000), make(chan struct{})
	w1 := newFake(t, func(f *fake, conn *net.TCPConn) {
		if !f.job(conn) || !good.Load() {
			return
		}
		trial <- struct{}{}
		<-release
		io.WriteString(conn, response)
	})
	w2 := goodWorker(t)
	l := newBroker(t, []string{w1.addr, w2.addr})
	letAnswer := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letAnswer)
	refused := 0
	for range 6 {
		if l.say(shortRoundRobin) != response {
			refused++
		}
	}
	if refused != 3 {
		t.Fatalf("%d of 6 refused, want every second one", refused)
	}
	good.Store(true)
	came := make(chan reply, 1000)
	sent, tick := 0, time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for len(trial) == 0 {
		go func() {
			text, err := say(l.broker.addr, shortRoundRobin)
			came <- reply{text, err}
		}()
		if sent++; sent == 900 {
			t.Fatal("Worker-1 is never tried again")
		}
		<-tick.C
	}
	before := w1.connections()
	l.works(10)
	if n := w1.connections() - before; n != 0 {
		t.Errorf("%d requests reached a worker on trial", n)
	}
	letAnswer()
	for range sent {
		if r := await(t, "a reply", came); r.err != nil || r.text != response {
			t.Errorf("%+v", r)
		}
	}
	before = w1.connections()
	l.works(10)
	if n := w1.connections() - before; n != 5 {
		t.Errorf("after its trial Worker-1 got %d of 10, want its share: 5", n)
	}
	l.stopWith(len(l.answeredBy()), 3)
}

// The ways in which a worker can answer. The first connection meets the fault;
// later ones are answered well.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const deadline = "500ms"
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
		{"late", func(conn *net.TCPConn) {
			<-time.After(100 * time.Millisecond)
			io.WriteString(conn, response)
		}, response, ""},
		{"in pieces", func(conn *net.TCPConn) {
			for i := range len(response) {
				io.WriteString(conn, response[i:i+1])
				<-time.After(2 * time.Millisecond)
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
		{"garbage", say("\xff\x00\x1b[2J\r:"), "\xff\x00\x1b[2J\r:", ""},
		{"an error of its own", say("Error: no paper"), "Error: no paper", ""},
		{"the longest", say(long), long, ""},
		{"one byte too long", say(long + "a"), "", "longer than 1024 bytes"},
		{"64 KiB", say(strings.Repeat("a", 64<<10)), "", "longer than 1024 bytes"},
		{"64 KiB and a newline", say(strings.Repeat("a", 64<<10) + "\n"), "", "longer than 1024 bytes"},
		{"without end", func(conn *net.TCPConn) {
			for {
				if _, err := io.WriteString(conn, long); err != nil {
					return
				}
			}
		}, "", "longer than 1024 bytes"},
		{"a byte now and then", func(conn *net.TCPConn) {
			for {
				if _, err := io.WriteString(conn, "a"); err != nil {
					return
				}
				<-time.After(50 * time.Millisecond)
			}
		}, "", deadline},
		{"without close", func(conn *net.TCPConn) {
			io.WriteString(conn, response)
			until(conn)
		}, "", deadline},
		{"never", until, "", deadline},
		{"after the deadline", func(conn *net.TCPConn) {
			until(conn)
			io.WriteString(conn, response)
		}, "", deadline},
		{"nothing but a close", func(conn *net.TCPConn) {}, "", "without an answer"},
		{"a reset", func(conn *net.TCPConn) { conn.SetLinger(0) }, "", "reset"},
		{"cut off by a reset", func(conn *net.TCPConn) {
			io.WriteString(conn, response)
			<-time.After(50 * time.Millisecond) // let it arrive
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
				l := newBroker(t, []string{w1.addr, w2.addr}, "-answer-timeout", deadline, fmt.Sprintf("-redispatch=%v", redispatch))
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
					isRefusal(t, got, "Worker-1: ", c.reason, "the job may have run")
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

// An answer of no bytes is none: relayed, it would be the empty close that a
// client cannot tell from a broken broker. Nor does it say, to a broker without
// -keepalive, that the job was not taken.
func TestEmptyAnswer(t *testing.T) {
	t.Parallel()
	w1 := newFake(t, func(f *fake, conn *net.TCPConn) {
		f.job(conn)
		io.WriteString(conn, "\n")
	})
	l := newBroker(t, []string{w1.addr})
	isRefusal(t, l.say(shortRoundRobin), "Worker-1: ", "without an answer")
	l.stopWith(0, 1)
}

// Clients that leave, before and after their request, by FIN and by RST, and
// some that stay and never read: their jobs run once, no lease and no visit is
// left.
func TestClientsLeave(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, []string{"-long", "700ms", "-short", "5ms"})
	leave := func(text string, reset bool) {
		conn := connect(t, l.broker.addr)
		send(t, conn, text)
		if text == longLeast { // the request must be in before the client is gone
			l.begun()
		}
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
	for range 3 {
		leave("", false)
		leave("", true)
		leave("AppID:Long:le", false)
		leave("AppID:Long:le", true)
	}
	l.broker.linesLike(`^\[Broker\] Refused \('127\.0\.0\.1', \d+\): `, 12)
	if got := l.processed(); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("half a request started jobs: %v", got)
	}
	for range 3 {
		leave(longLeast, false)
		leave(longLeast, true)
	}
	for range 6 {
		send(t, connect(t, l.broker.addr), longLeast)
		l.begun()
	}
	l.broker.linesLike(`^\[Broker\] \('127\.0\.0\.1', \d+\) left before its answer$`, 3)
	l.broker.linesLike("Response from", 12)
	l.balanced()
	l.stopWith(18, 0)
	if got := l.processed(); !slices.Equal(got, []int{6, 6, 6}) {
		t.Errorf("18 requests started %v jobs", got)
	}
}

// begun waits until the workers have begun as many jobs as the test knows of:
// one more at each call.
func (l *lab) begun() {
	l.t.Helper()
	l.asked++
	w := l.workers[(l.asked-1)%len(l.workers)]
	w.linesLike("Processing", (l.asked-1)/len(l.workers)+1)
}

// A broker that is killed takes its clients' answers with it, and nothing
// else: they notice, and one that is started on its port serves at once.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, []string{"-long", "700ms", "-short", "5ms"})
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
	l.broker.kill()
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
	var addrs []string
	for _, w := range l.workers {
		addrs = append(addrs, w.addr)
	}
	again := newBroker(t, addrs, "-listen", l.broker.addr)
	again.workers = l.workers
	again.askFor(1, "Short", "round_robin")
	again.balanced()
	again.stopWith(7, 0)
	if got := l.processed(); !slices.Equal(got, []int{5, 4, 4}) {
		t.Errorf("13 requests started %v jobs", got)
	}
}
