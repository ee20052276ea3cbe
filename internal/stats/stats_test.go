package stats

import (
	"context"
	"errors"
	"fmt"
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
		if p := s.Spread[0]; p.Answered != 6 || p.MaxDeviation > 1e-9 || p.Evenness < .999 {
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
				Answered: map[protocol.Approach]int{protocol.RoundRobin: 1, protocol.LeastConnections: 3}, History: []int{},
				LastAnswer: answered, Serving: Serving{Count: 1, Sum: .75},
			},
			{
				Name: "Worker-2", State: "cooling down", Cooling: .75, Weight: 1, FairShare: 1. / 3, Peak: 1, Assigned: 3, Failed: 3,
				Answered: map[protocol.Approach]int{protocol.RoundRobin: 0, protocol.LeastConnections: 0}, History: []int{},
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
		m := l.Snapshot().LastMinute
		for _, q := range []struct{ got, want float64 }{{m.P50, .050}, {m.P95, .095}, {m.P99, .099}} {
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
		if m := l.Snapshot().LastMinute; m.Answered != 50 || m.P50 < .070 || m.Seconds != 59 {
			t.Errorf("after 61 seconds: %+v", m)
		}
		time.Sleep(time.Hour)
		if m := l.Snapshot().LastMinute; m.Answered != 0 || m.P99 != 0 || m.Rate != 0 || slices.Max(m.PerSecond) != 0 {
			t.Errorf("after an hour: %+v", m)
		}
		if left := l.lastMinute.recent().answered; !reflect.DeepEqual(left, newSlotHistogram()) {
			t.Error("something is left in the buckets")
		}
	})
}

// TestExactWhereAllAreAlike: a page that shows 4.97 s for a job of 5 seconds
// would raise a question.
func TestExactWhereAllAreAlike(t *testing.T) {
	l := newLab(t, console.Off{})
	for range 10 {
		l.answer(protocol.LeastConnections, 5003*time.Millisecond)
	}
	if m := l.Snapshot().LastMinute; m.P50 != 5.003 || m.P99 != 5.003 {
		t.Errorf("got %v and %v, want 5.003", m.P50, m.P99)
	}
	for range 8 {
		l.answer(protocol.LeastConnections, 1002*time.Millisecond)
	}
	l.answer(protocol.LeastConnections, 20*time.Second)
	if m := l.Snapshot().LastMinute; m.P50 != 5.003 || m.P99 != 20 {
		t.Errorf("among shorter and longer ones: got %v and %v, want 5.003 and 20", m.P50, m.P99)
	}
}

// TestWindowLaw compares what a window says with all that was ever added,
// whatever happens.
func TestWindowLaw(t *testing.T) {
	type event struct {
		second int
		took   time.Duration // -1: failed
	}
	w := newWindow()
	var all []event
	var age time.Duration
	for range 2000 {
		step := time.Second
		if rand.IntN(100) == 0 {
			step = time.Minute
		}
		age += time.Duration(rand.ExpFloat64() * float64(step))
		w.advance(age)
		e := event{int(age / time.Second), -1}
		if rand.IntN(4) == 0 {
			w.addFailed()
		} else {
			e.took = time.Duration(rand.Int64N(int64(time.Minute)))
			w.addAnswered(e.took)
		}
		all = append(all, e)
		want := recent{answered: newSlotHistogram(), perSecond: make([]int, slots)}
		for _, e := range all[max(0, len(all)-1000):] {
			switch ago := int(age/time.Second) - e.second; {
			case ago >= slots:
			case e.took < 0:
				want.failed++
			default:
				want.answered.Add(e.took)
				want.perSecond[slots-1-ago]++
			}
		}
		if got := w.recent(); !reflect.DeepEqual(got, want) {
			t.Fatalf("at %v the window has %d answered, %d failed, %v;\nwant %d, %d, %v", age,
				got.answered.Count(), got.failed, got.perSecond, want.answered.Count(), want.failed, want.perSecond)
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
				l.sample(l.pool.Snapshot().Workers)
				if s.Clients < 0 || answeredIn(s, protocol.RoundRobin) > s.Spread[0].Answered {
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
	if got := strings.Join(j.words, " "); got != "connected done unreachable left redispatched" {
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

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		answered, weights   []int
		deviation, evenness float64
	}{
		{[]int{0, 0}, []int{1, 1}, 0, 0},
		{[]int{5, 5}, []int{1, 1}, 0, 1},
		{[]int{9, 3}, []int{3, 1}, 0, 1},
		{[]int{10, 0}, []int{1, 1}, .5, .5},
		{[]int{10, 0}, []int{3, 1}, .25, .5},
		{[]int{10, 10, 0}, []int{1, 1, 1}, 1. / 3, 2. / 3}, // farther below its fair share than above
	} {
		s := newSpread(test.answered, test.weights)
		if s.MaxDeviation != test.deviation || s.Evenness != test.evenness {
			t.Errorf("%v for %v: got %v, %v; want %v, %v", test.answered, test.weights, s.MaxDeviation, s.Evenness, test.deviation, test.evenness)
		}
	}
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
