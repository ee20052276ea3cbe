//go:build unix

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"balancelab/internal/control"
	"balancelab/internal/stats"
)

var (
	churnFor  = flag.Duration("churn.for", 2500*time.Millisecond, "how long workers come and go in each lab")
	churnSeed = flag.Uint64("churn.seed", 0, "which workers come and go; 0 means a new one")
)

// churnRate is how many requests a second there are meanwhile.
const churnRate = 300

// While workers are added, drained, stopped, restarted, removed, and get other
// weights and limits, by two controllers at once, no request fails. None is sent to
// a worker after its drain was answered: what the worker has begun is what was
// assigned to it.
func TestChurn(t *testing.T) {
	seed := *churnSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with: go test ./internal/e2e -run TestChurn -churn.seed %d -churn.for %v", seed, *churnFor)
	for i, flags := range [][]string{nil, {"-keepalive"}} {
		t.Run(strings.Join(append([]string{"broker"}, flags...), " "), func(t *testing.T) {
			c := newChurn(t, append(flags, "-status", "127.0.0.1:0", "-control")...)
			requests := int(churnRate * churnFor.Seconds())
			load := make(chan result, 1)
			go func() {
				r, err := finish("client", "-broker", c.broker.addr, "-n", strconv.Itoa(requests),
					"-rate", strconv.Itoa(churnRate), "Short,Long,Short", []string{"round_robin", "least_connections"}[i])
				if err != nil {
					r.stderr += err.Error()
				}
				load <- r
			}()
			ending := make(chan struct{})
			var controllers sync.WaitGroup
			for j := range uint64(2) {
				random := rand.New(rand.NewPCG(seed, 2*uint64(i)+j))
				controllers.Go(func() { c.control(random, ending) })
			}
			got := <-load
			close(ending)
			controllers.Wait()
			if got.code != 0 {
				t.Errorf("the load run: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			c.account(requests)
			c.broker.terminate()
			t.Logf("%d requests, and meanwhile: %v", requests, c.deeds)
		})
	}
}

// A churn is a lab whose workers come and go.
type churn struct {
	*lab
	client control.Client

	mu    sync.Mutex // guards all below, and is not held while anything is waited for
	up    int        // workers that do not drain
	known []*member
	gone  []stats.Worker // those that were removed, as they were at last
	ever  int            // how many there ever were
	deeds map[string]int // how many of each kind
}

// A member is a worker with what the test knows of it. Only the controller that
// has claimed it stops, drains or removes it.
type member struct {
	*program
	name    string
	claimed bool
	before  int // jobs of the programs that ran in its place before
}

func newChurn(t *testing.T, flags ...string) *churn {
	c := &churn{lab: newLab(t, flags...), up: 3, ever: 3, deeds: map[string]int{}}
	c.client.Addr = c.page()
	for i, w := range c.workers {
		c.known = append(c.known, &member{program: w, name: fmt.Sprint("Worker-", i+1)})
	}
	return c
}

// control gives orders at random, until ending is closed. What it has begun it
// finishes.
func (c *churn) control(random *rand.Rand, ending <-chan struct{}) {
	for {
		select {
		case <-ending:
			return
		case <-time.After(time.Duration(random.IntN(40)) * time.Millisecond):
		}
		switch k := random.IntN(10); {
		case k < 3:
			c.add(random)
		case k < 6:
			c.change(random)
		default:
			c.replace(random)
		}
	}
}

// change gives any worker another weight, or another limit, even one that the
// other controller has claimed.
func (c *churn) change(random *rand.Rand) {
	c.mu.Lock()
	name := c.known[random.IntN(len(c.known))].name
	c.mu.Unlock()
	weight, limit := 1+random.IntN(5), random.IntN(3)*20
	order := control.Change{Weight: &weight}
	if random.IntN(2) == 0 {
		order = control.Change{Limit: &limit}
	}
	_, err := c.client.Change(context.Background(), name, order)
	if err != nil && !strings.HasPrefix(err.Error(), "no such worker: "+name) { // it may be removed meanwhile
		c.t.Errorf("change %s: %v", name, err)
	}
	c.did("change")
}

func (c *churn) did(deed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deeds[deed]++
}

// add starts a worker and adds it, unless there are many.
func (c *churn) add(random *rand.Rand) {
	c.mu.Lock()
	c.ever++
	id, many := c.ever, len(c.known) >= 6
	c.mu.Unlock()
	if many {
		return
	}
	m := &member{program: c.startWorker(id, "127.0.0.1:0")}
	if m.program == nil {
		return
	}
	weight := 1 + random.IntN(5)
	w, err := c.client.Add(context.Background(), control.New{Addr: m.addr, Weight: &weight})
	if err != nil {
		c.t.Errorf("add: %v", err)
		return
	}
	m.name = w.Name
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = append(c.known, m)
	c.up++
	c.deeds["add"]++
}

// startWorker is for any goroutine. It returns nil after an error.
func (c *churn) startWorker(id int, addr string) *program {
	args := slices.Concat([]string{"-listen", addr}, quick, []string{strconv.Itoa(id)})
	p, err := set.Serve(context.Background(), "worker", set.Command("worker", args...))
	if err != nil {
		c.t.Error(err)
		return nil
	}
	return watch(c.t, p)
}

// claim takes a worker that is up, unless it is the last one.
func (c *churn) claim(random *rand.Rand) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.known[random.IntN(len(c.known))]
	if m.claimed || c.up < 2 {
		return nil
	}
	m.claimed = true
	c.up--
	return m
}

// replace drains a worker. Then it is up again as it is, is restarted, or is
// removed.
func (c *churn) replace(random *rand.Rand) {
	m := c.claim(random)
	if m == nil {
		return
	}
	ctx, fate := context.Background(), random.IntN(3)
	drained, err := c.client.Change(ctx, m.name, control.Change{State: control.Draining})
	if err == nil && (fate > 0 || random.IntN(2) == 0) {
		err = c.client.Drained(ctx, m.name, false)
	}
	if err != nil {
		c.t.Errorf("drain %s: %v", m.name, err)
		return
	}
	switch fate {
	case 0:
		c.did("drain")
	case 1:
		c.did("restart")
		c.stop(m, drained.Assigned)
		if m.program = c.startWorker(9, m.addr); m.program == nil {
			return
		}
	case 2:
		c.did("remove")
		c.remove(m, drained.Assigned)
		return
	}
	w, err := c.client.Change(ctx, m.name, control.Change{State: control.Up})
	if err != nil || w.Assigned != drained.Assigned {
		c.t.Errorf("up %s: %v; it was assigned %d requests after its drain was answered", m.name, err, w.Assigned-drained.Assigned)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.claimed = false
	c.up++
}

// stop stops the program of a worker that has nothing in flight. It has begun
// exactly what was assigned.
func (c *churn) stop(m *member, assigned int) {
	if err := m.Stop(); err != nil {
		c.t.Errorf("stop %s: %v", m.name, err)
	}
	m.before += len(m.matches(`^\[Worker\] Processing `))
	if m.before != assigned {
		c.t.Errorf("%s has begun %d jobs, and was assigned %d before its drain was answered", m.name, m.before, assigned)
	}
}

// remove removes a worker that has drained, and then stops it.
func (c *churn) remove(m *member, assigned int) {
	s, err := look(c.client.Addr)
	i := slices.IndexFunc(s.Workers, func(w stats.Worker) bool { return w.Name == m.name })
	if err != nil || i < 0 {
		c.t.Errorf("look at %s: %v; %+v", m.name, err, s.Workers)
		return
	}
	c.check(&s.Workers[i], assigned)
	if w, err := c.client.Remove(context.Background(), m.name); err != nil || w.State != "removed" {
		c.t.Errorf("remove %s: %+v, %v", m.name, w, err)
	}
	c.stop(m, assigned)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, s.Workers[i])
	c.known = slices.DeleteFunc(c.known, func(other *member) bool { return other == m })
}

// check wants a worker that was assigned a number of requests to have answered all
// of them.
func (c *churn) check(w *stats.Worker, assigned int) {
	if n := answeredBy(w); w.Assigned != assigned || n != assigned || w.Failed+w.Withdrawn+w.InFlight != 0 {
		c.t.Errorf("%s was assigned %d requests: %+v", w.Name, assigned, w)
	}
}

func answeredBy(w *stats.Worker) (n int) {
	for _, a := range w.Answered {
		n += a
	}
	return n
}

// account adds up what all workers have answered that ever were, when nothing is
// in flight any more.
func (c *churn) account(requests int) {
	c.t.Helper()
	s := c.snapshot()
	removed, all := 0, 0
	for i := range c.gone {
		removed += c.gone[i].Assigned
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		all += w.Assigned
		c.check(w, w.Assigned)
		m := c.known[slices.IndexFunc(c.known, func(m *member) bool { return m.name == w.Name })]
		c.stop(m, w.Assigned)
	}
	if s.Removed.Assigned != removed || removed+all != requests || s.Totals.Answered != requests {
		c.t.Errorf("%d requests; removed workers had %d, want %d; the others had %d; %+v", requests, s.Removed.Assigned, removed, all, s.Totals)
	}
	if len(c.known) != len(s.Workers) || len(c.gone)+len(c.known) < 3 {
		c.t.Errorf("%d workers, want %d", len(s.Workers), len(c.known))
	}
}
