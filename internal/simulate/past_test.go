package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var past = flag.Duration("simulate.past", 0, "put each fault of the past back, and look for it for so long; 0: don't")

// A pastFault is a fault that the lab had once, or another one of that kind.
type pastFault struct {
	name  string
	edits []edit
}

// An edit is a text in a file below internal, and what stood there, or might have
// stood there.
type edit struct{ file, now, was string }

var pastFaults = []pastFault{
	{"a lease is released after the answer is written", []edit{{"broker/broker.go",
		"	b.Observer.Done(x)\n	err := x.deliver(client)\n",
		"	b.Observer.Done(x)\n	err := x.deliver(client)\n	if x.attempt.held {\n		b.release(x, balance.Answered)\n	}\n"},
		{"broker/broker.go", "	b.release(x, balance.Answered)\n	b.reply(client, x)\n", "	b.reply(client, x)\n"}}},
	{"a job is sent again after it was sent", []edit{{"broker/broker.go",
		"	case b.Redispatch:\n", "	case true:\n"}}},
	{"a kept connection has no deadline", []edit{{"broker/attempt.go",
		"	a.conn.SetDeadline(x.mark.Add(b.AnswerTimeout))\n",
		"	if a.taken.IsZero() {\n		a.conn.SetDeadline(x.mark.Add(b.AnswerTimeout))\n	}\n"}}},
	{"an idle connection is not looked at before it is used", []edit{{"broker/idle.go",
		"if conn == nil || conn.Quiet() {", "if true {"}}},
	{"every failure of a kept connection is taken for \"not taken\"", []edit{{"broker/attempt.go",
		"	case !errors.Is(err, protocol.ErrNotTaken):\n", "	case !errors.Is(err, protocol.ErrNotTaken) && x.attempt.taken.IsZero():\n"}}},
	{"a drain waits for silent clients", []edit{{"server/conn.go",
		"	c.SetReadDeadline(c.serving.stopped().Add(grace))\n", "	_ = grace\n"}}},
	{"the server ends when no file can be opened", []edit{{"server/server.go",
		"	case neterr.Passing(err):\n", "	case neterr.Passing(err) && !neterr.Exhausted(err):\n"}}},
	{"a close overtakes the answer when input is unread", []edit{{"server/conn.go",
		"	switch c.Peek() {\n	case socket.Quiet, socket.Ended: // there is nothing unread\n",
		"	switch c.Peek() {\n	case socket.Quiet, socket.Ended, socket.Input:\n"}}},
	{"each byte of a request gets a new deadline", []edit{{"server/conn.go",
		"	n, err := c.Conn.Read(p)\n	if n > 0 {\n", "	if c.within > 0 {\n		c.SetReadDeadline(time.Now().Add(c.within))\n	}\n	n, err := c.Conn.Read(p)\n	if n > 0 {\n"}}},
	{"what falls is not moved in the heap of least connections", []edit{{"balance/leastconnections.go",
		"func (l *LeastConnections) changed(m *member) { heap.Fix(&l.heap, m.heapAt) }",
		"func (l *LeastConnections) changed(m *member) {\n	if m.heapAt == 0 {\n		heap.Fix(&l.heap, 0)\n	}\n}"}}},
	{"least connections does not look at weights", []edit{{"balance/leastconnections.go",
		"	if x, y := a.inFlight*b.weight, b.inFlight*a.weight; x != y {\n", "	if x, y := a.inFlight, b.inFlight; x != y {\n"}}},
	{"a place that is given back is not handed on", []edit{{"balance/lease.go",
		"	p.serve()\n	return len(p.untold) > 0\n", "	return len(p.untold) > 0\n"}}},
	{"a trial that was withdrawn is not repeated", []edit{{"balance/lease.go",
		"		m.withdrawn++\n		p.repeatTrial(m, number)\n", "		m.withdrawn++\n"}}},
	{"round robin gives back a worker all the turns that it missed", []edit{{"balance/roundrobin.go",
		"	if was != unusable || m.grade != open {\n		m.kept = 0\n	}\n	s := &r.sides[m.grade]\n	s.weigh(m.weight)\n	m.paid = s.earned*int64(m.weight) - m.kept\n",
		"	s := &r.sides[m.grade]\n	s.weigh(m.weight)\n"}}},
	{"round robin forgets what a worker has paid that is full", []edit{{"balance/roundrobin.go",
		"	if was != unusable || m.grade != open {\n		m.kept = 0\n	}\n", "	m.kept = 0\n"}}},
	{"turns of equal workers go round, whatever each has paid", []edit{{"balance/roundrobin.go",
		".paid < -turn {", ".paid < -1000*turn {"}}},
	{"a job starts though its broker has left while it waited", []edit{{"worker/queue.go",
		"	if watch.end() {\n", "	if watch.end() && false {\n"},
		{"worker/queue.go", "	case <-watch.gone:\n", ""}}},
	{"a job that waits is watched for longer than it waits", []edit{{"worker/queue.go",
		"	watch := in.watch()\n	select {\n	case <-t.turn:\n", "	watch := in.watch()\n	select {\n	case <-t.turn:\n		return ctx.Err()\n"}}},
	{"output that is not read holds up work", []edit{{"console/writer.go",
		"	size := 1\n	for _, p := range parts {\n", "	w.w.Write([]byte(parts[0]))\n	size := 1\n	for _, p := range parts {\n"}}},
	{"a place that comes together with the end of the wait is lost", []edit{{"broker/queue.go",
		"		lease, _ = b.Pool.Leave(&x.pool)\n", "		b.Pool.Leave(&x.pool)\n"}}},
	{"those that wait are not looked at when a cool-down is over", []edit{{"balance/queue.go",
		"		q.wake = time.AfterFunc(time.Until(at), p.serveAfterCoolDown)\n", ""}}},
	{"a request that has waited for less comes first", []edit{{"balance/queue.go",
		"w.list.PushBack(w)", "w.list.PushFront(w)"}}},
	{"a worker that cools down gets what others are too full for", []edit{{"balance/pool.go",
		"p.takes(m) { // if others wait, no member takes one more\n", "m != nil && m.grade != unusable {\n"}}},
	{"failures count as in a row though answers came between", []edit{{"balance/health.go",
		"	m.inARow = 0\n	m.excess = max", "	m.excess = max"}}},
	{"cool-downs stay long", []edit{{"balance/health.go",
		"	if m.excess == 0 {\n		m.coolDown = 0\n	}\n", ""}}},
	{"only the answer to a trial brings a worker back", []edit{{"balance/health.go",
		"	if m.state != Up && !m.provesNothing(lease) {", "	if m.state == OnTrial && !m.provesNothing(lease) {"}}},
	{"any failure ends a trial", []edit{{"balance/health.go",
		"	case m.state == OnTrial && m.trial == lease:\n", "	case m.state == OnTrial:\n"}}},
	{"a client that leaves is held against the worker", []edit{{"balance/lease.go",
		"		m.withdrawn++\n		p.repeatTrial(m, number)\n", "		m.withdrawn++\n		p.failed(m, number)\n"}}},
	{"a client that leaves counts as a worker that does not answer", []edit{{"broker/attempt.go",
		"	if gone && err != nil {\n		err = errClientLeft\n	}\n", ""}}},
	{"among equals least connections prefers the first of the list", []edit{{"balance/leastconnections.go",
		"	if a.lastChosen != b.lastChosen {\n		return a.lastChosen < b.lastChosen\n	}\n", ""}}},
	{"a drain whose time is over waits for what is in flight", []edit{{"server/server.go",
		"		cancel(cutOff)\n		v.awaiting.tellAll()\n", "		cancel(cutOff)\n"}}},
	{"a connection's place is not given back", []edit{{"server/server.go",
		"	if c.placed && v.places != nil {\n		<-v.places\n	}\n", ""}}},
}

// Every fault of the past can be put back into today's code. With -simulate.past
// each one is, and has to be found; that is the table of README.md.
func TestPastFaults(t *testing.T) {
	for _, f := range pastFaults {
		t.Run(f.name, func(t *testing.T) {
			files := map[string]string{}
			for _, e := range f.edits {
				e.apply(t, files)
			}
			if *past > 0 {
				f.find(t, files)
			}
		})
	}
}

// apply puts the text of the edit's file as it was into files.
func (e edit) apply(t *testing.T, files map[string]string) {
	path, err := filepath.Abs(filepath.Join("..", e.file))
	if err != nil {
		t.Fatal(err)
	}
	text, edited := files[path]
	if !edited {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if n := strings.Count(text, e.now); n != 1 {
		t.Fatalf("this is in %s %d times, want once: %s", e.file, n, e.now)
	}
	files[path] = strings.Replace(text, e.now, e.was, 1)
}

var (
	foundIn = regexp.MustCompile(`found in run (\d+) \(seed \d+\), after ([\d.]+) s`)
	foundAs = regexp.MustCompile(`(?m)^ +1\. at [^ ]+: ([^{|\n]{1,110})`)
)

// find looks for a fault, with some files as they were, and prints a row of the
// table.
func (f pastFault) find(t *testing.T, files map[string]string) {
	dir := t.TempDir()
	replace := map[string]string{}
	for path, text := range files {
		replace[path] = filepath.Join(dir, filepath.Base(path))
		write(t, replace[path], []byte(text))
	}
	list, _ := json.Marshal(map[string]any{"Replace": replace})
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simulate.test")
	write(t, overlay, list)
	if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	out, _ := exec.Command(program, "-test.run", "TestSimulate", "-test.timeout", (*past + time.Minute).String(),
		"-simulate.from", "1", "-simulate.for", past.String(), "-simulate.narrow", "0s").CombinedOutput()
	in, as := foundIn.FindSubmatch(out), foundAs.FindSubmatch(out)
	if in == nil || as == nil {
		t.Fatalf("not found: %.2000s", out)
	}
	fmt.Printf("| %s | %s | %s | %s |\n", f.name, in[1], in[2], as[1])
}

func write(t *testing.T, name string, text []byte) {
	if err := os.WriteFile(name, text, 0o666); err != nil {
		t.Fatal(err)
	}
}
