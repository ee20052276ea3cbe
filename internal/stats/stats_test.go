package stats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/histogram"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

// lab is a recorder with a pool, and the methods that the tests are written with.
type lab struct {
	t *testing.T
	*Recorder
	pool *balance.Pool
}

func newLab(t *testing.T, next broker.Observer) *lab {
	pool := balance.NewPool([]balance.Worker{{Name: "Worker-1", Weight: 2}, {Name: "Worker-2"}}, selectors()...)
	return &lab{t, New(pool, next), pool}
}

// selectors returns the selectors of both approaches.
func selectors() []balance.Selector {
	return []balance.Selector{
		protocol.RoundRobin:       new(balance.RoundRobin),
		protocol.LeastConnections: new(balance.LeastConnections),
	}
}

var client = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234}

// answer is an exchange that ends well.
func (l *lab) answer(a protocol.Approach, took time.Duration) {
	l.Connected(client)
	var tried balance.Request
	lease, ok := l.pool.Assign(int(a), &tried)
	if !ok {
		l.t.Error("no worker was assigned")
		return
	}
	lease.Release(balance.Answered)
	l.Done(&broker.Exchange{
		Client: client, Request: protocol.Request{Type: protocol.Short, Approach: a}, Worker: lease.Worker().Name,
		Attempts: 1, Answer: protocol.Response, Connecting: took / 4, Serving: took - took/4, Reading: time.Hour,
	})
}

// fail is an exchange that ends with a failure.
func (l *lab) fail(x broker.Exchange, f broker.Failure) {
	l.Connected(client)
	x.Client, x.Failure = client, &f
	l.Done(&x)
}

// malformed is why something was no request.
func malformed(text string) broker.Failure {
	return broker.Failure{Reason: broker.Malformed, Err: errors.New(text)}
}

// refused is the attempt at a worker that can't be reached.
func refused(worker string) *broker.AttemptError {
	return &broker.AttemptError{Worker: worker, Err: neterr.Errno(neterr.Refused)}
}

func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, console.Off{})
		for range 6 {
			l.answer(protocol.RoundRobin, 3*time.Second)
		}
		l.answer(protocol.LeastConnections, 20*time.Millisecond)
		l.fail(broker.Exchange{Request: protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}, Attempts: 2, Worker: "Worker-2"},
			broker.Failure{Reason: broker.NoWorker, Attempts: []*broker.AttemptError{refused("Worker-1"), refused("Worker-2")}})
		l.fail(broker.Exchange{Reading: time.Second}, malformed(`unknown type "Longer": want Long or Short`))
		l.ClientGone(&broker.Exchange{Client: client}, errors.New("reset"))
		l.Connected(client)

		s := l.Snapshot()
		if s.Clients != 1 {
			t.Errorf("%d clients, want 1", s.Clients)
		}
		want := Totals{Connected: 10, Answered: 7, Refused: 1, ClientsGone: 1}
		got := s.Totals
		if got.Failed[protocol.RoundRobin] != 1 || got.Failed[protocol.LeastConnections] != 0 {
			t.Errorf("failed: %v", got.Failed)
		}
		if len(s.Durations) != 4 {
			t.Errorf("%d histograms, want one for each approach and type", len(s.Durations))
		}
		if got.Failed, got.Withdrawn = nil, nil; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if m := s.LastMinute; m.Answered != 7 || m.Failed != 2 || m.Seconds != 1 || m.Rate != 7 {
			t.Errorf("the last minute is %+v", m)
		}
		if w := s.Workers[0]; w.Answered[protocol.RoundRobin] != 4 || w.FairShare != 2.0/3 || w.State != "up" {
			t.Errorf("Worker-1 is %+v", w)
		}
		if p := s.Spread[0]; p.Assigned != 6 || p.MaxDeviation > 1e-9 || p.Evenness < .999 {
			t.Errorf("a spread that goes with the weights is %+v", p)
		}
		for _, h := range s.Durations {
			want := Histogram{Approach: h.Approach, Type: h.Type, Buckets: []Bucket{}}
			switch {
			case h.Type == protocol.Long: // every answer was to a Short
			case h.Approach == protocol.RoundRobin:
				want.Count, want.Sum, want.Buckets = 6, 18, []Bucket{{3.09, 6}}
			case h.Approach == protocol.LeastConnections:
				want.Count, want.Sum, want.Buckets = 1, .02, []Bucket{{.02042, 1}}
			}
			if !reflect.DeepEqual(h, want) {
				t.Errorf("durations: %+v, want %+v", h, want)
			}
		}
	})
}

// TestWorkers has one worker fail and the other answer.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, console.Off{})
		lease := func() balance.Lease {
			lease, ok := l.pool.Assign(int(protocol.LeastConnections), new(balance.Request))
			if !ok {
				t.Fatal("no worker was assigned")
			}
			return lease
		}
		for range 3 { // one request at Worker-1 and one at Worker-2
			all := []balance.Lease{lease(), lease()}
			for _, one := range all {
				outcome := balance.Answered
				if one.Worker().Name == "Worker-2" {
					outcome = balance.Failed
				}
				one.Release(outcome)
			}
		}
		l.answer(protocol.RoundRobin, time.Second)
		answered := time.Now()
		lease()
		lease()
		time.Sleep(250 * time.Millisecond)
		got := l.Snapshot().Workers
		want := []Worker{
			{
				Name: "Worker-1", State: "up", Weight: 2, FairShare: 2. / 3, InFlight: 2, Peak: 2, Assigned: 6,
				Answered: map[protocol.Approach]int{protocol.RoundRobin: 1, protocol.LeastConnections: 3}, History: []int{}, InFlightOf: map[protocol.Type]int{protocol.Long: 0, protocol.Short: 0},
				LastAnswer: answered, Serving: Serving{Count: 1, Sum: .75},
			},
			{
				Name: "Worker-2", State: "cooling down", Cooling: .75, Weight: 1, FairShare: 1. / 3, Peak: 1, Assigned: 3, Failed: 3,
				Answered: map[protocol.Approach]int{protocol.RoundRobin: 0, protocol.LeastConnections: 0}, History: []int{},
				InFlightOf: map[protocol.Type]int{protocol.Long: 0, protocol.Short: 0},
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if !got[0].Up() || got[1].Up() {
			t.Errorf("up: %v and %v, want true and false", got[0].Up(), got[1].Up())
		}
	})
}

func TestLatest(t *testing.T) {
	l := newLab(t, console.Off{})
	for range 2 * latestSize {
		l.answer(protocol.RoundRobin, time.Millisecond)
	}
	l.fail(broker.Exchange{Reading: time.Second}, malformed(strings.Repeat("é", protocol.MaxLen)+"\x1b[2J"))
	l.fail(broker.Exchange{}, malformed("bell \a"))
	s := l.Snapshot()
	if len(s.Latest) != latestSize {
		t.Fatalf("%d requests are kept, want %d", len(s.Latest), latestSize)
	}
	for i, r := range s.Latest {
		if want := 2*latestSize + 2 - i; r.Number != want {
			t.Errorf("place %d has number %d, want %d", i, r.Number, want)
		}
	}
	if r := s.Latest[0]; r.Detail != `"bell \a"` || r.Outcome != Refused || r.Worker != "" {
		t.Errorf("got %+v", r)
	}
	if r := s.Latest[1]; len(r.Detail) > detailSize+len("…") || r.Seconds != 1 {
		t.Errorf("got %d bytes of detail, %v seconds", len(r.Detail), r.Seconds)
	}
	if r := s.Latest[2]; r.Outcome != Answered || r.Detail != protocol.Response || r.Seconds != .001 || r.Type != protocol.Short {
		t.Errorf("got %+v", r)
	}
}

// A client that connects and leaves without a byte, as "nc -z" does, is no
// request: it is counted, and gives no row and no failure.
func TestNoRequest(t *testing.T) {
	j := &told{}
	l := newLab(t, j)
	l.answer(protocol.RoundRobin, time.Second)
	for range 5 {
		l.fail(broker.Exchange{}, broker.Failure{Reason: broker.NoRequest})
	}
	l.answer(protocol.RoundRobin, time.Second)
	s := l.Snapshot()
	if s.Totals.NoRequest != 5 || s.Totals.Connected != 7 || s.Totals.Refused != 0 || s.Clients != 0 {
		t.Errorf("got %+v and %d clients", s.Totals, s.Clients)
	}
	if len(s.Latest) != 2 || s.Latest[0].Number != 2 || s.LastMinute.Failed != 0 {
		t.Errorf("got %+v and %d failed in the last minute", s.Latest, s.LastMinute.Failed)
	}
	if len(j.words) != 14 {
		t.Errorf("the next observer was told %q", j.words)
	}
}

func TestLatestErrorOfAWorker(t *testing.T) {
	l := newLab(t, console.Off{})
	if e := l.Snapshot().Workers[0].Error; e != nil {
		t.Errorf("a new worker has the error %v", e)
	}
	l.Unreachable("Worker-1", &net.OpError{Op: "dial", Net: "tcp", Err: neterr.Errno(neterr.Refused)})
	l.Unreachable("Worker-9", errors.New("an unknown worker"))
	l.fail(broker.Exchange{Attempts: 1, Worker: "Worker-2"}, broker.Failure{Reason: broker.WorkerFailed, Attempts: []*broker.AttemptError{{Worker: "Worker-2", Err: errors.New("no whole answer within 30s")}}})
	l.fail(broker.Exchange{Attempts: 2, Worker: "Worker-2"}, broker.Failure{Reason: broker.NoWorker, Attempts: []*broker.AttemptError{refused("Worker-1"), refused("Worker-2")}})
	w := l.Snapshot().Workers
	if got, want := w[0].Error.Text, "connection refused"; got != want {
		t.Errorf("Worker-1: got %q, want %q", got, want)
	}
	if got, want := w[1].Error.Text, "no whole answer within 30s"; got != want {
		t.Errorf("Worker-2: got %q, want %q", got, want)
	}
	l.Unreachable("Worker-1", errors.New("bell \a"))
	if got, want := l.Snapshot().Workers[0].Error.Text, `"bell \a"`; got != want {
		t.Errorf("a hostile text: got %s, want %s", got, want)
	}
}

func TestLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, console.Off{})
		for i := range 100 { // 1 to 100 ms, in two halves ten seconds apart
			if i == 50 {
				time.Sleep(10 * time.Second)
			}
			l.answer(protocol.RoundRobin, time.Duration(i+1)*time.Millisecond)
		}
		s := l.Snapshot()
		m, took := s.LastMinute, latencyOf(s, protocol.RoundRobin, protocol.Short)
		for _, q := range []struct{ got, want float64 }{{took.P50, .050}, {took.P95, .095}, {took.P99, .099}} {
			if q.got < .94*q.want || q.got > 1.06*q.want {
				t.Errorf("got %v, want %v within 6 percent", q.got, q.want)
			}
		}
		if m.Seconds != 10 || m.Rate != 10 || m.PerSecond[slots-1] != 50 || m.PerSecond[slots-11] != 50 {
			t.Errorf("after 10 seconds: %+v", m)
		}
		time.Sleep(49 * time.Second)
		if m := l.Snapshot().LastMinute; m.Answered != 100 || m.Seconds != 59 {
			t.Errorf("after 59 seconds: %+v", m)
		}
		time.Sleep(2 * time.Second) // 61: the first half is forgotten
		s = l.Snapshot()
		if m := s.LastMinute; m.Answered != 50 || latencyOf(s, protocol.RoundRobin, protocol.Short).P50 < .070 || m.Seconds != 59 {
			t.Errorf("after 61 seconds: %+v", m)
		}
		time.Sleep(time.Hour)
		s = l.Snapshot()
		if m := s.LastMinute; m.Answered != 0 || latencyOf(s, protocol.RoundRobin, protocol.Short).P99 != 0 || m.Rate != 0 || slices.Max(m.PerSecond) != 0 {
			t.Errorf("after an hour: %+v", m)
		}
		left := l.lastMinute.recent().answered
		left.all(func(a protocol.Approach, y protocol.Type, h *histogram.Histogram) {
			t.Errorf("something is left in the buckets of %v, %v", a, y)
		})
	})
}

// TestExactWhereAllAreAlike: a page that shows 4.97 s for a job of 5 seconds
// would raise a question.
func TestExactWhereAllAreAlike(t *testing.T) {
	l := newLab(t, console.Off{})
	for range 10 {
		l.answer(protocol.LeastConnections, 5003*time.Millisecond)
	}
	if m := latencyOf(l.Snapshot(), protocol.LeastConnections, protocol.NoType); m.P50 != 5.003 || m.P99 != 5.003 {
		t.Errorf("got %v and %v, want 5.003", m.P50, m.P99)
	}
	for range 8 {
		l.answer(protocol.LeastConnections, 1002*time.Millisecond)
	}
	l.answer(protocol.LeastConnections, 20*time.Second)
	if m := latencyOf(l.Snapshot(), protocol.LeastConnections, protocol.NoType); m.P50 != 5.003 || m.P99 != 20 || m.Max != 20 {
		t.Errorf("among shorter and longer ones: got %v and %v, want 5.003 and 20", m.P50, m.P99)
	}
}

// latencyOf returns the row of an approach and a type.
func latencyOf(s Snapshot, a protocol.Approach, y protocol.Type) Latency {
	for _, l := range s.LastMinute.Latency {
		if l.Approach == a && l.Type == y {
			return l
		}
	}
	return Latency{}
}

// TestLatencyIsNotMixed: what one approach did says nothing of the other one.
func TestLatencyIsNotMixed(t *testing.T) {
	l := newLab(t, console.Off{})
	done := func(a protocol.Approach, y protocol.Type, took time.Duration) {
		l.Done(&broker.Exchange{Client: client, Request: protocol.Request{Type: y, Approach: a}, Worker: "Worker-1", Attempts: 1, Serving: took})
	}
	for range 99 {
		done(protocol.RoundRobin, protocol.Long, 20*time.Second)
		done(protocol.RoundRobin, protocol.Short, 10*time.Second)
		done(protocol.LeastConnections, protocol.Long, 5*time.Second)
	}
	done(protocol.RoundRobin, protocol.Short, time.Minute)
	rr, lc := protocol.RoundRobin, protocol.LeastConnections
	want := []Latency{
		{rr, protocol.NoType, 199, 20, 20, 20, 60}, {rr, protocol.Long, 99, 20, 20, 20, 20}, {rr, protocol.Short, 100, 10, 10, 10, 60},
		{lc, protocol.NoType, 99, 5, 5, 5, 5}, {lc, protocol.Long, 99, 5, 5, 5, 5}, {lc, protocol.Short, 0, 0, 0, 0, 0},
	}
	if got := l.Snapshot().LastMinute.Latency; !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestWindowLaw compares what a window says with all that was ever added,
// whatever happens.
func TestWindowLaw(t *testing.T) {
	type event struct {
		second  int
		request protocol.Request
		took    time.Duration // -1: failed
	}
	var w window
	var all []event
	var age time.Duration
	for range 2000 {
		step := time.Second
		if rand.IntN(100) == 0 {
			step = time.Minute
		}
		age += time.Duration(rand.ExpFloat64() * float64(step))
		w.advance(age)
		e := event{int(age / time.Second), protocol.Request{
			Type: protocol.Type(1 + rand.IntN(2)), Approach: protocol.Approach(1 + rand.IntN(2)),
		}, -1}
		if rand.IntN(4) == 0 {
			w.addFailed()
		} else {
			e.took = time.Duration(rand.Int64N(int64(time.Minute)))
			w.addAnswered(e.request, e.took)
		}
		all = append(all, e)
		want := recent{perSecond: make([]int, slots)}
		for _, e := range all[max(0, len(all)-1000):] {
			switch ago := int(age/time.Second) - e.second; {
			case ago >= slots:
			case e.took < 0:
				want.failed++
			default:
				want.answered.of(e.request.Approach, e.request.Type).Add(e.took)
				want.perSecond[slots-1-ago]++
			}
		}
		if got := w.recent(); !reflect.DeepEqual(got, want) {
			t.Fatalf("at %v the window has %d failed, %v;\nwant %d, %v", age, got.failed, got.perSecond, want.failed, want.perSecond)
		}
	}
}

// TestDurationsForALongTime has 8,000 requests in flight for a year.
func TestDurationsForALongTime(t *testing.T) {
	const day = 24 * time.Hour
	var d durations
	for range 365 {
		for range 80 {
			d.add(100 * day)
		}
	}
	if got, want := d.histogram().Sum, 365*8000*day.Seconds(); got != want {
		t.Errorf("got a sum of %v s, want %v s", got, want)
	}
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, console.Off{})
		ctx, cancel := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { l.Watch(ctx) })
		time.Sleep(1500 * time.Millisecond)
		var tried balance.Request
		lease, _ := l.pool.Assign(int(protocol.RoundRobin), &tried)
		time.Sleep(2 * time.Second)
		lease.Release(balance.Answered)
		time.Sleep(time.Second)
		if got, want := l.Snapshot().Workers[0].History, []int{0, 1, 1, 0}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		time.Sleep(57 * time.Second)
		got := l.Snapshot().Workers[0].History
		if len(got) != samples || !slices.Equal(got[:3], []int{1, 1, 0}) {
			t.Errorf("got %v", got)
		}
		cancel()
		watching.Wait()
	})
}

// TestAtOnce has many exchanges, looks and samples at the same time.
func TestAtOnce(t *testing.T) {
	l := newLab(t, console.Off{})
	var exchanges, looks sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		looks.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				s := l.Snapshot()
				l.sample(l.pool.Snapshot())
				if s.Clients < 0 || answeredIn(s, protocol.RoundRobin) > s.Answered(protocol.RoundRobin) {
					t.Errorf("an impossible moment: %+v", s)
				}
			}
		})
	}
	const each = 500
	for range 8 {
		exchanges.Go(func() {
			for i := range each {
				l.answer(protocol.Approaches()[i%2], time.Duration(i)*time.Millisecond)
				l.Unreachable("Worker-2", neterr.Errno(neterr.Refused))
			}
		})
	}
	exchanges.Wait()
	close(over)
	looks.Wait()
	s := l.Snapshot()
	if s.Totals.Answered != 8*each || s.Clients != 0 || answeredIn(s, protocol.RoundRobin)+answeredIn(s, protocol.LeastConnections) != 8*each || s.LastMinute.Answered != 8*each {
		t.Errorf("after %d exchanges: %+v", 8*each, s.Totals)
	}
}

// answeredIn returns how many answers the histograms of an approach have.
func answeredIn(s Snapshot, a protocol.Approach) (n int) {
	for _, h := range s.Durations {
		if h.Approach == a {
			n += h.Count
		}
	}
	return n
}

// told is an observer that remembers what it was told, or hangs.
type told struct {
	console.Off
	words []string
	hang  chan struct{}
}

func (j *told) Connected(net.Addr)                 { j.words = append(j.words, "connected") }
func (j *told) Redispatched(string, error)         { j.words = append(j.words, "redispatched") }
func (j *told) Unreachable(string, error)          { j.words = append(j.words, "unreachable") }
func (j *told) Step(*broker.Exchange, broker.Step) { j.words = append(j.words, "step") }
func (j *told) ClientGone(*broker.Exchange, error) { j.words = append(j.words, "left") }
func (j *told) Done(*broker.Exchange) {
	j.words = append(j.words, "done")
	if j.hang != nil {
		<-j.hang
	}
}

func TestPassesEverythingOn(t *testing.T) {
	j := &told{}
	l := newLab(t, j)
	l.answer(protocol.RoundRobin, 0)
	l.Unreachable("Worker-1", neterr.Errno(neterr.Refused))
	l.ClientGone(&broker.Exchange{Client: client}, neterr.Errno(neterr.Reset))
	l.Redispatched("Worker-2", neterr.Errno(neterr.Reset))
	l.Step(new(broker.Exchange), broker.Queued)
	if got := strings.Join(j.words, " "); got != "connected done unreachable left redispatched step" {
		t.Errorf("the next observer was told %q", got)
	}
	if e := l.Snapshot().Workers[1].Error; e == nil || e.Text != neterr.Reset.String() {
		t.Errorf("the latest error of a worker whose request was redispatched is %v", e)
	}
}

// TestSlowTerminal has the terminal hang; the page goes on.
func TestSlowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &told{hang: make(chan struct{})}
		l := newLab(t, j)
		var exchange sync.WaitGroup
		exchange.Go(func() { l.answer(protocol.RoundRobin, time.Second) })
		synctest.Wait()
		if n := len(l.Snapshot().Latest); n != 1 {
			t.Errorf("%d requests are shown, want 1", n)
		}
		close(j.hang)
		exchange.Wait()
	})
}

func TestNoAllocation(t *testing.T) {
	l := newLab(t, console.Off{})
	v := broker.Exchange{
		Client: client, Request: protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin},
		Worker: "Worker-1", Attempts: 1, Answer: protocol.Response, Serving: time.Second,
	}
	if n := testing.AllocsPerRun(100, func() { l.Connected(client); l.Done(&v) }); n != 0 {
		t.Errorf("an exchange costs %v allocations", n)
	}
}

// What is in flight of each type follows the attempts.
func TestInFlightOf(t *testing.T) {
	l := newLab(t, console.Off{})
	x := &broker.Exchange{Request: protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}}
	for _, step := range []struct {
		worker string
		step   broker.Step
		want   string
	}{
		{"Worker-1", broker.Queued, "0 0"},
		{"Worker-1", broker.Assigned, "1 0"},
		{"Worker-1", broker.Sent, "1 0"},
		{"Worker-1", broker.Released, "0 0"},
		{"Worker-2", broker.Assigned, "0 1"},
		{"Worker-2", broker.Released, "0 0"},
	} {
		x.Worker = step.worker
		l.Step(x, step.step)
		w := l.Snapshot().Workers
		if got := fmt.Sprint(w[0].InFlightOf[protocol.Long], w[1].InFlightOf[protocol.Long]); got != step.want {
			t.Errorf("after step %d at %s: %s, want %s", step.step, step.worker, got, step.want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		turns               []balance.Turns
		removed             int
		deviation, evenness float64
	}{
		{[]balance.Turns{{}, {}}, 0, 0, 0},
		{[]balance.Turns{{Assigned: 5, Fair: 5}, {Assigned: 5, Fair: 5}}, 0, 0, 1},
		{[]balance.Turns{{Assigned: 9, Fair: 9}, {Assigned: 3, Fair: 3}}, 0, 0, 1},
		{[]balance.Turns{{Assigned: 10, Fair: 5}, {Fair: 5}}, 0, .5, .5},
		{[]balance.Turns{{Assigned: 10, Fair: 7.5}, {Fair: 2.5}}, 0, .25, .5},
		{[]balance.Turns{{Assigned: 10, Fair: 20. / 3}, {Assigned: 10, Fair: 20. / 3}, {Fair: 20. / 3}}, 0, 1. / 3, 2. / 3}, // farther below its fair share than above
		{[]balance.Turns{{Assigned: 10, Fair: 10}, {}}, 0, 0, 1},                                                            // the other one could not be chosen
		{[]balance.Turns{{Assigned: 5, Fair: 5}}, 5, 0, 1},
		{[]balance.Turns{{Fair: 5}, {}}, 10, .5, 0},
	} {
		s := newSpread(test.turns, test.removed)
		if math.Abs(s.MaxDeviation-test.deviation) > 1e-9 || math.Abs(s.Evenness-test.evenness) > 1e-9 {
			t.Errorf("%v: got %v, %v; want %v, %v", test.turns, s.MaxDeviation, s.Evenness, test.deviation, test.evenness)
		}
	}
}

// While requests are in flight, turns are what was assigned and not what was
// answered. A worker that cools down is owed nothing.
func TestSpreadOfTurns(t *testing.T) {
	l := newLab(t, console.Off{}) // weights 2 and 1
	turn := func() balance.Lease {
		lease, ok := l.pool.Assign(int(protocol.RoundRobin), new(balance.Request))
		if !ok {
			t.Fatal("no worker was assigned")
		}
		return lease
	}
	for range 3 {
		turn()
	}
	if p := l.Snapshot().Spread[0]; p.Assigned != 3 || p.MaxDeviation > 1e-9 || p.Shares[0] != 2./3 || math.Abs(p.Fair[1]-1./3) > 1e-9 {
		t.Errorf("with all in flight: %+v", p)
	}
	for range 3 { // Worker-2 fails until it cools down
		for {
			lease := turn()
			if lease.Worker().Name == "Worker-2" {
				lease.Release(balance.Failed)
				break
			}
		}
	}
	before := l.Snapshot()
	if before.Workers[1].State != "cooling down" {
		t.Fatalf("Worker-2 is %s", before.Workers[1].State)
	}
	for range 30 {
		turn()
	}
	p := l.Snapshot().Spread[0]
	if p.Assigned != before.Spread[0].Assigned+30 || p.MaxDeviation > .02 {
		t.Errorf("with one that cools down: %+v", p)
	}
}

// Removed workers stay in the totals, and their records are forgotten a minute
// later. A worker that is added has a record from then on.
func TestWorkersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, console.Off{})
		for range 6 {
			l.answer(protocol.RoundRobin, time.Second)
		}
		l.sample(l.pool.Snapshot())
		l.pool.Remove("Worker-2")
		l.pool.Add(balance.Worker{Addr: "c:1"})
		for range 3 {
			l.answer(protocol.RoundRobin, time.Second)
		}
		l.sample(l.pool.Snapshot())
		s := l.Snapshot()
		if s.Totals.Answered != 9 || s.Removed.Answered[protocol.RoundRobin] != 2 || s.Removed.Assigned != 2 || s.Spread[0].Assigned != 9 {
			t.Errorf("totals %+v, removed %+v, spread %+v", s.Totals, s.Removed, s.Spread)
		}
		if len(s.Workers) != 2 || s.Workers[1].Name != "Worker-3" || len(s.Workers[0].History) != 2 || len(s.Workers[1].History) != 1 || s.Workers[1].Serving.Count != 1 {
			t.Errorf("%+v", s.Workers)
		}
		if len(l.workers) != 3 {
			t.Errorf("%d records, want 3", len(l.workers))
		}
		time.Sleep(30 * time.Second)
		l.Unreachable("Worker-2", errors.New("told late"))
		time.Sleep(31 * time.Second)
		l.sample(l.pool.Snapshot())
		if len(l.workers) != 3 {
			t.Errorf("half a minute after its error it is forgotten: %v", l.workers)
		}
		time.Sleep(30 * time.Second)
		l.sample(l.pool.Snapshot())
		if len(l.workers) != 2 || l.workers["Worker-2"] != nil {
			t.Errorf("after a minute there are %d records: %v", len(l.workers), l.workers)
		}
	})
}

// What waits for a worker is counted, and its time is a part of what it took.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := balance.NewPool([]balance.Worker{{Name: "Worker-1", Limit: 1}}, selectors()...)
		l := &lab{t, New(pool, console.Off{}), pool}
		var first, second balance.Request
		lease, _ := pool.Assign(int(protocol.RoundRobin), &first)
		if _, ok := pool.Assign(int(protocol.RoundRobin), &second); ok || second.Place() == nil {
			t.Fatal("it does not wait")
		}
		time.Sleep(3 * time.Second)
		l.sample(pool.Snapshot())
		if q := l.Snapshot().Queue; q.Waiting != 1 || q.Oldest != 3 || q.Most != 1 || !slices.Equal(q.History, []int{1}) || q.Waited.Count != 0 {
			t.Errorf("%+v", q)
		}
		lease.Release(balance.Answered)
		(<-second.Place()).Release(balance.Answered)
		l.Done(&broker.Exchange{Client: client, Request: protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin},
			Worker: "Worker-1", Attempts: 1, Queued: 3 * time.Second, Serving: time.Second})
		s := l.Snapshot()
		if q := s.Queue; q.Waiting != 0 || q.Oldest != 0 || q.Most != 1 || q.Waited.Count != 1 || q.Waited.Sum != 3 {
			t.Errorf("%+v", q)
		}
		if r := s.Latest[0]; r.Seconds != 4 || s.Workers[0].Serving.Sum != 1 || s.Workers[0].Limit != 1 {
			t.Errorf("it took %v s, of which %v s at the worker", r.Seconds, s.Workers[0].Serving.Sum)
		}
		l.Done(&broker.Exchange{Client: client, Request: protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin},
			Worker: "Worker-1", Attempts: 1, Serving: time.Second})
		if q := l.Snapshot().Queue; q.Waited.Count != 1 {
			t.Errorf("one that did not wait is counted: %+v", q)
		}
		l.fail(broker.Exchange{Request: protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin}, Queued: 30 * time.Second},
			broker.Failure{Reason: broker.QueueTimeout})
		s = l.Snapshot()
		if s.Queue.Waited.Count != 2 || s.Totals.Refused != 0 || s.Latest[0].Outcome != Failed || s.Latest[0].Attempts != 0 {
			t.Errorf("after a timeout: %+v, %+v", s.Queue, s.Latest[0])
		}
		for _, c := range s.Causes {
			if want := c.Cause == "queue timeout"; (c.Requests[protocol.RoundRobin] == 1) != want {
				t.Errorf("%+v", c)
			}
		}
	})
}

func BenchmarkVisit(b *testing.B) {
	pool := balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...)
	r := New(pool, console.Off{})
	v := broker.Exchange{Client: client, Request: protocol.Request{Type: protocol.Short, Approach: protocol.RoundRobin},
		Worker: "Worker-1", Attempts: 1, Answer: protocol.Response, Serving: time.Second}
	for b.Loop() {
		r.Connected(client)
		r.Done(&v)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	pool := balance.NewPool([]balance.Worker{{Name: "Worker-1"}}, selectors()...)
	r := New(pool, console.Off{})
	for b.Loop() {
		r.Snapshot()
	}
}

// A request whose client left counts once, as left; its job is no failure.
func TestClientLeft(t *testing.T) {
	l := newLab(t, console.Off{})
	x := broker.Exchange{Attempts: 1, Worker: "Worker-1", Request: protocol.Request{Type: protocol.Long, Approach: protocol.RoundRobin}}
	var tried balance.Request
	lease, _ := l.pool.Assign(int(protocol.RoundRobin), &tried)
	lease.Release(balance.Withdrawn)
	l.fail(x, broker.Failure{Reason: broker.ClientLeft})
	l.ClientGone(&x, errors.New("gone"))
	s := l.Snapshot()
	if s.Totals.Withdrawn[protocol.RoundRobin] != 1 || s.Totals.Failed[protocol.RoundRobin] != 0 || s.Totals.ClientsGone != 1 || s.LastMinute.Failed != 0 {
		t.Errorf("%+v, last minute %+v", s.Totals, s.LastMinute)
	}
	if w := s.Workers[0]; w.Withdrawn != 1 || w.Failed != 0 || w.Error != nil {
		t.Errorf("%+v", w)
	}
	if r := s.Latest[0]; r.Outcome != Left || r.Detail != "the client has left" {
		t.Errorf("%+v", r)
	}
}
