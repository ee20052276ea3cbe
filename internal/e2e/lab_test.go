package e2e

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	response = "Response from Worker" // what a worker answers
	received = "[Client] Received: Response from Worker\n"

	shortRoundRobin = "AppID:Short:round_robin"
	shortLeast      = "AppID:Short:least_connections"
	longRoundRobin  = "AppID:Long:round_robin"
	longLeast       = "AppID:Long:least_connections"
)

// quick is how long work takes in a lab where nothing depends on it.
var quick = []string{"-long", "100ms", "-short", "5ms"}

// A lab is a broker and its workers. Its methods are for the test's own
// goroutine.
type lab struct {
	t        *testing.T
	broker   *program
	workers  []*program // the real ones, if there are any
	names    int        // how many workers the broker knows
	answered int        // how many requests of say a worker has answered
}

// newLab starts three workers, whose work is quick, and a broker.
func newLab(t *testing.T, brokerFlags ...string) *lab {
	t.Helper()
	return newLabOf(t, quick, brokerFlags...)
}

// newLabOf is newLab for workers with flags of their own.
func newLabOf(t *testing.T, workerFlags []string, brokerFlags ...string) *lab {
	t.Helper()
	workers := threeWorkers(t, workerFlags...)
	l := newBroker(t, addrsOf(workers), brokerFlags...)
	l.workers = workers
	return l
}

func threeWorkers(t *testing.T, flags ...string) (workers []*program) {
	t.Helper()
	for id := 1; id <= 3; id++ {
		workers = append(workers, startWorker(t, id, "127.0.0.1:0", flags...))
	}
	return workers
}

func addrsOf(workers []*program) (addrs []string) {
	for _, w := range workers {
		addrs = append(addrs, w.addr)
	}
	return addrs
}

func startWorker(t *testing.T, id int, addr string, flags ...string) *program {
	t.Helper()
	args := append([]string{"-listen", addr}, flags...)
	return start(t, "worker", append(args, strconv.Itoa(id))...)
}

// newBroker starts a broker for workers that are there already, or are not.
func newBroker(t *testing.T, workers []string, flags ...string) *lab {
	t.Helper()
	args := append([]string{"-listen", "127.0.0.1:0", "-workers", strings.Join(workers, ",")}, flags...)
	return &lab{t: t, broker: start(t, "broker", args...), names: len(workers)}
}

// ask runs the client.
func (l *lab) ask(appType, approach string) result {
	l.t.Helper()
	return run(l.t, "client", "-broker", l.broker.addr, appType, approach)
}

// askFor runs the client, which must be answered by the worker with this
// number. The test has seen all answers before this one.
func (l *lab) askFor(worker int, appType, approach string) {
	l.t.Helper()
	before := len(l.shownAnswers())
	got := l.ask(appType, approach)
	if got != (result{stdout: received}) {
		l.t.Fatalf("client %s %s: %+v", appType, approach, got)
	}
	l.broker.linesLike(anyAnswer, before+1)
	if by := l.shownAnswers()[before:]; len(by) != 1 || by[0] != worker {
		l.t.Errorf("client %s %s: answered by %v, want Worker-%d", appType, approach, by, worker)
	}
}

// say sends text to the broker and returns the answer, whole.
func (l *lab) say(text string) string {
	l.t.Helper()
	answer, err := say(l.broker.addr, text)
	if err != nil {
		l.t.Fatalf("after sending %.80q: %v, with %.80q received", text, err, answer)
	}
	if answer == response {
		l.answered++
	}
	return answer
}

// works wants an answer to each of n requests, one after another.
func (l *lab) works(n int) {
	l.t.Helper()
	l.worksBy(shortRoundRobin, n)
}

func (l *lab) worksBy(request string, n int) {
	l.t.Helper()
	for range n {
		if got := l.say(request); got != response {
			l.t.Fatalf("the broker does not serve as before: answer %q", got)
		}
	}
}

const anyAnswer = `^\[Broker\] Response from Worker-(\d+): `

// shownAnswers returns the numbers of the workers that answered, in order, as
// far as the broker's lines have arrived: that of an answer may come later than
// the answer.
func (l *lab) shownAnswers() (numbers []int) {
	for _, m := range l.broker.matches(anyAnswer + "(.*)") {
		if strings.HasPrefix(m[2], "Error: ") {
			continue // a refusal is shown, and is no answer
		}
		n, _ := strconv.Atoi(m[1])
		numbers = append(numbers, n)
	}
	return numbers
}

// processed returns how many jobs each real worker has begun. All of them must
// be running.
func (l *lab) processed() (counts []int) {
	l.t.Helper()
	for _, w := range l.workers {
		counts = append(counts, w.jobs())
	}
	return counts
}

// jobs returns how many jobs a worker has begun.
func (p *program) jobs() int {
	p.t.Helper()
	p.sync()
	return len(p.matches(`^\[Worker\] Processing `))
}

// takeTurns sends n requests, one after another, and wants the workers, all of
// which are real and running, to get equally many.
func (l *lab) takeTurns(request string, n int) {
	l.t.Helper()
	before := l.processed()
	l.worksBy(request, n)
	for i, jobs := range l.processed() {
		if got, want := jobs-before[i], n/len(l.workers); got != want {
			l.t.Errorf("Worker-%d got %d of %d times %s, want %d", i+1, got, n, request, want)
		}
	}
}

// balanced wants least connections to choose the workers in turn: a lease that
// was not released makes its worker look busy for ever.
func (l *lab) balanced() {
	l.t.Helper()
	l.takeTurns(shortLeast, 6)
}

// fairAgain asks until every worker works, which takes a cool-down, and then
// wants them to take turns. No request is answered by an error meanwhile.
func (l *lab) fairAgain() {
	l.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for before := l.processed(); !allMore(l.processed(), before); <-tick.C {
		if time.Now().After(deadline) {
			l.t.Fatalf("a worker does not come back: the workers did %v jobs, and now %v", before, l.processed())
		}
		l.works(1)
	}
	l.takeTurns(shortRoundRobin, 9)
}

// allMore reports whether each of now is more than what it was before.
func allMore(now, before []int) bool {
	for i := range now {
		if now[i] <= before[i] {
			return false
		}
	}
	return true
}

// A tally is a worker's line in the broker's summary.
type tally struct{ roundRobin, leastConnections, failed, peak int }

var tallyLine = regexp.MustCompile(`^\[Broker\] Worker-(\d+): answered (\d+) by round_robin, (\d+) by least_connections; failed (\d+);(?: withdrawn \d+;)? at most (\d+) at once$`)

// stop ends the broker in the orderly way and returns its summary, which must
// agree with the lines that were shown before.
func (l *lab) stop() []tally {
	l.t.Helper()
	l.broker.terminate()
	return l.summary()
}

// summary returns the last lines of a broker that has exited.
func (l *lab) summary() (tallies []tally) {
	l.t.Helper()
	lines := l.broker.Stdout.Lines()
	if len(lines) < l.names {
		l.t.Fatalf("no summary: the broker showed:\n%s", l.broker.Stdout.String())
	}
	shown := map[int]int{}
	for _, n := range l.shownAnswers() {
		shown[n]++
	}
	for i, line := range lines[len(lines)-l.names:] {
		m := tallyLine.FindStringSubmatch(line)
		if m == nil || m[1] != strconv.Itoa(i+1) {
			l.t.Fatalf("line %d of the summary is %q", i+1, line)
		}
		var n [4]int
		for j := range n {
			n[j], _ = strconv.Atoi(m[j+2])
		}
		tl := tally{n[0], n[1], n[2], n[3]}
		if sum := tl.roundRobin + tl.leastConnections; sum != shown[i+1] {
			l.t.Errorf("the summary counts %d answers of Worker-%d, the broker showed %d", sum, i+1, shown[i+1])
		}
		if sum := tl.roundRobin + tl.leastConnections + tl.failed; tl.peak > sum || sum > 0 && tl.peak == 0 {
			l.t.Errorf("Worker-%d: at most %d at once of %d", i+1, tl.peak, sum)
		}
		tallies = append(tallies, tl)
	}
	return tallies
}

// stopWith is stop, with what the workers together must have answered and
// failed: all that was assigned, no more and no less.
func (l *lab) stopWith(answered, failed int) {
	l.t.Helper()
	tallies := l.stop()
	if tallies == nil {
		return
	}
	a, f := 0, 0
	for _, tl := range tallies {
		a += tl.roundRobin + tl.leastConnections
		f += tl.failed
	}
	if a != answered || f != failed {
		l.t.Errorf("answered %d and failed %d in all, want %d and %d; the broker showed:\n%s", a, f, answered, failed, l.broker.Stdout.String())
	}
}

// dial opens a connection on which everything has a deadline. It may be called
// from any goroutine.
func dial(addr string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), nil
}

// accepts waits until a program listens at addr.
func accepts(t *testing.T, addr string) {
	t.Helper()
	untilDialed(t, addr, func(err error) bool { return err == nil })
}

// untilDialed connects to addr again and again, until the outcome is wanted.
func untilDialed(t *testing.T, addr string, wanted func(error) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := dial(addr)
		if err == nil {
			conn.Close()
		}
		if wanted(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("connecting to %s: still %v", addr, err)
		}
		<-tick.C
	}
}

// connect is dial for the test's own goroutine.
func connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// peerOf returns the pattern of conn's own address, as lines show a peer's.
func peerOf(conn net.Conn) string {
	_, port, _ := strings.Cut(conn.LocalAddr().String(), ":")
	return `\('127\.0\.0\.1', ` + port + `\)`
}

// send writes text on conn.
func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("sending %.80q: %v", text, err)
	}
}

// receive returns all that comes on conn until the other side closes. A reset
// is an error: it may have destroyed something.
func receive(t *testing.T, conn net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %.80q: %v", b, err)
	}
	return string(b)
}

// say sends text on a new connection and returns all that comes back until the
// other side closes. It may be called from any goroutine.
func say(addr, text string) (string, error) {
	conn, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// insist is say; it asks again when a full broker let it go because it was slow
// to send its request. On a busy machine more than a second may lie between a
// goroutine's connect and its write.
func insist(addr, text string) (answer string, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		answer, err = say(addr, text)
		if err != nil || !strings.HasSuffix(answer, "when another client needed the place; send it at once") {
			break
		}
	}
	return answer, err
}

type reply struct {
	text string
	err  error
}

// volley says text n times at once and returns all the replies.
func volley(addr, text string, n int) []reply { return startVolley(addr, text, n)() }

// startVolley returns when all are under way; the function that it returns
// waits for the replies.
func startVolley(addr, text string, n int) (replies func() []reply) {
	came := make(chan reply, n)
	for range n {
		go func() {
			text, err := insist(addr, text)
			came <- reply{text, err}
		}()
	}
	return func() (all []reply) {
		for range n {
			all = append(all, <-came)
		}
		return all
	}
}

// allAnswered wants nothing but answers.
func allAnswered(t *testing.T, replies []reply) {
	t.Helper()
	bad := 0
	example := ""
	for _, r := range replies {
		if r.err != nil || r.text != response {
			bad++
			example = fmt.Sprintf("%.100q, %v", r.text, r.err)
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d requests were not answered; one of them: %s", bad, len(replies), example)
	}
}

// isRefusal wants a whole refusal whose reason contains each of the texts.
func isRefusal(t *testing.T, answer string, reasons ...string) {
	t.Helper()
	if !strings.HasPrefix(answer, "Error: ") || strings.Contains(answer, "\n") || len(answer) > 1024 {
		t.Errorf("answer %.100q, want one line that begins with \"Error: \"", answer)
	}
	for _, r := range reasons {
		if !strings.Contains(answer, r) {
			t.Errorf("answer %.300q does not say %q", answer, r)
		}
	}
}
