//go:build unix

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"balancelab/internal/neterr"
)

// A stopped worker still accepts connections, in its kernel. The deadline for
// the answer notices, and the worker cools down; when it is continued it is
// one of three again, and its late answers reach no client.
func TestWorkerStopped(t *testing.T) {
	t.Parallel()
	for _, redispatch := range []bool{false, true} {
		t.Run(fmt.Sprintf("redispatch=%v", redispatch), func(t *testing.T) {
			t.Parallel()
			l := newLabOf(t, quick, "-answer-timeout", "3s", fmt.Sprintf("-redispatch=%v", redispatch))
			l.works(3)
			stopped := l.workers[1]
			stopped.suspend()
			refused := 0
			for _, r := range volley(l.broker.addr, shortRoundRobin, 9) {
				if r.err != nil {
					t.Errorf("%q, %v", r.text, r.err)
				} else if r.text != response {
					refused++
					isRefusal(t, r.text, "Worker-2: ", "3s", "the job may have run")
				}
			}
			if want := map[bool]int{false: 3, true: 0}[redispatch]; refused != want {
				t.Errorf("%d of 9 refused, want %d", refused, want)
			}
			stopped.signal(syscall.SIGCONT)
			stopped.linesLike("Processing", 4) // one before it was stopped, and three too late
			l.fairAgain()
			l.balanced()
			l.broker.terminate()
			for i, tl := range l.summary() {
				if want := []int{0, 3, 0}[i]; tl.failed != want {
					t.Errorf("Worker-%d failed %d times, want %d", i+1, tl.failed, want)
				}
			}
		})
	}
}

// suspend stops the program's process, and waits until it stands still: a signal
// takes its time on a busy machine. Where there is no /proc it waits for nothing.
func (p *program) suspend() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(patience); !p.standsStill(); runtime.Gosched() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not stand still", p.Name)
		}
	}
}

// standsStill reports whether every thread of the program is stopped.
func (p *program) standsStill() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// refuses waits until nothing listens at addr any more.
func refuses(t *testing.T, addr string) {
	t.Helper()
	untilDialed(t, addr, func(err error) bool { return neterr.KindOf(err) == neterr.Refused })
}

// The first signal: what is in flight is finished, clients that have not said
// what they want are let go, new ones are refused, and the exit is 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			l, workers := newHeldLab(t, "-request-timeout", "1h")
			replies := startVolley(l.broker.addr, longLeast, 9)
			for _, w := range workers {
				for range 3 {
					await(t, "a job", w.got)
				}
			}
			silent, half := connect(t, l.broker.addr), connect(t, l.broker.addr)
			send(t, half, "AppID:Long:le")
			l.broker.sync()
			l.broker.signal(signal)
			isRefusal(t, receive(t, silent), "stopping")
			isRefusal(t, receive(t, half), "stopping")
			refuses(t, l.broker.addr)
			r := run(t, "client", "-broker", l.broker.addr, "Short", "round_robin")
			if r.code != 1 || !strings.Contains(r.stderr, "no broker") {
				t.Errorf("a client during the drain: %+v", r)
			}
			if l.broker.exited() {
				t.Fatal("the broker did not wait for what is in flight")
			}
			for _, w := range workers {
				close(w.release)
			}
			allAnswered(t, replies())
			if code := l.broker.exit(); code != 0 {
				t.Errorf("exit %d, want 0; standard error: %s", code, l.broker.Stderr.String())
			}
			for i, tl := range l.summary() {
				if tl != (tally{leastConnections: 3, peak: 3}) {
					t.Errorf("Worker-%d: %+v, want 3 answered, 3 at once", i+1, tl)
				}
			}
		})
	}
}

// Under load too, every client gets a whole answer, a whole refusal, or no
// connection; what the broker counts as answered has arrived.
func TestSigtermUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const clients = 30
	outcomes := make(chan reply, 1000)
	for range clients {
		go func() {
			for {
				text, err := say(l.broker.addr, shortLeast)
				outcomes <- reply{text, err}
				if err != nil || text != response {
					outcomes <- reply{"", io.EOF} // this client has ended
					return
				}
			}
		}()
	}
	answered, ended, signalled := 0, 0, false
	for ended < clients {
		switch r := await(t, "an outcome", outcomes); {
		case r.err == io.EOF:
			ended++
		case r.err == nil && r.text == response:
			answered++
		case r.err == nil && r.text != "":
			isRefusal(t, r.text, "stopping")
		case r.text != "":
			t.Errorf("%q, and then %v", r.text, r.err)
		case !signalled:
			t.Fatalf("before the signal: %+v", r)
		}
		if answered >= 100 && !signalled {
			signalled = true
			l.broker.signal(syscall.SIGTERM)
		}
	}
	if code := l.broker.exit(); code != 0 {
		t.Errorf("exit %d, want 0; standard error: %s", code, l.broker.Stderr.String())
	}
	sum := 0
	for i, tl := range l.summary() {
		sum += tl.leastConnections
		if tl.failed != 0 {
			t.Errorf("Worker-%d failed %d times", i+1, tl.failed)
		}
	}
	if sum != answered {
		t.Errorf("%d answered in the summary, %d arrived", sum, answered)
	}
	if jobs := sumOf(l.processed()); jobs != answered {
		t.Errorf("%d jobs for %d answers", jobs, answered)
	}
}

func sumOf(numbers []int) (sum int) {
	for _, n := range numbers {
		sum += n
	}
	return sum
}

// What is in flight longer than the drain may last is cut off: the client is
// told, and the exit says that not everything was finished.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-long", "1h", "-drain-timeout", "200ms")
	l := newBroker(t, []string{w.addr}, "-drain-timeout", "200ms", "-answer-timeout", "2h")
	replies := startVolley(l.broker.addr, longLeast, 1)
	w.line("Processing long")
	l.broker.signal(syscall.SIGTERM)
	for _, r := range replies() {
		isRefusal(t, r.text, "stopped")
	}
	if code := l.broker.exit(); code != 1 {
		t.Errorf("broker: exit %d, want 1", code)
	}
	if got, want := l.summary(), (tally{failed: 1, peak: 1}); got[0] != want {
		t.Errorf("Worker-1: %+v, want %+v", got[0], want)
	}
	direct := startVolley(w.addr, "AppID:Long", 1)
	w.linesLike("Processing long", 2)
	w.signal(syscall.SIGTERM)
	for _, r := range direct() {
		if r.text != "" {
			t.Errorf("a job that was cut off was answered with %q", r.text)
		}
	}
	if code := w.exit(); code != 1 {
		t.Errorf("worker: exit %d, want 1", code)
	}
	for _, p := range []*program{l.broker, w} {
		if text := p.complaints(); strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, p.Name+": ") {
			t.Errorf("%s: standard error %q, want one line", p.Name, text)
		}
	}
}

// The second signal ends a program at once, whatever is in flight.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-long", "1h", "-drain-timeout", "1h")
	l := newBroker(t, []string{w.addr}, "-drain-timeout", "1h", "-answer-timeout", "2h")
	replies := startVolley(l.broker.addr, longLeast, 1)
	w.line("Processing long")
	for _, p := range []*program{l.broker, w} {
		silent := connect(t, p.addr)
		p.sync()
		p.signal(syscall.SIGTERM)
		// Two signals that are pending together are one.
		isLetGo(t, p, receive(t, silent))
		if p.exited() {
			t.Errorf("%s: the first signal did not wait for what is in flight", p.Name)
		}
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 1 {
			t.Errorf("%s: exit %d, want 1", p.Name, code)
		}
	}
	for _, r := range replies() {
		if r.text != "" {
			t.Errorf("a client of a broker that ended at once got %q", r.text)
		}
	}
}

// isLetGo wants what a stopping program says to a client that has not asked anything yet.
// A worker's empty line means, to a broker, that a job on its way was not taken.
func isLetGo(t *testing.T, p *program, answer string) {
	t.Helper()
	if p.Name != "worker" {
		isRefusal(t, answer, "stopping")
	} else if answer != "\n" {
		t.Errorf("a worker that stops said %q to a silent connection, want an empty line", answer)
	}
}

// A worker drains as the broker does.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-long", "500ms")
	silent := connect(t, w.addr)
	replies := startVolley(w.addr, "AppID:Long", 5)
	w.linesLike("Processing long", 5)
	w.signal(syscall.SIGTERM)
	isLetGo(t, w, receive(t, silent))
	refuses(t, w.addr)
	allAnswered(t, replies())
	if code := w.exit(); code != 0 {
		t.Errorf("exit %d, want 0; standard error: %s", code, w.Stderr.String())
	}
}

// A broker with nothing in flight does not wait for clients that never read,
// never close, or never say anything.
func TestDrainPastIdleClients(t *testing.T) {
	t.Parallel()
	l := newLab(t, "-request-timeout", "1h", "-drain-timeout", "1h")
	for i := range 10 {
		connect(t, l.broker.addr)                           // never says anything
		send(t, connect(t, l.broker.addr), shortRoundRobin) // never reads, never closes
		l.broker.linesLike(anyAnswer, i+1)
	}
	for i, tl := range l.stop() {
		want := tally{roundRobin: 3, peak: 1} // a client that lingers costs its worker nothing
		if i == 0 {
			want.roundRobin = 4
		}
		if tl != want {
			t.Errorf("Worker-%d: %+v, want %+v", i+1, tl, want)
		}
	}
}

// A client that is interrupted says so; its job is done all the same.
func TestClientInterrupted(t *testing.T) {
	t.Parallel()
	w := newHeldWorker(t)
	l := newBroker(t, []string{w.addr})
	client := launch(t, "client", set.Command("client", "-broker", l.broker.addr, "Long", "round_robin"))
	await(t, "the job", w.got)
	client.signal(syscall.SIGINT)
	if code := client.exit(); code != 1 || client.Stdout.String() != "" || !strings.Contains(client.Stderr.String(), "[Client] Error: interrupted") {
		t.Errorf("exit %d, %q, %q", code, client.Stdout, client.Stderr)
	}
	close(w.release)
	l.broker.line(anyAnswer)
	l.stopWith(1, 0)
}
