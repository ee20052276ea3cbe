package simulate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	playFor   = flag.Duration("simulate.for", 2*time.Second, "for how long runs are begun, in real time")
	narrowFor = flag.Duration("simulate.narrow", 20*time.Second, "for how long a fault is narrowed down, in real time")
	firstOne  = flag.Uint64("simulate.from", 1, "the first seed; 0 means a random one")
	oneSeed   = flag.Uint64("simulate.seed", 0, "play this seed only, some times, and print its history")
	times     = flag.Int("simulate.times", 10, "how often -simulate.seed is played")
	onlyTrs   = flag.String("simulate.troubles", "all", "the numbers of the troubles of -simulate.seed that occur, or none")
	onlyCls   = flag.String("simulate.clients", "all", "the numbers of the clients of -simulate.seed that come")
)

// The whole lab is played from one seed after another, and nothing is wrong in
// any run. The first fault ends it: it is narrowed down, and shown.
func TestSimulate(t *testing.T) {
	if *oneSeed != 0 {
		t.Skip("one seed is played, by TestReplay")
	}
	s := &series{seed: *firstOne, begun: time.Now()}
	if s.seed == 0 {
		s.seed = uint64(rand.Uint32())
	}
	t.Run("runs", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("lane", func(t *testing.T) {
				t.Parallel()
				s.play(t)
			})
		}
	})
	summary = s.String()
}

// summary is the last line of make simulate; "" if nothing was simulated.
var summary string

func TestMain(m *testing.M) {
	code := m.Run()
	if summary != "" {
		fmt.Println(summary)
	}
	os.Exit(code)
}

// TestReplay plays one seed.
func TestReplay(t *testing.T) {
	if *oneSeed == 0 {
		t.Skip("no -simulate.seed")
	}
	p := draw(*oneSeed).only(numbers(t, *onlyTrs), numbers(t, *onlyCls))
	var shown *outcome // the first one that is wrong, or the first
	histories := map[string]int{}
	bad, same := 0, 0
	for range *times {
		o := play(t, p)
		text := o.history.String()
		histories[text]++
		same = max(same, histories[text])
		if len(o.faults) > 0 {
			bad++
		}
		if shown == nil || len(shown.faults) == 0 && len(o.faults) > 0 {
			shown = o
		}
	}
	fmt.Printf("%v\n%v\n", p, shown.history)
	fmt.Printf("%d of %d runs were wrong; %d had the same history, up to the order within a nanosecond\n", bad, *times, same)
	for _, f := range shown.faults {
		t.Error(f)
	}
}

// numbers parses a flag's list of numbers; nil is all.
func numbers(t *testing.T, list string) []int {
	all, err := parseList(list)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A series is runs of one seed after another, on all processors.
type series struct {
	begun time.Time
	seed  uint64 // the first one
	next  atomic.Uint64
	stop  atomic.Bool

	runs, requests, troubles atomic.Int64
	simulated                atomic.Int64 // nanoseconds
	faults                   atomic.Int64
}

// play plays seeds until the time is over, or a run is wrong.
func (s *series) play(t *testing.T) {
	for time.Since(s.begun) < *playFor && !s.stop.Load() {
		p := draw(s.seed + s.next.Add(1) - 1)
		o := play(t, p)
		s.runs.Add(1)
		s.requests.Add(int64(o.requests))
		s.troubles.Add(int64(o.troubles))
		s.simulated.Add(int64(o.lasted))
		if len(o.faults) > 0 && !s.stop.Swap(true) {
			s.faults.Add(1)
			t.Error(s.show(t, p, o))
		}
	}
}

// show narrows a fault down, and says how to see it again.
func (s *series) show(t *testing.T, p *plan, o *outcome) string {
	found := time.Since(s.begun)
	until := time.Now().Add(*narrowFor)
	n := &narrowing{
		plan: p,
		play: func(p *plan) []string { return play(t, p).faults },
		over: func() bool { return time.Now().After(until) },
	}
	small := n.narrow()
	var b strings.Builder
	fmt.Fprintf(&b, "found in run %d (seed %d), after %.1f s:\n", s.runs.Load(), p.seed, found.Seconds())
	for i, f := range o.faults[:min(3, len(o.faults))] {
		fmt.Fprintf(&b, "  %d. %.2000s\n", i+1, f)
	}
	fmt.Fprintf(&b, "It needs %d of %d troubles and %d of %d clients. Again, with the history:\n  %s\n",
		len(small.troubles), len(p.troubles), len(small.clients), len(p.clients), small.command(p))
	return b.String()
}

// String says what was played, and how fast.
func (s *series) String() string {
	simulated, real := time.Duration(s.simulated.Load()), time.Since(s.begun)
	verdict := "no fault found"
	if s.faults.Load() > 0 {
		verdict = "a fault was found"
	}
	return fmt.Sprintf("%s, %s requests, %s troubles; %s simulated seconds for a real one; %s",
		hours(simulated), thousands(s.requests.Load()), thousands(s.troubles.Load()),
		thousands(int64(simulated.Seconds()/real.Seconds())), verdict)
}

func hours(d time.Duration) string { return fmt.Sprintf("%.1f hours", d.Hours()) }

// thousands returns n with a comma between thousands.
func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// endless is how long a run may take in real time; most take some milliseconds.
const endless = 5 * time.Minute

// play plays a plan in a bubble. A bubble that can't end, since goroutines are left
// that wait for ever, is a fault, too. A run that goes on for ever ends the
// program.
func play(t *testing.T, p *plan) (o *outcome) {
	watchdog := time.AfterFunc(endless, func() { panic(fmt.Sprintf("the run of seed %d does not end", p.seed)) })
	defer watchdog.Stop()
	defer func() {
		if v := recover(); v != nil {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			o = &outcome{faults: []string{fmt.Sprintf("goroutines are left: %v\n%s", v, stacks)}}
		}
	}()
	synctest.Test(t, func(*testing.T) { o = run(p) })
	return o
}
