package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
)

// target is what a run is aimed at. Each test says what it does with request
// i, in the order in which they come.
type target struct {
	start time.Time
	do    func(ctx context.Context, i int) (string, error)

	mu       sync.Mutex // guards what follows
	began    []time.Duration
	requests []protocol.Request
	inFlight int
	most     int
}

func aim(do func(ctx context.Context, i int) (string, error)) *target {
	return &target{start: time.Now(), do: do}
}

// taking answers each request after d.
func taking(d time.Duration) *target {
	return aim(func(ctx context.Context, _ int) (string, error) {
		return protocol.Response, pause(ctx, d)
	})
}

func (g *target) serve(ctx context.Context, r protocol.Request) error {
	g.mu.Lock()
	i := len(g.began)
	g.began = append(g.began, time.Since(g.start))
	g.requests = append(g.requests, r)
	g.inFlight++
	g.most = max(g.most, g.inFlight)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.inFlight--
		g.mu.Unlock()
	}()
	answer, err := g.do(ctx, i)
	if reason, refused := protocol.CutRefusal(answer); err == nil && refused {
		return &protocol.RefusalError{Reason: reason}
	}
	return err
}

// load runs n requests, c at once, at a rate.
func (g *target) load(n, c int, rate float64) Report {
	return g.run(context.Background(), Config{Plan: Plan{N: n, Rate: rate}, C: c})
}

func (g *target) run(ctx context.Context, config Config) Report {
	if config.Plan.Types == nil {
		config.Plan.Types = []protocol.Type{protocol.Short}
	}
	if config.Plan.Approaches == nil {
		config.Plan.Approaches = []protocol.Approach{protocol.LeastConnections}
	}
	config.Do = g.serve
	return Run(ctx, config)
}

// pause waits for d of fake time. It starts no timer of 0: with the race detector,
// fake ones crash (go.dev/issue/78156).
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// near expects got to be off by less than 1 %.
func near(t *testing.T, what string, got Span, want time.Duration) {
	t.Helper()
	if off := math.Abs(float64(got)/float64(want) - 1); off >= 0.01 {
		t.Errorf("%s: %v, want %v", what, time.Duration(got), want)
	}
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestExactlyN(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		for _, n := range []int{0, 1, 2, 7, 100, 101} {
			for _, c := range []int{0, 1, 2, 3, 7, 50, 1000} {
				synctest.Test(t, func(t *testing.T) {
					g := taking(3 * time.Millisecond)
					r := g.load(n, c, rate)
					what := fmt.Sprintf("n %d, c %d, rate %v", n, c, rate)
					expect(t, what+": requests", len(g.began), n)
					expect(t, what+": sent", r.Requests.Sent, int64(n))
					expect(t, what+": ok", r.Requests.OK, int64(n))
					expect(t, what+": complete", r.Complete(), true)
					if g.most > max(1, c) {
						t.Errorf("%s: %d in flight at once", what, g.most)
					}
				})
			}
		}
	}
}

// Without a rate C requests are always in flight, until the last ones.
func TestAsManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := taking(time.Second)
		r := g.load(10, 4, 0)
		expect(t, "at once", g.most, 4)
		expect(t, "duration", r.Duration, Span(3*time.Second))
		expect(t, "achieved", r.Rate.Achieved, 10.0/3)
		expect(t, "answered", r.Rate.Answered, 10.0/3)
		expect(t, "kept", r.Rate.Kept, true)
		expect(t, "latency from", r.LatencyFrom, ActualStart)
		expect(t, "latency", r.Latency.Max, Span(time.Second))
	})
}

// Requests start at their planned times, to the nanosecond of a fake clock,
// although none has been answered: the loop is open.
func TestPlannedStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := taking(time.Minute)
		r := g.load(300, 300, 7)
		for i, began := range g.began {
			want := time.Duration(float64(i)/7*1e9 + 0.5)
			if began != want {
				t.Fatalf("request %d began after %v, want %v", i, began, want)
			}
		}
		expect(t, "kept", r.Rate.Kept, true)
		expect(t, "late", r.Rate.Late, 0)
		if a := r.Rate.Achieved; a < 6.9999 || a > 7.0001 {
			t.Errorf("achieved %v, want 7", a)
		}
		expect(t, "latency", r.Latency.Max, Span(time.Minute))
		if a, want := r.Rate.Answered, 300/time.Duration(r.Duration).Seconds(); a != want {
			t.Errorf("answered %v, want %v", a, want)
		}
	})
}

// When all are busy a request starts late, in order, and its latency still
// counts from its plan: no coordinated omission.
func TestLatencyFromPlannedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 0 {
				return protocol.Response, pause(ctx, 3*time.Second)
			}
			return protocol.Response, pause(ctx, 100*time.Millisecond)
		})
		r := g.load(5, 1, 1)
		// Planned at 0, 1, 2, 3, 4 s; begun at 0, 3, 3.1, 3.2, 4 s.
		want := []time.Duration{0, 3000, 3100, 3200, 4000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(g.began, want) {
			t.Errorf("began %v, want %v", g.began, want)
		}
		// 3, 2.1, 1.2, 0.3 and 0.1 s.
		expect(t, "min", r.Latency.Min, Span(100*time.Millisecond))
		expect(t, "mean", r.Latency.Mean, Span(1340*time.Millisecond))
		expect(t, "max", r.Latency.Max, Span(3*time.Second))
		near(t, "p50", r.Latency.P50, 1200*time.Millisecond)
		expect(t, "latency from", r.LatencyFrom, PlannedStart)
		expect(t, "late", r.Rate.Late, 3)
		expect(t, "latest", r.Rate.Latest, Span(2*time.Second))
		expect(t, "kept", r.Rate.Kept, true) // the last one began in time, and 3 late ones are few
	})
}

func TestPercentiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := *aim(func(ctx context.Context, i int) (string, error) {
			return protocol.Response, pause(ctx, time.Duration(i+1)*time.Millisecond)
		}).load(100, 1, 0).Latency
		expect(t, "min", l.Min, Span(time.Millisecond))
		expect(t, "mean", l.Mean, Span(50500*time.Microsecond))
		near(t, "p50", l.P50, 50*time.Millisecond)
		near(t, "p90", l.P90, 90*time.Millisecond)
		near(t, "p95", l.P95, 95*time.Millisecond)
		near(t, "p99", l.P99, 99*time.Millisecond)
		expect(t, "max", l.Max, Span(100*time.Millisecond))
	})
}

// The same without a rate measures from the actual start.
func TestLatencyFromActualStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := taking(time.Second).load(5, 1, 0)
		expect(t, "max", r.Latency.Max, Span(time.Second))
		expect(t, "late", r.Rate.Late, 0)
	})
}

func TestRateNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := taking(time.Second).load(20, 2, 10)
		expect(t, "kept", r.Rate.Kept, false)
		// The last one begins at 9.1 s and takes 0.1 s of the plan.
		expect(t, "achieved", rateText(r.Rate.Achieved), rateText(20/9.2))
		text := written(t, r)
		contains(t, text, "The asked rate was not kept: achieved 2.17/s of 10/s; 18 of 20 requests began late, at worst by 7.2s.")
		contains(t, text, "more at once than -c 2")
	})
}

// One late start in a thousand is not a rate that was not kept.
func TestRateKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 500 {
				return protocol.Response, pause(ctx, 125*time.Millisecond)
			}
			return protocol.Response, pause(ctx, 20*time.Millisecond)
		})
		r := g.load(1000, 1, 10)
		expect(t, "late", r.Rate.Late, 1)
		expect(t, "kept", r.Rate.Kept, true)
		if text := written(t, r); strings.Contains(text, "not kept") {
			t.Errorf("the rate was kept, yet:\n%s", text)
		}
	})
}

// A stall at the end makes few requests late, and yet the rate was not kept.
func TestRateNotKeptAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 998 {
				return protocol.Response, pause(ctx, 5*time.Second)
			}
			return protocol.Response, nil
		})
		r := g.load(1000, 1, 10)
		expect(t, "late", r.Rate.Late, 1)
		expect(t, "kept", r.Rate.Kept, false)
	})
}

func TestKept(t *testing.T) {
	for _, test := range []struct {
		name string
		rate Rate
		sent int64
		kept bool
	}{
		{"as planned", Rate{Asked: 100, Achieved: 100}, 1000, true},
		{"no rate", Rate{Achieved: 100}, 1000, true},
		{"99 %", Rate{Asked: 100, Achieved: 99, Late: 1}, 1000, true},
		{"less than 99 %", Rate{Asked: 100, Achieved: 98.9, Late: 1}, 1000, false},
		{"a timer's millisecond in a short run", Rate{Asked: 1000, Achieved: 666}, 2, true},
		{"5 of 5 late", Rate{Asked: 100, Achieved: 100, Late: 5}, 5, true},
		{"6 of 6 late", Rate{Asked: 100, Achieved: 100, Late: 6}, 6, false},
		{"6 of 600 late", Rate{Asked: 100, Achieved: 100, Late: 6}, 600, true},
		{"6 of 599 late", Rate{Asked: 100, Achieved: 100, Late: 6}, 599, false},
		{"10 of 1000 late", Rate{Asked: 100, Achieved: 100, Late: 10}, 1000, true},
		{"11 of 1000 late", Rate{Asked: 100, Achieved: 100, Late: 11}, 1000, false},
		{"2 late, 4 overdue", Rate{Asked: 100, Achieved: 100, Late: 2, Overdue: 4}, 595, false},
		{"overdue ones are requests too", Rate{Asked: 100, Achieved: 100, Late: 2, Overdue: 4}, 596, true},
	} {
		expect(t, test.name, test.rate.kept(test.sent), test.kept)
	}
}

// A reason is never that a rate was achieved of which it is no less.
func TestSlowIsSeen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		r := Rate{Asked: math.Exp(random.Float64()*20 - 5), Late: 1}
		r.Achieved = r.Asked * (0.98 + 0.02*random.Float64())
		if achieved, asked := rateText(r.Achieved), rateText(r.Asked); r.slow() && achieved == asked {
			t.Fatalf("%v of %v: achieved %s of %s", r.Achieved, r.Asked, achieved, asked)
		}
	}
}

// Requests that begin late need not be the fault of the limit: this machine may
// have been busy, here for the first 0.3 s of a run.
func TestVerdictOfABusyMachine(t *testing.T) {
	const (
		busy    = "This machine was busy: more requests at once were allowed, and yet they did not begin in time.\n"
		ask     = "As many as allowed were in flight: ask for less, or for more at once than "
		allLate = "The asked rate was not kept: 29 of 300 requests began late, at worst by 300ms.\n" // 0 to 0.28 s
	)
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"as the issue has it", Config{C: 1000, DefaultC: true}, allLate + busy},
		{"a limit that all requests can reach", Config{C: 300}, allLate + busy},
		{"a limit that was not reached", Config{C: 32}, allLate + busy},
		{"a limit that was reached", Config{C: 31}, allLate + ask + "-c 31.\n"},
		{"a default that was reached", Config{C: 31, DefaultC: true}, allLate + ask + "31, the default of -c.\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			config := test.config
			config.Plan = Plan{
				N: 300, Rate: 100, Types: []protocol.Type{protocol.Short}, Approaches: []protocol.Approach{protocol.RoundRobin},
			}
			config.Do = taking(time.Millisecond).serve
			r := newRun(config)
			time.Sleep(300 * time.Millisecond)
			report := r.carryOutAll(t.Context())
			by := ByAtOnce
			if strings.HasSuffix(test.want, busy) {
				by = ByMachine
			}
			expect(t, test.name+": limited by", report.Limits[0].By, by)
			text := written(t, report)
			if verdict, _, _ := strings.Cut(text, "\n\n"); verdict+"\n" != test.want {
				t.Errorf("%s:\n%s\nwant\n%s", test.name, text, test.want)
			}
		})
	}
}

func TestTypesAreCycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i%3 == 0 {
				return protocol.Response, pause(ctx, 5*time.Second)
			}
			return protocol.Response, pause(ctx, time.Second)
		})
		list := []protocol.Type{protocol.Long, protocol.Short, protocol.Short}
		r := g.run(context.Background(), Config{Plan: Plan{N: 20, Rate: 100, Types: list}, C: 20})
		for i, request := range g.requests {
			want := protocol.Request{Type: list[i%3], Approach: protocol.LeastConnections}
			expect(t, fmt.Sprint("request ", i), request, want)
		}
		expect(t, "rows", len(r.Types), 2)
		long, short := r.Types[0], r.Types[1]
		expect(t, "first row", long.Type, protocol.Long)
		expect(t, "second row", short.Type, protocol.Short)
		expect(t, "Longs", long.OK, 7)
		expect(t, "Shorts", short.OK, 13)
		expect(t, "Long's latency", long.Latency.Min, Span(5*time.Second))
		expect(t, "Short's latency", short.Latency.Max, Span(time.Second))
	})
}

// A failure, whether it comes as an error or as a refusal, is in the table of
// causes and not in the latency figures.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			switch i % 4 {
			case 0:
				return "Error: no worker available: Worker-1: connection refused", nil
			case 1:
				return "", errors.New("connect: connection refused")
			case 2:
				return "an answer is relayed whatever its words", pause(ctx, time.Second)
			}
			return protocol.Response, pause(ctx, time.Second)
		})
		r := g.load(10, 3, 0)
		expect(t, "sent", r.Requests.Sent, 10)
		expect(t, "ok", r.Requests.OK, 4)
		expect(t, "failed", r.Requests.Failed, 6)
		expect(t, "complete", r.Complete(), false)
		expect(t, "min", r.Latency.Min, Span(time.Second))
		expect(t, "mean", r.Latency.Mean, Span(time.Second))
		if want := []Cause{
			{"connect: connection refused", 3},
			{"no worker available: Worker-1: connection refused", 3},
		}; !slices.Equal(r.Errors, want) {
			t.Errorf("errors %v, want %v", r.Errors, want)
		}
		expect(t, "the type's row", r.Types[0].Failed, 6)
	})
}

func TestNothingAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(context.Context, int) (string, error) { return "", errors.New("no") })
		r := g.load(3, 1, 0)
		if r.Latency != nil || r.Types[0].Latency != nil {
			t.Errorf("latency %v of nothing", r.Latency)
		}
		contains(t, written(t, r), "latency    none: no request was answered")
	})
}

// The timeout is for each request, from its actual start.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 1 {
				return "", pause(ctx, time.Hour)
			}
			return protocol.Response, pause(ctx, 900*time.Millisecond)
		})
		r := g.run(context.Background(), Config{Plan: Plan{N: 5}, C: 1, Timeout: time.Second})
		expect(t, "ok", r.Requests.OK, 4)
		expect(t, "duration", r.Duration, Span(4600*time.Millisecond))
		if want := []Cause{{"no answer within 1s", 1}}; !slices.Equal(r.Errors, want) {
			t.Errorf("errors %v, want %v", r.Errors, want)
		}
	})
}

// A stop ends the run at once, whether senders wait for an answer or for their
// planned start, and the report says what was done.
func TestStop(t *testing.T) {
	for _, test := range []struct {
		name                  string
		rate                  float64
		sent, ok, interrupted int64
		waiting               Waiting
		line                  string
	}{
		{"waiting for answers", 0, 15, 10, 5, Waiting{5, Span(250 * time.Millisecond), Span(250 * time.Millisecond)},
			"waiting    5 when the run was stopped, for 250ms\n"},
		{"waiting for the plan", 2, 5, 3, 2, Waiting{2, Span(250 * time.Millisecond), Span(750 * time.Millisecond)}, // at 0, 0.5, 1, 1.5 and 2 s
			"waiting    2 when the run was stopped, for 250ms to 750ms\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(2250*time.Millisecond, cancel)
			g := taking(time.Second)
			r := g.run(ctx, Config{Plan: Plan{N: 100, Rate: test.rate}, C: 5})
			q := r.Requests
			expect(t, test.name+": duration", r.Duration, Span(2250*time.Millisecond))
			expect(t, test.name+": sent", q.Sent, test.sent)
			expect(t, test.name+": ok", q.OK, test.ok)
			expect(t, test.name+": failed", q.Failed, 0)
			expect(t, test.name+": interrupted", q.Interrupted, test.interrupted)
			expect(t, test.name+": causes", len(r.Errors), 0)
			expect(t, test.name+": complete", r.Complete(), false)
			expect(t, test.name+": latency", r.Latency.Max, Span(time.Second))
			expect(t, test.name+": latency of those answered only", r.Latency.Min, Span(time.Second))
			expect(t, test.name+": waiting", *r.Waiting, test.waiting)
			if test.rate > 0 { // the time of the latest start is not over
				expect(t, test.name+": achieved", r.Rate.Achieved, test.rate)
			}
			text := written(t, r)
			contains(t, text, test.line)
			contains(t, text, fmt.Sprintf("The run was stopped: %d of 100 requests were not sent.", 100-test.sent))
			contains(t, text, "type   sent  ok  failed  interrupted  min")
			contains(t, text, fmt.Sprintf("%d            1s", test.interrupted))
		})
	}
}

// A run that was stopped while the other side stalled has not kept its rate,
// although what had begun by then had begun on time.
func TestStopInAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(10*time.Second+5*time.Millisecond, cancel)
		r := taking(time.Hour).run(ctx, Config{Plan: Plan{N: 1000, Rate: 10}, C: 2})
		expect(t, "sent", r.Requests.Sent, 2)
		expect(t, "late", r.Rate.Late, 0)
		expect(t, "overdue", r.Rate.Overdue, 98) // the one planned at 10 s is not late yet
		expect(t, "achieved", rateText(r.Rate.Achieved), "0.2/s")
		expect(t, "kept", r.Rate.Kept, false)
		// Two since 0 and 0.1 s, and those planned from 0.2 to 9.9 s.
		expect(t, "waiting", *r.Waiting, Waiting{100, Span(105 * time.Millisecond), Span(10005 * time.Millisecond)})
		text := written(t, r)
		contains(t, text, "The asked rate was not kept: achieved 0.2/s of 10/s.\n")
		contains(t, text, "98 more were due when the run was stopped, and had not begun.")
		contains(t, text, "more at once than -c 2.")
		contains(t, text, "waiting    100 when the run was stopped, for 105ms to 10s: 2 interrupted, 98 due but not begun\n")
	})
}

// What is overdue is counted at once, however many they are, and as if one by one.
func TestOverdue(t *testing.T) {
	for _, p := range []Plan{{N: 300, Rate: 7}, {N: 300, Rate: 1, RateTo: 50}, {For: Span(20 * time.Second), Rate: 20}, {N: 300, Rate: 9, Arrivals: Poisson}} {
		p.Types, p.Approaches = []protocol.Type{short}, []protocol.Approach{least}
		for sent := range int64(20) {
			took := time.Duration(sent*sent) * 100 * time.Millisecond
			var want waits
			for i, r := range p.all() {
				if int64(i) >= sent && r.Start <= took-lateBy {
					want.merge(waits{1, took - r.Start, took - r.Start})
				}
			}
			if got := p.overdue(sent, took); got.n != want.n || got.n > 0 && got != want {
				t.Errorf("%+v, %d sent in %v: overdue %+v, want %+v", p, sent, took, got, want)
			}
		}
	}
	p := Plan{For: Span(time.Hour), Rate: 1e6}
	expect(t, "of very many", p.overdue(0, time.Minute), waits{60*1e6 - 10_000 + 1, lateBy, time.Minute})
}

// Requests may be overdue at a stop with none in flight: this machine was busy,
// here after the first answer.
func TestStopOfABusyMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stop := time.Now().Add(4500 * time.Millisecond)
		r := taking(0).run(ctx, Config{
			Plan: Plan{N: 100, Rate: 1}, C: 2, Ended: func(Done) { time.Sleep(time.Until(stop)); cancel() },
		})
		expect(t, "sent", r.Requests.Sent, 2) // at 0 and 1 s; those at 2, 3 and 4 s were not
		expect(t, "waiting", *r.Waiting, Waiting{3, Span(500 * time.Millisecond), Span(2500 * time.Millisecond)})
		text := written(t, r)
		contains(t, text, "waiting    3 when the run was stopped, for 500ms to 2.5s: 0 interrupted, 3 due but not begun\n")
		contains(t, text, "This machine was busy")
	})
}

// What had ended a request before the stop is what became of it, although the
// run looks at it after the stop.
func TestFailedBeforeTheStop(t *testing.T) {
	reset := errors.New("read the answer: connection reset by peer")
	for name, do := range map[string]func(ctx context.Context) (string, error){
		"no place":                    func(context.Context) (string, error) { return "Error: no place", nil },
		reset.Error():                 func(context.Context) (string, error) { return "", reset },
		"no answer within 1s":         func(context.Context) (string, error) { return "", context.DeadlineExceeded },
		"interrupted, and no failure": func(ctx context.Context) (string, error) { return "", fmt.Errorf("read: %w", ctx.Err()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g := aim(func(context.Context, int) (string, error) {
				cancel()
				return do(ctx)
			})
			r := g.run(ctx, Config{Plan: Plan{N: 2}, Timeout: time.Second})
			if r.Requests.Interrupted == 1 {
				r.Errors = append(r.Errors, Cause{"interrupted, and no failure", r.Requests.Interrupted})
			}
			if want := []Cause{{name, 1}}; !slices.Equal(r.Errors, want) {
				t.Errorf("errors %v, want %v", r.Errors, want)
			}
			expect(t, name+": sent", r.Requests.Sent, 1)
		})
	}
}

// A run whose context has a deadline is stopped by it. That is not the timeout
// of a request.
func TestStoppedByADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		q := taking(time.Second).run(ctx, Config{Plan: Plan{N: 10}, Timeout: time.Minute}).Requests
		expect(t, "ok", q.OK, 2)
		expect(t, "failed", q.Failed, 0)
		expect(t, "interrupted", q.Interrupted, 1)
	})
}

// An answer that has come by the deadline counts, however late it is looked at:
// this process may have been suspended.
func TestTimeoutLooksOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		l := network.Listen("broker")
		var serving sync.WaitGroup
		serving.Go(func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				protocol.ReadRequest(conn)
				io.WriteString(conn, protocol.Response)
				conn.Close()
			}
		})
		dial := func(ctx context.Context) (net.Conn, error) {
			conn, err := network.Dial(ctx, "broker")
			return suspended{conn, time.Minute}, err
		}
		r := Run(t.Context(), Config{
			Plan:    Plan{N: 2, Types: []protocol.Type{protocol.Short}, Approaches: []protocol.Approach{protocol.RoundRobin}},
			Timeout: time.Second,
			Do: func(ctx context.Context, r protocol.Request) error {
				_, err := protocol.Ask(ctx, dial, r)
				return err
			},
		})
		l.Close()
		serving.Wait()
		expect(t, "ok", r.Requests.OK, 2)
		expect(t, "causes", fmt.Sprint(r.Errors), "[]")
		if r.Latency == nil || r.Latency.Min < Span(time.Minute) {
			t.Errorf("latency %v, want that of a process which was suspended for a minute", r.Latency)
		}
	})
}

// suspended is a connection of a process that is suspended before it reads.
type suspended struct {
	net.Conn
	pause time.Duration
}

func (s suspended) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return s.Conn.Read(p)
}

func TestStoppedBeforeTheStart(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g := taking(0)
	r := g.run(ctx, Config{Plan: Plan{N: 100, Rate: 2}, C: 5})
	expect(t, "sent", r.Requests.Sent, 0)
	expect(t, "requests", len(g.began), 0)
}

// What a run keeps does not depend on how many requests it has.
func TestMemoryDoesNotGrow(t *testing.T) {
	config := Config{
		Plan: Plan{
			Mix:        []Share{{protocol.Long, 1}, {protocol.Short, 2}},
			Approaches: []protocol.Approach{protocol.RoundRobin, protocol.LeastConnections},
		},
		Do: func(context.Context, protocol.Request) error { return nil },
	}
	allocs := func(n int) float64 {
		config.Plan.N, config.C = n, 4
		return testing.AllocsPerRun(5, func() { Run(context.Background(), config) })
	}
	few, many := allocs(100), allocs(20_000)
	if many > few+100 {
		t.Errorf("%v allocations for 100 requests, %v for 20000", few, many)
	}
}

// Ended gets every request as the report counts it: latencies are from the
// planned start.
func TestEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 1 {
				return "Error: no", nil
			}
			return protocol.Response, pause(ctx, 3*time.Second)
		})
		var told []string
		g.run(t.Context(), Config{
			Plan: Plan{N: 4, Rate: 1, Types: []protocol.Type{protocol.Long, protocol.Short}}, C: 1,
			Ended: func(d Done) {
				told = append(told, strings.TrimSpace(fmt.Sprintln(d.Type, d.Start, d.Began, d.Ended, d.Outcome, d.Latency(), d.Cause)))
			},
		})
		want := []string{"Long 0s 0s 3s ok 3s", "Short 1s 3s 3s failed 2s no", "Long 2s 3s 6s ok 4s", "Short 3s 6s 9s ok 6s"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// With a time nothing starts after it, and what is in flight then is answered.
func TestForATime(t *testing.T) {
	for _, test := range []struct {
		name     string
		plan     Plan
		c        int
		sent     int64
		asked    int
		complete bool
		duration time.Duration
		achieved string
		limits   string
	}{
		{"as fast as possible", Plan{}, 2, 8, 8, true, 12 * time.Second, "0.8/s", ""}, // at 0, 3, 6 and 9 s
		{"at a rate", Plan{Rate: 2}, 100, 20, 20, true, 12500 * time.Millisecond, "2/s", ""},
		{"at a rate that is not kept", Plan{Rate: 2}, 3, 11, 20, false, 12500 * time.Millisecond, "1.1/s",
			"time: The time was over before 9 of 20 requests had begun."},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := taking(3 * time.Second)
			test.plan.For = Span(10 * time.Second)
			r := g.run(t.Context(), Config{Plan: test.plan, C: test.c})
			expect(t, test.name+": sent", r.Requests.Sent, test.sent)
			expect(t, test.name+": ok", r.Requests.OK, test.sent)
			expect(t, test.name+": asked", r.Requests.Asked, test.asked)
			expect(t, test.name+": complete", r.Complete(), test.complete)
			expect(t, test.name+": duration", r.Duration, Span(test.duration))
			expect(t, test.name+": achieved", rateText(r.Rate.Achieved), test.achieved)
			if last := g.began[len(g.began)-1]; last >= 10*time.Second {
				t.Errorf("%s: one began at %v", test.name, last)
			}
			got := ""
			if text := written(t, r); strings.Contains(text, "stopped") {
				t.Errorf("%s: nothing was stopped, but the report says\n%s", test.name, text)
			}
			if len(r.Limits) > 0 {
				got = fmt.Sprintf("%s: %s", r.Limits[0].By, r.Limits[0].Text)
			}
			expect(t, test.name+": limited", got, test.limits)
		})
	}
}

// Without a rate the number of requests says nothing of a stop: the time does.
func TestForATimeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		r := taking(time.Second).run(ctx, Config{Plan: Plan{For: Span(10 * time.Second)}, C: 1})
		expect(t, "interrupted", r.Requests.Interrupted, 1)
		expect(t, "limits", fmt.Sprint(r.Limits), "[{stop The run was stopped after 2.5s of 10s.}]")
		expect(t, "complete", r.Complete(), false)

		ctx, cancel = context.WithCancel(t.Context())
		r = taking(time.Second).run(ctx, Config{Plan: Plan{For: Span(10 * time.Second)}, C: 1, Ended: func(Done) { cancel() }})
		expect(t, "interrupted", r.Requests.Interrupted, 0)
		expect(t, "limits", fmt.Sprint(r.Limits), "[{stop The run was stopped after 1s of 10s.}]")
		expect(t, "complete", r.Complete(), false)
	})
}

// A time may be over before a request could begin. That is no success.
func TestForNoTime(t *testing.T) {
	r := taking(0).run(t.Context(), Config{Plan: Plan{For: 1}, C: 1})
	if r.Requests.Sent == 0 { // unless the clock stands still
		expect(t, "limits", fmt.Sprint(r.Limits), "[{time The time was over before a request had begun.}]")
		expect(t, "complete", r.Complete(), false)
	}
}

// A timer that is a little late at the end of the time loses no request.
func TestForATimeWithALateTimer(t *testing.T) {
	for late, sent := range map[time.Duration]int64{10 * time.Millisecond: 200, 11 * time.Millisecond: 199} {
		synctest.Test(t, func(t *testing.T) {
			// The last one is planned at 0.995 s, when the one before it is not over.
			g := aim(func(ctx context.Context, i int) (string, error) {
				if i == 198 {
					return protocol.Response, pause(ctx, 5*time.Millisecond+late)
				}
				return protocol.Response, nil
			})
			r := g.run(t.Context(), Config{Plan: Plan{For: Span(time.Second), Rate: 200}, C: 1})
			expect(t, fmt.Sprint("late by ", late), r.Requests.Sent, sent)
		})
	}
}

// A run follows its plan, whatever the plan is.
func TestRunFollowsThePlan(t *testing.T) {
	for _, plan := range []Plan{
		{N: 200, Rate: 10, RateTo: 100},
		{N: 200, Rate: 50, Arrivals: Poisson, Seed: 9},
		{N: 200, Rate: 50, Mix: []Share{{long, 1}, {short, 2}}, Approaches: []protocol.Approach{roundRobin, least}},
	} {
		synctest.Test(t, func(t *testing.T) {
			if plan.Mix == nil {
				plan.Types = []protocol.Type{short}
			}
			g := taking(time.Minute)
			r := g.run(t.Context(), Config{Plan: plan, C: 200})
			if plan.Approaches == nil {
				plan.Approaches = []protocol.Approach{least}
			}
			for i, want := range plan.all() {
				expect(t, "start", g.began[i], want.Start)
				expect(t, "request", g.requests[i], want.Request)
			}
			expect(t, "kept", r.Rate.Kept, true)
			expect(t, "achieved", rateText(r.Rate.Achieved), rateText(plan.mean()))
		})
	}
}

// A ramp shows where the other side no longer keeps up: one worker does 10
// requests a second, and the rate reaches that in the middle.
func TestKnee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := make(chan struct{}, 1)
		g := aim(func(ctx context.Context, _ int) (string, error) {
			queue <- struct{}{}
			defer func() { <-queue }()
			return protocol.Response, pause(ctx, 100*time.Millisecond)
		})
		r := g.run(t.Context(), Config{Plan: Plan{For: Span(100 * time.Second), RateTo: 20}, C: 1000})
		expect(t, "sent", r.Requests.Sent, 1000)
		expect(t, "parts", len(r.Parts), 10)
		for i, p := range r.Parts {
			expect(t, "from", p.From, Span(i)*Span(10*time.Second))
			expect(t, "to", p.To, Span(i+1)*Span(10*time.Second))
			expect(t, "asked", p.Asked, float64(2*i+1))
			if want := min(p.Asked, 10); math.Abs(p.Answered-want) > 0.2 {
				t.Errorf("part %d: %v answered a second, want %v", i, p.Answered, want)
			}
			// At 60 s 360 have come, and 10 a second since 50 s were answered.
			if slow := *p.P99 > Span(300*time.Millisecond); slow != (i >= 5) {
				t.Errorf("part %d: p99 is %v", i, *p.P99)
			}
		}
		// The last one planned before 90 s finds 160 before it. It is answered later.
		if p99 := *r.Parts[8].P99; p99 < Span(15*time.Second) {
			t.Errorf("part 8: p99 is %v, want 16s", p99)
		}
		contains(t, written(t, r), "rate       asked 0/s to 20/s; achieved 10/s, answered ")
		contains(t, written(t, r), "\n\ntime            asked  answered  p99\n0s to 10s       1/s    1/s       100ms\n")
	})
}

// The latency of a request counts at the rate at which it was to start, however late
// it began; its answer counts when it came.
func TestLateInARamp(t *testing.T) {
	plan := Plan{For: Span(100 * time.Second), RateTo: 20}
	all := newParts(plan)
	all.add(Done{Planned: Planned{Paced: true, Start: 15 * time.Second}, Began: 75 * time.Second, Ended: 95 * time.Second})
	for i, p := range all.table(plan, 100*time.Second) {
		expect(t, fmt.Sprintf("part %d: there is a latency", i), p.P99 != nil, i == 1)
		expect(t, fmt.Sprintf("part %d: there is an answer", i), p.Answered > 0, i == 9)
	}
}

// A ramp may be so steep that its time is nothing.
func TestRampInNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := taking(time.Second).run(t.Context(), Config{Plan: Plan{N: 2, Rate: 1, RateTo: 1e12}, C: 2})
		expect(t, "ok", r.Requests.OK, 2)
		expect(t, "parts", len(r.Parts), 10)
		expect(t, "p99 of the last part", *r.Parts[9].P99, Span(time.Second))
		parsed(t, r)
	})
}

// A ramp that is stopped has kept its rate, if it did until then.
func TestStoppedRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 49950*time.Millisecond) // the next one is planned at 50 s
		defer cancel()
		r := taking(0).run(ctx, Config{Plan: Plan{For: Span(100 * time.Second), RateTo: 20}, C: 1000})
		expect(t, "sent", r.Requests.Sent, 250)
		for what, rate := range map[string]float64{"asked": r.Rate.Asked, "achieved": r.Rate.Achieved} {
			if math.Abs(rate-5) > 0.02 {
				t.Errorf("%s: %v, want 5", what, rate)
			}
		}
		expect(t, "kept", r.Rate.Kept, true)
		expect(t, "limits", len(r.Limits), 1)
		contains(t, written(t, r), "\n40s to 50s  9/s    9.05/s    0s\n... 5 after the stop\n\ntype ")
	})
}

// The end of a falling ramp has long gaps. That the last answer comes in one of
// them makes no lower rate of the whole.
func TestFallingRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 0 {
				return protocol.Response, pause(ctx, 30*time.Millisecond) // the next one is planned at 10 ms
			}
			return protocol.Response, nil
		})
		r := g.run(t.Context(), Config{Plan: Plan{For: Span(time.Second), Rate: 100, RateTo: 10}, C: 1})
		expect(t, "late", r.Rate.Late, 1)
		expect(t, "asked", r.Rate.Asked, 55)
		expect(t, "achieved", rateText(r.Rate.Achieved), "55/s")
		expect(t, "kept", r.Rate.Kept, true)
	})
}

// The part in which a ramp is stopped counts until then.
func TestRampStoppedInAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		r := taking(0).run(ctx, Config{Plan: Plan{For: Span(100 * time.Second), RateTo: 20}, C: 1000})
		if got := r.Parts[4].Answered; math.Abs(got-8.5) > 0.3 { // the rate at 42.5 s
			t.Errorf("%v answered a second, want 8.5", got)
		}
		expect(t, "answered after the stop", r.Parts[5].Answered, 0)
	})
}

// Approaches that are sent in turn have a row each.
func TestApproachRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 3 {
				return "Error: no", nil
			}
			return protocol.Response, pause(ctx, time.Duration(1+i%2)*time.Second)
		})
		r := g.run(t.Context(), Config{
			Plan: Plan{N: 9, Types: []protocol.Type{long, short}, Approaches: []protocol.Approach{roundRobin, least}}, C: 1,
		})
		expect(t, "rows", len(r.Approaches), 2)
		first, second := r.Approaches[0], r.Approaches[1]
		expect(t, "first", fmt.Sprint(first.Approach, first.Sent, first.OK, first.Failed), "round_robin 5 5 0")
		expect(t, "second", fmt.Sprint(second.Approach, second.Sent, second.OK, second.Failed), "least_connections 4 3 1")
		expect(t, "first's latency", first.Latency.Max, Span(time.Second))
		expect(t, "second's latency", second.Latency.Min, Span(2*time.Second))
		expect(t, "Longs", r.Types[0].Sent, 5) // 0, 1, 4, 5 and 8
		contains(t, written(t, r), "\napproach           sent  ok  failed  min  mean  p50  p90  p95  p99  max\nround_robin        5     5   0       1s")
	})
}

// What limited the run is at the top.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := aim(func(ctx context.Context, i int) (string, error) {
			switch i {
			case 0:
				return "", fmt.Errorf("connect: %w", &LocalError{errors.New("too many open files here")})
			case 1:
				return "", pause(ctx, time.Hour)
			}
			return protocol.Response, nil
		})
		time.AfterFunc(30*time.Second, cancel)
		r := g.run(ctx, Config{Plan: Plan{N: 100, Rate: 1}, C: 1})
		var by []Limiter
		for _, limit := range r.Limits {
			by = append(by, limit.By)
		}
		expect(t, "limited by", fmt.Sprint(by), "[stop at_once machine]")
		const want = `The run was stopped: 98 of 100 requests were not sent.

The asked rate was not kept: achieved 0.0667/s of 1/s.
28 more were due when the run was stopped, and had not begun.
As many as allowed were in flight: ask for less, or for more at once than -c 1.

Requests that failed because this machine ran out of something: 1. See their causes.

requests   2 sent, 0 ok, 1 failed, 1 interrupted
`
		if text := written(t, r); !strings.HasPrefix(text, want) {
			t.Errorf("got\n%s\nwant\n%s at the top", text, want)
		}
		expect(t, "failed locally", r.Requests.FailedLocally, 1)
	})
}

// p99.9 is there from 1,000 answers on.
func TestP999(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		take := func(n int) Report {
			return aim(func(ctx context.Context, i int) (string, error) {
				return protocol.Response, pause(ctx, time.Duration(i+1)*time.Millisecond)
			}).load(n, 1, 0)
		}
		r := take(999)
		if r.Latency.P999 != nil || strings.Contains(written(t, r), "p99.9") {
			t.Errorf("p99.9 of 999 answers:\n%s", written(t, r))
		}
		r = take(1000)
		near(t, "p99.9", *r.Latency.P999, 999*time.Millisecond)
		contains(t, written(t, r), "p99 992ms, p99.9 ")
		contains(t, written(t, r), "p99    p99.9  max\n")
	})
}
