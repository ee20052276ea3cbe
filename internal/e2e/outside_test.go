//go:build unix

package e2e

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unread starts a server whose standard output is read no further than its first
// line. It returns the reading end too.
func unread(t *testing.T, name string, args ...string) (*program, *bufio.Reader) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	cmd := set.Command(name, args...)
	cmd.Stdout = in
	p := launch(t, name, cmd)
	in.Close()
	r := bufio.NewReaderSize(out, 512)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.addr = "127.0.0.1:" + regexp.MustCompile(`(?:port |127\.0\.0\.1:)(\d+)`).FindStringSubmatch(line)[1]
	return p, r
}

// Output that is not read holds up no request and no stop. When reading goes on,
// a line says how many are missing.
func TestOutputIsNotRead(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w, _ := unread(t, "worker", "-listen", "127.0.0.1:0", "-short", "0s", "-log", format, "1")
			b, out := unread(t, "broker", "-listen", "127.0.0.1:0", "-workers", w.addr, "-log", format)
			load := run(t, "client", "-broker", b.addr, "-n", "12000", "-c", "50", "Short", "round_robin")
			if load.code != 0 {
				t.Errorf("the load run: %+v", load)
			}
			text := make(chan string, 1)
			go func() {
				all, _ := io.ReadAll(out)
				text <- string(all)
			}()
			b.terminate()
			w.terminate()
			missing := map[string]string{"text": `(?m)^… [\d,]+ lines were not shown$`, "json": `"msg":"not shown","lines":\d+`}[format]
			if all := await(t, "the output", text); !regexp.MustCompile(missing).MatchString(all) {
				t.Errorf("nothing says that lines are missing; it ends with %q", all[max(0, len(all)-300):])
			}
		})
	}
}

// A stop does not wait for ever for output that is not read.
func TestStopWithOutputThatIsNotRead(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-short", "0s")
	b, _ := unread(t, "broker", "-listen", "127.0.0.1:0", "-workers", w.addr)
	if load := run(t, "client", "-broker", b.addr, "-n", "3000", "-c", "50", "Short", "round_robin"); load.code != 0 {
		t.Errorf("the load run: %+v", load)
	}
	b.terminate()
}

// Answers that came while the broker was suspended, and in time, are taken, and
// no worker is blamed.
func TestSuspendedBroker(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	l, workers := newHeldLab(t, "-answer-timeout", timeout.String())
	replies := startVolley(l.broker.addr, longRoundRobin, 12)
	for _, w := range workers {
		for range 4 {
			await(t, "a job", w.got)
		}
	}
	late := time.NewTimer(2 * timeout)
	l.broker.suspend()
	for _, w := range workers {
		close(w.release)
	}
	<-late.C // every deadline has passed
	l.broker.signal(syscall.SIGCONT)
	allAnswered(t, replies())
	l.stopWith(12, 0)
}

// One stop may arrive as two signals, and what is in flight is finished all the
// same.
func TestStopInTwoSignals(t *testing.T) {
	t.Parallel()
	l, workers := newHeldLab(t)
	replies := startVolley(l.broker.addr, longRoundRobin, 1)
	await(t, "the job", workers[0].got)
	l.broker.signal(syscall.SIGINT)
	l.broker.signal(syscall.SIGTERM)
	refuses(t, l.broker.addr)
	close(workers[0].release)
	allAnswered(t, replies())
	if code := l.broker.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	const want = "broker: finishing 1 request, at most 30s; once more to end now\n"
	if text := l.broker.Stderr.String(); text != want {
		t.Errorf("standard error %q, want %q", text, want)
	}
}

// A terminal that is closed stops its programs in good order, unless they were
// started with nohup.
func TestHangup(t *testing.T) {
	t.Parallel()
	l, workers := newHeldLab(t)
	replies := startVolley(l.broker.addr, longRoundRobin, 1)
	await(t, "the job", workers[0].got)
	l.broker.signal(syscall.SIGHUP)
	refuses(t, l.broker.addr)
	close(workers[0].release)
	allAnswered(t, replies())
	if code := l.broker.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}

	nohup := exec.Command("sh", "-c", `trap "" HUP; exec "$@"`, "sh", set.Command("worker").Path, "-listen", "127.0.0.1:0", "-short", "0s", "1")
	w := startCommand(t, "worker", nohup)
	w.signal(syscall.SIGHUP)
	if got, err := say(w.addr, "AppID:Short"); got != response || err != nil {
		t.Errorf("after a hangup that is ignored: %q, %v", got, err)
	}
	w.terminate()
}

// A load run whose terminal is closed prints its report.
func TestHangupOfALoadRun(t *testing.T) {
	t.Parallel()
	l, workers := newHeldLab(t)
	client := launch(t, "client", set.Command("client", "-broker", l.broker.addr, "-n", "5", "Long", "round_robin"))
	await(t, "the job", workers[0].got)
	client.signal(syscall.SIGHUP)
	if code := client.exit(); code != 1 || !strings.Contains(client.Stdout.String(), "requests   1 sent, 0 ok, 0 failed, 1 interrupted") {
		t.Errorf("exit %d with %q", code, client.Stdout.String())
	}
}

// Output that can't be written fails a program that ends by itself. A server goes
// on without it.
func TestOutputOnAFullDevice(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no such device here: ", err)
	}
	defer full.Close()
	w := startWorker(t, 1, "127.0.0.1:0", "-short", "0s")
	for _, c := range [][]string{
		{"client", "-h"}, {"broker", "-h"}, {"worker", "-h"},
		{"client", "-broker", w.addr, "Short", "round_robin"},
		{"client", "-broker", w.addr, "-n", "3", "Short", "round_robin"},
	} {
		cmd := set.Command(c[0], c[1:]...)
		cmd.Stdout = full
		p := launch(t, c[0], cmd)
		if code := p.exit(); code != 1 || !strings.Contains(p.Stderr.String(), c[0]+": standard output: ") {
			t.Errorf("%v: exit %d, standard error %q", c, code, p.Stderr.String())
		}
	}
	free := freePort(t)
	cmd := set.Command("broker", "-listen", free, "-workers", w.addr)
	cmd.Stdout = full
	b := launch(t, "broker", cmd)
	accepts(t, free)
	if got, err := say(free, shortRoundRobin); got != response || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	b.terminate()
}

// A client that closes in any way before its answer has left, and is counted; one
// that half-closes has not.
func TestClientsThatLeaveAreCounted(t *testing.T) {
	t.Parallel()
	l, workers := newHeldLab(t)
	ask := func() *net.TCPConn {
		t.Helper()
		conn := connect(t, l.broker.addr)
		send(t, conn, longRoundRobin)
		return conn
	}
	for i := range 15 {
		conn := ask()
		await(t, "the job", workers[i%3].got)
		conn.Close()
	}
	half := ask()
	await(t, "the job", workers[0].got)
	half.CloseWrite()
	for _, w := range workers {
		close(w.release)
	}
	if got := receive(t, half); got != response {
		t.Errorf("a client that half-closed got %q", got)
	}
	l.broker.linesLike(`^\[Broker\] \('127\.0\.0\.1', \d+\) left before its answer$`, 15)
	l.broker.linesLike("Response from", 16)
	l.broker.terminate()
	if n := len(l.broker.matches("left before its answer")); n != 15 {
		t.Errorf("%d clients left, want 15", n)
	}
}

// Clients that reset their connections leave no job behind: the worker drops
// those that wait for its slot, and the next client does not wait for them.
func TestClientsThatResetLeaveNoJob(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-slots", "1", "-long", "1h", "-short", "0s")
	l := newBroker(t, []string{w.addr}, "-answer-timeout", "1h", "-status", "127.0.0.1:0")
	var clients []*net.TCPConn
	for range 20 {
		conn := connect(t, l.broker.addr)
		send(t, conn, longRoundRobin)
		clients = append(clients, conn)
	}
	w.linesLike("Processing long", 1)
	for l.snapshot().Workers[0].InFlight < 20 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	for _, conn := range clients {
		conn.SetLinger(0)
		conn.Close()
	}
	l.broker.linesLike("left before its answer", 20)
	w.linesLike("Dropped", 19)
	l.broker.terminate()
	if n := len(l.broker.matches("failed 0; withdrawn 20; at most 20 at once")); n != 1 {
		t.Errorf("the broker showed:\n%s", l.broker.Stdout.String())
	}
	if n := len(w.matches("Processing")); n != 1 {
		t.Errorf("%d jobs were begun, want the one that had the slot", n)
	}
}
