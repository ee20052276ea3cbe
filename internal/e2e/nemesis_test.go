//go:build unix

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"balancelab/internal/programs"
)

var (
	nemesisFor  = flag.Duration("nemesis.for", 1500*time.Millisecond, "how long the nemesis harms each of its labs")
	nemesisSeed = flag.Uint64("nemesis.seed", 0, "what the nemesis does; 0 means a new one")
)

// The time for an answer is what a request costs that meets a machine which has
// vanished.
var nemesisFlags = []string{"-answer-timeout", "3s", "-dial-timeout", "15s", "-log", "text"}

// While a nemesis kills, stops, continues and restarts workers, has a machine
// vanish and come back, and does not read the broker's output, every request gets
// exactly one answer or one refusal. With -redispatch, and one worker that is
// left alone, every request gets its answer.
func TestNemesis(t *testing.T) {
	seed := *nemesisSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: go test ./internal/e2e -run TestNemesis -nemesis.seed %d -nemesis.for %v", seed, *nemesisFor)
	for i, flags := range [][]string{nil, {"-keepalive"}, {"-redispatch"}, {"-redispatch", "-keepalive"}} {
		t.Run(strings.Join(append([]string{"broker"}, flags...), " "), func(t *testing.T) {
			n := newNemesis(t, rand.New(rand.NewPCG(seed, uint64(i))), append(flags, nemesisFlags...)...)
			l := n.lab
			redispatch := slices.Contains(flags, "-redispatch")
			load := startLoad(l.broker.addr, seed+uint64(i))
			n.rage(*nemesisFor)
			answered, refused := load.stop(t)
			if redispatch && refused > 0 {
				t.Errorf("%d requests were refused, one with %q", refused, load.example)
			}
			if jobs := n.begun(); !redispatch && jobs > int(answered+refused) {
				t.Errorf("%d requests were sent as %d jobs", answered+refused, jobs)
			}
			l.untilAnswered(t, 6)
			t.Logf("%d requests answered, %d refused, while: %s", answered, refused, strings.Join(n.deeds, " "))
			l.broker.terminate()
			l.summary()
		})
	}
}

// A nemesis harms workers of a lab, except one. A fourth worker is on a machine
// that vanishes.
type nemesis struct {
	*lab
	random  *rand.Rand
	stopped [3]bool
	deeds   []string
	all     []*program // the workers that were ever started
	machine *tunnel    // to the fourth worker
	output  sync.Mutex // held while the broker's output is not read
	unread  bool       // output is held
}

func newNemesis(t *testing.T, random *rand.Rand, flags ...string) *nemesis {
	t.Helper()
	n := &nemesis{random: random}
	workers := threeWorkers(t, quick...)
	fourth := startWorker(t, 4, "127.0.0.1:0", quick...)
	n.all = append(slices.Clone(workers), fourth)
	n.machine = newTunnel(t, fourth.addr)
	addrs := append(addrsOf(workers), n.machine.addr)
	cmd := set.Command("broker", append([]string{"-listen", "127.0.0.1:0", "-workers", strings.Join(addrs, ",")}, flags...)...)
	cmd.Stdout = &programs.Screen{Line: func(string) {
		n.output.Lock()
		defer n.output.Unlock()
	}}
	n.lab = &lab{t: t, broker: startCommand(t, "broker", cmd), workers: workers, names: len(addrs)}
	return n
}

// begun returns how many jobs were begun, at least: a worker that is killed
// takes its last lines along.
func (n *nemesis) begun() (jobs int) {
	for _, w := range n.all {
		jobs += len(w.matches(`^\[Worker\] Processing `))
	}
	return jobs
}

func (n *nemesis) rage(d time.Duration) {
	unharmed := n.random.IntN(3)
	end := time.After(d)
	for {
		select {
		case <-end:
			n.repent()
			return
		case <-time.After(time.Duration(n.random.IntN(150)) * time.Millisecond):
			switch n.random.IntN(8) {
			case 0:
				n.deeds = append(n.deeds, "vanish-4")
				n.machine.vanish()
			case 1:
				n.readOrNot()
			default:
				n.harm((unharmed + 1 + n.random.IntN(2)) % 3)
			}
		}
	}
}

// readOrNot begins or ends a time in which the broker's output is not read.
func (n *nemesis) readOrNot() {
	if n.unread = !n.unread; n.unread {
		n.deeds = append(n.deeds, "unread")
		n.output.Lock()
		return
	}
	n.deeds = append(n.deeds, "read")
	n.output.Unlock()
}

// harm does something to the worker with this index.
func (n *nemesis) harm(i int) {
	w := n.workers[i]
	switch deed := n.random.IntN(4); {
	case n.stopped[i]:
		n.did("continue", i)
		w.signal(syscall.SIGCONT)
		n.stopped[i] = false
	case deed == 0:
		n.did("stop", i)
		w.signal(syscall.SIGSTOP)
		n.stopped[i] = true
	case deed == 1:
		n.did("terminate", i)
		w.terminate()
		n.restart(i)
	default:
		n.did("kill", i)
		w.Kill()
		if deed == 2 {
			<-time.After(time.Duration(n.random.IntN(300)) * time.Millisecond)
		}
		n.restart(i)
	}
}

func (n *nemesis) did(what string, i int) {
	n.deeds = append(n.deeds, fmt.Sprintf("%s-%d", what, i+1))
}

func (n *nemesis) restart(i int) {
	n.t.Helper()
	n.workers[i] = startWorker(n.t, i+1, n.workers[i].addr, quick...)
	n.all = append(n.all, n.workers[i])
}

// repent leaves every worker running, and the output read.
func (n *nemesis) repent() {
	if n.unread {
		n.readOrNot()
	}
	for i := range n.workers {
		if n.stopped[i] {
			n.harm(i)
		}
	}
}

// A load asks without end, from many goroutines.
type load struct {
	asked             sync.WaitGroup
	ending            atomic.Bool
	answered, refused atomic.Int64

	mu      sync.Mutex // guards all below
	broken  []string   // what was neither an answer nor a refusal
	example string     // of a refusal
}

func startLoad(broker string, seed uint64) *load {
	l := new(load)
	for i := range 24 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		l.asked.Go(func() {
			for !l.ending.Load() {
				l.ask(broker, []string{shortRoundRobin, shortLeast, longRoundRobin, longLeast}[random.IntN(4)])
			}
		})
	}
	return l
}

func (l *load) ask(broker, request string) {
	text, err := say(broker, request)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.broken = append(l.broken, fmt.Sprintf("%s: %q, %v", request, text, err))
	case text == response:
		l.answered.Add(1)
	case strings.HasPrefix(text, "Error: ") && !strings.Contains(text, response):
		l.refused.Add(1)
		l.example = text
	default:
		l.broken = append(l.broken, fmt.Sprintf("%s: neither an answer nor a refusal: %q", request, text))
	}
}

// stop ends the load and returns how many requests ended in which way.
func (l *load) stop(t *testing.T) (answered, refused int64) {
	t.Helper()
	l.ending.Store(true)
	l.asked.Wait()
	if len(l.broken) > 0 {
		t.Errorf("%d requests did not end as they must, one of them %s", len(l.broken), l.broken[0])
	}
	if l.answered.Load() == 0 {
		t.Error("nothing was answered: there was no load")
	}
	return l.answered.Load(), l.refused.Load()
}

// untilAnswered asks until n requests in a row were answered: what cools down
// is used again by then, or a trial has failed for the last time.
func (l *lab) untilAnswered(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for row := 0; row < n; row++ {
		if l.say(shortLeast) != response {
			row = -1
		}
		if time.Now().After(deadline) {
			t.Fatal("the broker does not serve as before")
		}
	}
}
