package load

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/console"
	"balancelab/internal/protocol"
)

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i%10 == 0 {
				return "", errors.New("no")
			}
			return protocol.Response, pause(ctx, 100*time.Millisecond)
		})
		var seen []Progress
		// The last of 25 begins at 2.4 s and ends at 2.5 s.
		g.run(context.Background(), Config{
			Plan: Plan{N: 25, Rate: 10}, C: 3, Progress: func(p Progress) { seen = append(seen, p) },
		})
		if len(seen) != 3 {
			t.Fatalf("%d times in 2.5 s, want 3: %v", len(seen), seen)
		}
		last := seen[2]
		expect(t, "done", last.Done, 25)
		expect(t, "ok", last.OK, 22)
		expect(t, "failed", last.Failed, 3)
		expect(t, "in flight", last.InFlight, 0)
		expect(t, "end", last.End, true)
		expect(t, "end before", seen[1].End, false)
		expect(t, "rate over all", last.Rate, 10)
		near(t, "p50", last.P50, 100*time.Millisecond)
		near(t, "p99", last.P99, 100*time.Millisecond)
	})
}

// The rate is that of the last interval, not of the whole run.
func TestProgressRateNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i < 8 {
				return protocol.Response, pause(ctx, 499*time.Millisecond)
			}
			return protocol.Response, pause(ctx, 10*time.Second)
		})
		var seen []Progress
		g.run(context.Background(), Config{
			Plan: Plan{N: 10}, C: 4, Every: 2 * time.Second, Progress: func(p Progress) { seen = append(seen, p) },
		})
		expect(t, "times", len(seen), 6)
		expect(t, "rate in the beginning", seen[0].Rate, 4)
		expect(t, "in flight", seen[0].InFlight, 2)
		expect(t, "rate later", seen[1].Rate, 0)
		expect(t, "rate over all", seen[5].Rate, 10/(10998*time.Millisecond).Seconds())
	})
}

// The progress is not read, and the run does not wait for it. When it is read
// after all, the last line is whole.
func TestProgressIsNotRead(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			screen := &stuck{release: make(chan struct{})}
			w := console.NewWriter(screen, nil)
			r := taking(time.Second).run(t.Context(), Config{Plan: Plan{N: 30, Rate: 10}, C: 30, Progress: Show(w, terminal)})
			expect(t, "ok", r.Requests.OK, 30)
			expect(t, "kept", r.Rate.Kept, true)
			expect(t, "duration", r.Duration, Span(3900*time.Millisecond))
			close(screen.release)
			w.Close()
			const last = "30/30 0 in flight 30 ok 0 failed 7.69/s p50 1s p99 1s"
			cut, wrap := noWrap()
			begin, end := "", "\n"
			if terminal {
				begin, end = "\r"+cut, wrap+"\n"
				contains(t, screen.text.String(), begin+"[######")
			}
			text, whole := strings.CutSuffix(screen.text.String(), end)
			if !whole || !strings.HasSuffix(strings.TrimRight(text, " "), begin+last) {
				t.Errorf("got %q, want %q at the end", screen.text.String(), begin+last+end)
			}
		})
	}
}

// stuck is a terminal after Ctrl-S, until it is released.
type stuck struct {
	release chan struct{}
	text    bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	return s.text.Write(p)
}

func TestProgressString(t *testing.T) {
	p := Progress{N: 200000, Done: 123456, InFlight: 50, OK: 123450, Failed: 6, Rate: 30123, P50: 1234567, P99: 12345678}
	const want = "123456/200000 50 in flight 123450 ok 6 failed 30123/s p50 1.23ms p99 12.3ms"
	expect(t, "progress", p.String(), want)
	if len(want) >= 80 {
		t.Errorf("%d columns", len(want))
	}
}

func TestShowInPlace(t *testing.T) {
	var b bytes.Buffer
	show := Show(&b, true)
	show(Progress{N: 10, Done: 4, InFlight: 1, Share: 0.4})
	show(Progress{N: 10, Done: 10, End: true})
	cut, wrap := noWrap()
	want := "\r" + cut + "[########------------]  40 %: 1 in flight, 0 failed, 0/s" + wrap +
		"\r" + cut + "10/10 0 in flight 0 ok 0 failed 0/s" + strings.Repeat(" ", 21) + wrap + "\n"
	expect(t, "the end", b.String(), want)

	b.Reset()
	show = Show(&b, true)
	show(Progress{N: 10, Rate: 1234})
	show(Progress{N: 10})
	show(Progress{N: 10, Rate: 10})
	const start = "[--------------------]   0 %: 0 in flight, 0 failed, "
	shorter := "\r" + cut + start + "1234/s" + wrap + "\r" + cut + start + "0/s   " + wrap + "\r" + cut + start + "10/s" + wrap
	expect(t, "shorter and longer", b.String(), shorter)
}

func TestBar(t *testing.T) {
	for _, test := range []struct {
		p    Progress
		want string
	}{
		{Progress{Share: 0.9999, Left: 1}, "[###################-]  99 %, 1s left: 0 in flight, 0 failed, 0/s"},
		{Progress{Share: 1}, "[####################] 100 %: 0 in flight, 0 failed, 0/s"},
		{
			Progress{Share: 0.5, Left: Span(9*time.Hour + 59*time.Minute + 58001*time.Millisecond), InFlight: 1000, OK: 1, Failed: 100, Rate: 30123, P99: 12345678},
			"[##########----------]  50 %, 9h59m59s left: 1000 in flight, 100 failed, 30123/s, p99 12.3ms",
		},
	} {
		expect(t, "bar", test.p.bar(), test.want)
	}
}

// How much is done and left, of runs that are known by their number, by their
// plan and by their time.
func TestLeft(t *testing.T) {
	types, approaches := []protocol.Type{protocol.Short}, []protocol.Approach{protocol.RoundRobin}
	for _, test := range []struct {
		name         string
		plan         Plan
		done         int64
		passed, left time.Duration
		share        float64
	}{
		{"a closed loop", Plan{N: 10}, 4, 2 * time.Second, 3 * time.Second, 0.4},
		{"its start", Plan{N: 10}, 0, 2 * time.Second, 0, 0},
		{"its end", Plan{N: 10}, 10, 2 * time.Second, 0, 1},
		{"an open loop", Plan{N: 10, Rate: 1}, 4, 6 * time.Second, 4 * time.Second, 0.4},
		{"its last answers", Plan{N: 10, Rate: 1}, 8, 12 * time.Second, 3 * time.Second, 0.8},
		{"a time", Plan{For: Span(10 * time.Second)}, 77, 4 * time.Second, 6 * time.Second, 0.4},
		{"the last answers after it", Plan{For: Span(10 * time.Second)}, 77, 11 * time.Second, 0, 1},
		{"a ramp", Plan{For: Span(10 * time.Second), RateTo: 2}, 1, 4 * time.Second, 6 * time.Second, 0.1},
	} {
		test.plan.Types, test.plan.Approaches = types, approaches
		share, left := newRun(Config{Plan: test.plan}).left(test.done, test.passed)
		expect(t, test.name+": share", share, test.share)
		expect(t, test.name+": left", left, Span(test.left))
	}
}

func TestShowLines(t *testing.T) {
	var b bytes.Buffer
	show := Show(&b, false)
	show(Progress{N: 2})
	show(Progress{N: 2, Done: 2, OK: 2, End: true})
	const want = "0/2 0 in flight 0 ok 0 failed 0/s\n" +
		"2/2 0 in flight 2 ok 0 failed 0/s p50 0s p99 0s\n"
	expect(t, "lines", b.String(), want)
}
