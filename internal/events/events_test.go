package events

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
)

func exchange(t protocol.Type) *broker.Exchange {
	return &broker.Exchange{Request: protocol.Request{Type: t, Approach: protocol.RoundRobin}}
}

// at takes x to a step at a worker.
func at(f *Feed, x *broker.Exchange, s broker.Step, worker string) {
	if s == broker.Assigned {
		x.Attempts++
		x.Worker = worker
	}
	f.Step(x, s)
}

// runs takes a request all the way to its answer.
func runs(f *Feed, t protocol.Type) {
	x := exchange(t)
	for _, s := range []broker.Step{broker.Assigned, broker.Sent, broker.Released} {
		at(f, x, s, "Worker-1")
	}
	f.Done(x)
}

func watch(t *testing.T, f *Feed) *Viewer {
	t.Helper()
	v, err := f.Watch()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *Viewer) events(t *testing.T) (all []Event) {
	t.Helper()
	texts, _ := v.Read()
	for _, text := range texts {
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, e)
	}
	return all
}

// short says what events are about, for a comparison.
func short(all []Event) string {
	var texts []string
	for _, e := range all {
		texts = append(texts, strings.TrimSpace(fmt.Sprintf("%s %d×%d %s", e.Kind, e.ID, e.N, e.Worker)))
	}
	return strings.Join(texts, ", ")
}

// Each step of each request is an event, in order.
func TestSteps(t *testing.T) {
	f := New(console.Off{})
	v := watch(t, f)
	first, second := exchange(protocol.Long), exchange(protocol.Short)
	at(f, first, broker.Assigned, "Worker-1")
	at(f, first, broker.Sent, "")
	at(f, second, broker.Queued, "")
	at(f, first, broker.Released, "")
	at(f, first, broker.Assigned, "Worker-2")
	at(f, first, broker.Sent, "")
	f.Done(first)
	at(f, second, broker.Assigned, "Worker-1")
	second.Failure = &broker.Failure{Reason: broker.CutOff}
	f.Done(second)
	all := v.events(t)
	const want = "assigned 1×1 Worker-1, sent 1×1 Worker-1, queued 2×1, assigned 1×1 Worker-2, sent 1×1 Worker-2, " +
		"answered 1×1 Worker-2, assigned 2×1 Worker-1, failed 2×1 Worker-1"
	if got := short(all); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if e := all[3]; e.Attempt != 2 || e.Type != protocol.Long || e.Approach != protocol.RoundRobin {
		t.Errorf("%+v", e)
	}
	if e := all[7]; e.Text != "the broker stopped before the answer came" {
		t.Errorf("%+v", e)
	}
	if len(f.followed) != 0 {
		t.Errorf("%d are followed for ever", len(f.followed))
	}
}

// What is no request, or has no end that anybody awaits.
func TestOtherEnds(t *testing.T) {
	f := New(console.Off{})
	v := watch(t, f)
	f.Done(&broker.Exchange{Failure: &broker.Failure{Reason: broker.NoRequest, Err: protocol.ErrEmpty}})
	f.Done(&broker.Exchange{Failure: &broker.Failure{Reason: broker.Malformed, Err: fmt.Errorf("\x1b[2J")}})
	x := exchange(protocol.Long)
	at(f, x, broker.Assigned, "Worker-1")
	x.Failure = &broker.Failure{Reason: broker.ClientLeft}
	f.Done(x)
	f.Changed(balance.Change{Worker: balance.Worker{Name: "Worker-3"}, State: balance.Cooling, Cooling: 2 * time.Second, Cause: balance.TrialFailed})
	all := v.events(t)
	x = exchange(protocol.Short)
	x.Failure = &broker.Failure{Reason: broker.AllDrain}
	f.Done(x)
	if got, want := short(v.events(t)), "failed 3×1"; got != want {
		t.Errorf("a request that finds no worker at all: %s, want %s", got, want)
	}
	if got, want := short(all), "refused 1×1, assigned 2×1 Worker-1, left 2×1 Worker-1, state 0×0 Worker-3"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if e := all[0]; e.Text != `"\x1b[2J"` {
		t.Errorf("%+v", e)
	}
	if e := all[3]; e.State != "cooling down" || e.Seconds != 2 || e.Text != "its trial failed" {
		t.Errorf("%+v", e)
	}
	if len(f.followed) != 0 {
		t.Errorf("%d are followed for ever", len(f.followed))
	}
}

// A request that waits in the queue, before its first worker or after one that
// has failed, counts once, whether or not it is followed.
func TestWaitingRequestsCountOnce(t *testing.T) {
	f := New(console.Off{})
	v := watch(t, f)
	const requests = 10 * Rate
	for range requests {
		x := exchange(protocol.Short)
		at(f, x, broker.Queued, "")
		x.Queued = time.Second
		at(f, x, broker.Assigned, "Worker-1")
		at(f, x, broker.Sent, "")
		at(f, x, broker.Queued, "")
		at(f, x, broker.Assigned, "Worker-2")
		f.Done(x)
	}
	counted := f.unseen[protocol.Short]
	for _, e := range v.events(t) {
		if e.Kind == Answered {
			counted += e.N
		}
	}
	if counted != requests {
		t.Errorf("the dots stand for %d requests, want %d", counted, requests)
	}
}

// So does one that ends in the queue.
func TestEndsInTheQueueCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(console.Off{})
		v := watch(t, f)
		var all []*broker.Exchange
		for range 2 * Rate {
			x := exchange(protocol.Short)
			at(f, x, broker.Queued, "")
			all = append(all, x)
		}
		time.Sleep(time.Second / 2) // for dots of others
		for _, x := range all {
			x.Queued, x.Failure = time.Second/2, &broker.Failure{Reason: broker.QueueTimeout}
			f.Done(x)
		}
		counted := f.unseen[protocol.Short]
		for _, e := range v.events(t) {
			if e.Kind == Failed {
				counted += e.N
			}
		}
		if counted != 2*Rate {
			t.Errorf("the dots stand for %d requests, want %d", counted, 2*Rate)
		}
	})
}

// A request that waited already when the viewer came is not followed later.
func TestWaitingBeforeTheViewer(t *testing.T) {
	f := New(console.Off{})
	x := exchange(protocol.Short)
	at(f, x, broker.Queued, "")
	v := watch(t, f)
	x.Queued = time.Second
	at(f, x, broker.Assigned, "Worker-1")
	f.Done(x)
	if all := v.events(t); len(all) > 0 {
		t.Errorf("got %s", short(all))
	}
}

// As many requests as the rate says are followed each by itself. Beyond that a
// dot stands for several of its type, and none is forgotten.
func TestDotsStandForSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(console.Off{})
		v := watch(t, f)
		const perSecond, seconds = 1000, 10
		asked, seen := map[protocol.Type]int{}, map[protocol.Type]int{}
		dots := 0
		for i := range perSecond * seconds {
			kind := []protocol.Type{protocol.Long, protocol.Short, protocol.Short}[i%3]
			asked[kind]++
			runs(f, kind)
			time.Sleep(time.Second / perSecond)
			for _, e := range v.events(t) {
				if e.Kind == Answered {
					seen[e.Type] += e.N
					dots++
				}
			}
		}
		if limit := Rate * (seconds + 1); dots > limit || dots < limit-Rate {
			t.Errorf("%d dots in %d s, want about %d", dots, seconds, limit)
		}
		for kind, n := range asked {
			if missing := n - seen[kind]; missing < 0 || missing > 2*perSecond/Rate {
				t.Errorf("%v: %d are shown of %d", kind, seen[kind], n)
			}
		}
		time.Sleep(time.Second)
		v.events(t)
		for range Rate {
			runs(f, protocol.Long)
		}
		for i, e := range v.events(t) {
			if i >= 3 && e.N != 1 {
				t.Fatalf("after a rest %+v stands for several", e)
			}
		}
	})
}

// A request that comes after a pause does not stand for those of a crowd before it.
// That there was one is told once.
func TestPauseAfterACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(console.Off{})
		v := watch(t, f)
		for range 3 * Rate {
			runs(f, protocol.Long)
		}
		time.Sleep(time.Second)
		runs(f, protocol.Long)
		crowds, counted := 0, 0
		for _, e := range v.events(t) {
			switch e.Kind {
			case Crowded:
				crowds++
			case Answered:
				counted += e.N
			}
		}
		if crowds != 1 || counted != Rate+1 {
			t.Errorf("%d crowds were told, and dots for %d requests, want 1 and %d", crowds, counted, Rate+1)
		}
	})
}

// A viewer that does not read in time is told how much it has lost, and nobody
// waits for it.
func TestSlowViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(console.Off{})
		slow, quick := watch(t, f), watch(t, f)
		total := 0
		for range ringSize {
			time.Sleep(time.Second / Rate)
			runs(f, protocol.Short)
			total += len(quick.events(t))
		}
		all := slow.events(t)
		if len(all) != 1+ringSize || all[0].Kind != Lost || all[0].N != total-ringSize {
			t.Errorf("%d events, the first %+v; %d happened", len(all), all[0], total)
		}
		if n := len(slow.events(t)); n != 0 {
			t.Errorf("%d events come twice", n)
		}
	})
}

// A viewer that has read everything is woken by the next event.
func TestWake(t *testing.T) {
	f := New(console.Off{})
	v := watch(t, f)
	events, more := v.Read()
	if events != nil || more == nil {
		t.Fatal("an event before the first one")
	}
	runs(f, protocol.Long)
	<-more
	if events, more := v.Read(); len(events) != 3 || more != nil {
		t.Errorf("%d events", len(events))
	}
}

// There is a bound to the viewers, and while there is none nothing is kept.
func TestViewers(t *testing.T) {
	f := New(console.Off{})
	runs(f, protocol.Long)
	var viewers []*Viewer
	for range MaxViewers {
		viewers = append(viewers, watch(t, f))
	}
	if _, err := f.Watch(); err != ErrFull {
		t.Errorf("one too many: %v", err)
	}
	at(f, exchange(protocol.Long), broker.Assigned, "Worker-1")
	for _, v := range viewers {
		v.Close()
	}
	if len(f.followed) != 0 || f.count != 1 {
		t.Errorf("%d are followed, %d events", len(f.followed), f.count)
	}
	v := watch(t, f)
	if n := len(v.events(t)); n != 0 {
		t.Errorf("%d events from before", n)
	}
}

// A note is told in words that are safe to show, to the viewers that watch then.
func TestNote(t *testing.T) {
	f := New(console.Off{})
	f.Note("nobody watches")
	v := watch(t, f)
	f.Note("a comparison\x1b begins")
	all := v.events(t)
	if len(all) != 1 || all[0].Kind != Note || all[0].Text != `"a comparison\x1b begins"` {
		t.Errorf("%+v", all)
	}
}

// A request that had begun before anybody watched is not followed from its
// middle on.
func TestBegunBefore(t *testing.T) {
	f := New(console.Off{})
	x := exchange(protocol.Long)
	at(f, x, broker.Assigned, "Worker-1")
	v := watch(t, f)
	at(f, x, broker.Sent, "")
	at(f, x, broker.Assigned, "Worker-2")
	f.Done(x)
	if all := v.events(t); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// told is an observer that counts what it is told.
type told struct {
	console.Off
	mu    sync.Mutex // guards words
	words []string
}

func (w *told) add(word string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.words = append(w.words, word)
}

func (w *told) Connected(net.Addr)                 { w.add("connected") }
func (w *told) Unreachable(string, error)          { w.add("unreachable") }
func (w *told) Redispatched(string, error)         { w.add("redispatched") }
func (w *told) Step(*broker.Exchange, broker.Step) { w.add("step") }
func (w *told) Done(*broker.Exchange)              { w.add("done") }
func (w *told) ClientGone(*broker.Exchange, error) { w.add("gone") }

// All is passed on, whether or not anybody watches.
func TestPassesEverythingOn(t *testing.T) {
	var next told
	f := New(&next)
	for range 2 {
		x := exchange(protocol.Long)
		f.Connected(nil)
		f.Unreachable("", nil)
		f.Redispatched("", nil)
		f.Step(x, broker.Released)
		f.Done(x)
		f.ClientGone(x, nil)
		watch(t, f)
	}
	const each = "connected unreachable redispatched step done gone"
	if got := strings.Join(next.words, " "); got != each+" "+each {
		t.Errorf("told %q", got)
	}
}

// Many requests and viewers at once; run with -race.
func TestAtOnce(t *testing.T) {
	f := New(console.Off{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				runs(f, protocol.Short)
			}
		})
		all.Go(func() {
			for range 50 {
				v, err := f.Watch()
				if err != nil {
					t.Error(err)
					return
				}
				v.Read()
				v.Close()
			}
		})
	}
	all.Wait()
	if f.viewers.Load() != 0 {
		t.Errorf("%d viewers are left", f.viewers.Load())
	}
}

// What a request costs while nobody watches, and while somebody does.
func BenchmarkRequest(b *testing.B) {
	for _, viewers := range []int{0, 1, MaxViewers} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) {
			f := New(console.Off{})
			for range viewers {
				f.Watch()
			}
			x := exchange(protocol.Short)
			b.ReportAllocs()
			for b.Loop() {
				f.Step(x, broker.Assigned)
				f.Step(x, broker.Sent)
				f.Step(x, broker.Released)
				f.Done(x)
			}
		})
	}
}
