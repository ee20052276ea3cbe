package runs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/worker"
)

// The requests of most tests.
var (
	lss        = []protocol.Type{protocol.Long, protocol.Short, protocol.Short}
	long       = lss[:1]
	short      = lss[1:2]
	roundRobin = []protocol.Approach{protocol.RoundRobin}
)

// A lab is a real broker in front of real workers of one slot each, in memory and
// in a bubble, and a Runner.
type lab struct {
	*Runner
	t     *testing.T
	net   memnet.Net
	pool  *balance.Pool
	notes []string // to be read when nothing runs
	stop  context.CancelFunc
	done  chan error // of the broker
}

// inLab has f use a lab whose three workers have a limit; 0 for none. When f has
// returned the broker must stop at once.
func inLab(t *testing.T, limit int, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, done: make(chan error, 1)}
		var running sync.WaitGroup
		workers, stopWorkers := context.WithCancel(t.Context())
		serve := func(ctx context.Context, addr string, h server.Handler) {
			listener := l.net.Listen(addr)
			running.Go(func() {
				s := server.Server{Handle: h, DrainTimeout: time.Minute}
				err := s.Serve(ctx, listener)
				if addr == "broker" {
					l.done <- err
				}
			})
		}
		var list []balance.Worker
		for i := range 3 {
			name := fmt.Sprintf("Worker-%d", i+1)
			list = append(list, balance.Worker{Name: name, Addr: name, Limit: limit})
			w := &worker.Worker{Slots: 1, Observer: console.Off{}}
			w.Work[protocol.Long], w.Work[protocol.Short] = 5*time.Second, time.Second
			serve(workers, name, w.Handle)
		}
		l.pool = balance.NewPool(list, nil, new(balance.RoundRobin), new(balance.LeastConnections))
		l.Runner = New(Config{
			Pool: l.pool, Addr: "127.0.0.1:8000", Dial: l.dial, Observer: console.Off{}, MaxAtOnce: 50,
			Note: func(text string) { l.notes = append(l.notes, text) },
		})
		watch := new(socket.Watch)
		running.Go(func() { watch.Run(workers) })
		b := broker.Broker{
			Pool: l.pool, Dial: l.net.DialWithin, Observer: l.Runner, Watch: watch,
			RequestTimeout: time.Second, DialTimeout: time.Second, AnswerTimeout: time.Hour, QueueTimeout: time.Hour,
		}
		ctx, stop := context.WithCancel(t.Context())
		l.stop = stop
		serve(ctx, "broker", b.Handle)
		f(l)
		l.Close()
		before := time.Now()
		stop()
		if err := <-l.done; err != nil || time.Since(before) > 300*time.Millisecond {
			t.Errorf("the broker's stop: %v, after %v", err, time.Since(before))
		}
		stopWorkers()
		running.Wait()
	})
}

// dial is what [Dial] is elsewhere.
func (l *lab) dial(ctx context.Context) (net.Conn, error) {
	conn, err := l.net.Dial(ctx, "broker")
	if err != nil {
		return nil, err
	}
	return resetting{conn.(*memnet.Conn), ctx}, nil
}

type resetting struct {
	*memnet.Conn
	ctx context.Context
}

func (c resetting) Close() error {
	if c.ctx.Err() != nil {
		c.Reset()
	}
	return c.Conn.Close()
}

// begins starts a run.
func (l *lab) begins(o Order) Report {
	l.t.Helper()
	r, err := l.Start(o)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// runs starts a run and returns what it has come to.
func (l *lab) runs(o Order) Report {
	l.t.Helper()
	l.begins(o)
	<-l.run().ended
	return l.Report()
}

func (l *lab) limits() (all []int) {
	for _, w := range l.pool.Snapshot().Workers {
		all = append(all, w.Limit)
	}
	return all
}

// expect checks what got prints.
func expect(t *testing.T, what string, got any, want string) {
	t.Helper()
	if text := fmt.Sprint(got); text != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, text, want)
	}
}

// briefly says what a result is about.
func briefly(r Result) string {
	return fmt.Sprintf("%s: %d ok, %d failed, mean %.3gs p95 %.3gs max %.3gs, most %d", r.Name, r.Answered, r.Failed, r.Mean, r.P95, r.Max, r.Most)
}

// One run: what is said before it, while it goes on, and at its end.
func TestRun(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		before := l.Report()
		if before.Running || before.ID != 0 || before.Results == nil {
			t.Errorf("before: %+v", before)
		}
		first := l.begins(Order{N: 4, C: 4, Types: long, Approaches: roundRobin})
		if !first.Running || first.ID != 1 || first.Part != "round_robin" || first.Planned != 4 {
			t.Errorf("at its start: %+v", first)
		}
		time.Sleep(6 * time.Second)
		if r := l.Report(); !r.Running || r.Sent != 4 || r.Answered != 3 || r.Seconds != 6 || r.Sentence != "" || len(r.Results) != 1 ||
			r.Results[0].Most != 2 {
			t.Errorf("after six seconds: %+v", r)
		}
		time.Sleep(6 * time.Second)
		r := l.Report()
		if r.Running || r.Seconds != 10 || r.Error != "" || r.Command != "client -n 4 -c 4 Long round_robin" {
			t.Errorf("at the end: %+v", r)
		}
		expect(t, "the result", briefly(r.Results[0]), "round_robin: 4 ok, 0 failed, mean 6.25s p95 10s max 10s, most 2")
		expect(t, "the sentence", r.Sentence,
			"4 of 4 requests were answered: half of them within 5s, 95 % within 10s, the longest took 10s; at most 2 in flight at one worker.")
		expect(t, "the notes", strings.Join(l.notes, "\n"), "A run begins: client -n 4 -c 4 Long round_robin.\nThe run has ended. "+r.Sentence)
		if r := l.runs(Order{N: 1, Types: short, Approaches: roundRobin}); r.ID != 2 || r.Results[0].Most != 1 {
			t.Errorf("the second run: %+v", r)
		}
	})
}

// One run at a time.
func TestOneAtATime(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		o := Order{Rate: 1, Types: short, Approaches: roundRobin}
		l.begins(o)
		if _, err := l.Start(o); err != ErrRunning {
			t.Errorf("a second one: %v", err)
		}
		l.Stop()
		l.begins(o)
		l.Close()
		if r := l.Report(); r.Running || !strings.HasPrefix(r.Sentence, "The broker is stopping: ") {
			t.Errorf("closed: %+v", r)
		}
		if _, err := l.Start(o); err != ErrStopping {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A steady stream goes on until it is stopped. The stop withdraws what is in
// flight, and in the queue.
func TestStop(t *testing.T) {
	inLab(t, 1, func(l *lab) {
		if r := l.begins(Order{Rate: 2, Types: long, Approaches: roundRobin}); r.Planned != 0 {
			t.Errorf("planned are %d", r.Planned)
		}
		time.Sleep(9300 * time.Millisecond)
		if q := l.pool.Queue().Waiting; q == 0 {
			t.Error("nothing waits")
		}
		r := l.Stop()
		if r.Running || r.Sent != 19 || r.Answered != 3 || r.Failed != 0 || r.Error != "" {
			t.Errorf("%+v", r)
		}
		if !strings.HasPrefix(r.Sentence, "It was stopped: 3 of 19 requests were answered: ") {
			t.Error(r.Sentence)
		}
		time.Sleep(300 * time.Millisecond)
		for _, w := range l.pool.Snapshot().Workers {
			if w.InFlight > 0 || w.Withdrawn == 0 || w.Answered[protocol.RoundRobin] != 1 || w.Failed > 0 {
				t.Errorf("%+v", w)
			}
		}
		if q := l.pool.Queue().Waiting; q != 0 {
			t.Errorf("%d still wait", q)
		}
	})
}

// The broker's stop does not wait for a run: inLab checks that.
func TestBrokerStops(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		l.begins(Order{N: 30, C: 30, Types: long, Approaches: roundRobin})
		time.Sleep(time.Second)
	})
}

// Requests that fail are counted, and it is said why.
func TestFailures(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		for _, w := range []string{"Worker-1", "Worker-2", "Worker-3"} {
			if _, err := l.pool.Drain(w); err != nil {
				t.Fatal(err)
			}
		}
		r := l.runs(Order{N: 2, Types: short, Approaches: roundRobin})
		expect(t, "sentence", r.Sentence, "0 of 2 requests were answered.")
		if r.Failed != 2 || !strings.HasPrefix(r.Error, "2 requests failed under round_robin, most of them because: ") {
			t.Errorf("%d failed: %q", r.Failed, r.Error)
		}
		c := l.runs(Order{N: 2, Types: short, Compare: true})
		expect(t, "sentence", c.Sentence, "There is nothing to compare: nothing was answered under round_robin.")
	})
}

var compared = Order{N: 18, Rate: 1.1, Types: lss, Compare: true}

// The same requests under one approach and then under the other. A worker's most
// in flight is that of its part.
func TestCompare(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		l.runs(Order{N: 21, C: 21, Types: short, Approaches: roundRobin}) // seven at each worker
		r := l.runs(compared)
		var all []string
		for _, result := range r.Results {
			all = append(all, briefly(result))
		}
		expect(t, "the results", strings.Join(all, "\n"), strings.TrimSpace(`
round_robin: 18 ok, 0 failed, mean 4.23s p95 16.4s max 16.4s, most 4
least_connections: 18 ok, 0 failed, mean 2.46s p95 5s max 5s, most 2`))
		expect(t, "the sentence", r.Sentence, "Round robin counts turns and not work: it sent every Long to Worker-1, and up to 4 were there at once "+
			"while Worker-2 never had more than 1; least connections sees which worker is not done yet, and no worker had more than 2 at once; "+
			"the mean was 4.23s under round_robin and 2.46s under least_connections, a factor of 1.7.")
		expect(t, "the commands", r.Results[0].Command+", "+r.Results[1].Command,
			"client -n 18 -c 50 -rate 1.1 'Long,Short,Short' round_robin, client -n 18 -c 50 -rate 1.1 'Long,Short,Short' least_connections")
		a, b := r.Results[0].Bars, r.Results[1].Bars
		if len(a) != len(b) || a[0].From != b[0].From || sum(a) != 18 || sum(b) != 18 {
			t.Errorf("bars:\n%v\n%v", a, b)
		}
	})
}

func sum(bars []Bar) (n int) {
	for _, b := range bars {
		n += b.Count
	}
	return n
}

// Where workers have a limit it is off for the approaches, and set again for one
// queue and afterwards.
func TestCompareWithLimits(t *testing.T) {
	inLab(t, 1, func(l *lab) {
		r := l.begins(compared)
		for _, part := range []string{"round_robin", "least_connections", "one queue"} {
			want := "[0 0 0]"
			if part == "one queue" {
				want = "[1 1 1]"
			}
			if r.Part != part {
				t.Errorf("%s comes, want %s", r.Part, part)
			}
			expect(t, "limits under "+part, l.limits(), want)
			for r.Part == part && r.Running {
				time.Sleep(time.Second)
				r = l.Report()
			}
		}
		if len(r.Results) != 3 || r.Results[0].Most != 4 || r.Results[2].Most != 1 || !strings.Contains(r.Sentence, ". One queue ") {
			t.Errorf("%+v", r)
		}
		expect(t, "limits at the end", l.limits(), "[1 1 1]")
		expect(t, "the notes", strings.Join(l.notes[:3], "\n"), strings.TrimSpace(`
A comparison begins: the same requests under round_robin, then least_connections, then one queue.
The comparison goes on under least_connections.
The comparison goes on under one queue.`))
	})
}

// A comparison that is stopped sets the limits again, too; but not of a worker
// whose limit an order has changed.
func TestLimitsAfterAStop(t *testing.T) {
	inLab(t, 2, func(l *lab) {
		l.begins(compared)
		time.Sleep(33 * time.Second)
		expect(t, "limits meanwhile", l.limits(), "[0 0 0]")
		if _, err := l.pool.SetLimit("Worker-2", 7); err != nil {
			t.Fatal(err)
		}
		if _, err := l.pool.Remove("Worker-3"); err != nil {
			t.Fatal(err)
		}
		r := l.Stop()
		expect(t, "the sentence", r.Sentence, "There is nothing to compare: it was stopped, under least_connections.")
		time.Sleep(time.Second)
		expect(t, "limits", l.limits(), "[2 7]")
	})
}

// Without a rate a run is slowed down, which is in no latency.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t}
		listener := l.net.Listen("broker")
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, protocol.MaxLen))
				io.WriteString(conn, "Response from Worker")
				conn.Close()
			}
		}()
		l.Runner = New(Config{Pool: balance.NewPool(nil), Dial: l.dial, Observer: console.Off{}})
		r := l.runs(Order{N: 5010, C: 10, Types: short, Approaches: roundRobin})
		if r.Answered != 5010 || r.Seconds != 5.009 || r.Results[0].Max != 0 {
			t.Errorf("%d in %v s, at most %v s each", r.Answered, r.Seconds, r.Results[0].Max)
		}
	})
}

// A run that does not end by itself is stopped.
func TestTooLong(t *testing.T) {
	inLab(t, 0, func(l *lab) {
		l.begins(Order{C: 1, Types: short, Approaches: roundRobin})
		time.Sleep(2 * time.Hour)
		if r := l.Report(); r.Running || !strings.HasPrefix(r.Sentence, "It was stopped after an hour: 36") {
			t.Errorf("%+v", r)
		}
		r := l.runs(Order{Rate: 0.5, Types: short, Approaches: roundRobin})
		if r.Answered != 1800 || !strings.HasPrefix(r.Sentence, "1800 of 1800 requests were answered") {
			t.Errorf("with a rate: %+v", r)
		}
		l.begins(Order{N: 2000, C: 1, Types: short, Compare: true}) // each part is over within an hour
		time.Sleep(2 * time.Hour)
		if r := l.Report(); r.Running || len(r.Results) != 2 || r.Sentence != "There is nothing to compare: it was stopped after an hour, under least_connections." {
			t.Errorf("a comparison: %+v", r)
		}
	})
}

// A connection that is interrupted is reset, so that the broker knows that its
// client has left; one that is not ends as usual.
func TestDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, interrupted := range []bool{false, true} {
		ctx, interrupt := context.WithCancel(t.Context())
		client, err := Dial(listener.Addr().String())(ctx)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if interrupted {
			interrupt()
		}
		client.Close()
		switch _, err := peer.Read(make([]byte, 1)); {
		case interrupted && err == io.EOF && os.Getenv("WINEPREFIX") != "":
			t.Log("wine takes a reset that came before the read for an end; Windows does not")
		case errors.Is(err, io.EOF) == interrupted:
			t.Errorf("interrupted is %v: %v", interrupted, err)
		}
		peer.Close()
		interrupt()
	}
}
