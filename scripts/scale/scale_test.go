package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/load"
)

// exponential is jobs as queueing theory likes them best.
func exponential(c cell) cell {
	c.mean = time.Second
	c.length = func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(c.mean)) }
	return c
}

// erlangC is the mean wait at c servers with one queue, in mean lengths of a job.
func erlangC(c int, busy float64) float64 {
	offered, term, sum := busy*float64(c), 1.0, 0.0
	for k := range c {
		sum += term
		term *= offered / float64(k+1)
	}
	term /= 1 - busy
	return term / (sum + term) / (float64(c) * (1 - busy))
}

func TestAgreesWithTheory(t *testing.T) {
	if got := erlangC(1, 0.8); math.Abs(got-4) > 1e-9 {
		t.Fatalf("M/M/1, 80 %% busy: %v, want 4", got)
	}
	for _, c := range []cell{
		{way: roundRobin, brokers: 1, workers: 1, busy: 0.8},
		{way: leastShared, brokers: 1, workers: 1, busy: 0.6},
		{way: oneQueue, brokers: 1, workers: 1, busy: 0.8},
		{way: oneQueue, brokers: 1, workers: 4, busy: 0.8},
		{way: oneQueue, brokers: 1, workers: 10, busy: 0.9},
	} {
		c.n, c.seed = 400_000, 1
		r := exponential(c).play()
		if got, want := r.mean.Seconds(), erlangC(c.workers, c.busy); math.Abs(got/want-1) > 0.05 {
			t.Errorf("%v, %d workers, %v busy: a mean wait of %.3f, theory says %.3f", c.way, c.workers, c.busy, got, want)
		}
	}
}

// Longs and Shorts at one worker: the mean wait of Pollaczek and Khinchine.
func TestLongsAndShorts(t *testing.T) {
	const busy = 0.7
	square := (long.Seconds()*long.Seconds() + 2*short.Seconds()*short.Seconds()) / 3
	want := busy * square / (2 * (1 - busy) * meanJob.Seconds())
	got := cell{way: leastConnections, brokers: 1, workers: 1, busy: busy, n: 400_000, seed: 1}.play().mean.Seconds()
	if math.Abs(got/want-1) > 0.05 {
		t.Errorf("a mean wait of %.3f s, theory says %.3f s", got, want)
	}
}

// Two choices that see everything: in a large system the mean time in the
// system is the sum of busy^(2^i-2) over i, says Mitzenmacher.
func TestTwoChoicesAgreeWithMitzenmacher(t *testing.T) {
	const busy = 0.9
	want := -1.0 // the work itself is no wait
	for i := 1; i < 10; i++ {
		want += math.Pow(busy, math.Pow(2, float64(i))-2)
	}
	c := cell{way: twoShared, brokers: 4, workers: 500, busy: busy, n: 400_000, seed: 1}
	if got := exponential(c).play().mean.Seconds(); math.Abs(got/want-1) > 0.05 {
		t.Errorf("a mean wait of %.3f, theory says %.3f", got, want)
	}
}

func TestSameSeedSameResult(t *testing.T) {
	for _, w := range allWays {
		c := cell{way: w, brokers: 4, workers: 10, busy: 0.9, age: 50 * time.Millisecond, n: 5000, seed: 7}
		first, again := c.play(), c.play()
		if first != again {
			t.Errorf("%v: %v and then %v", w, first, again)
		}
		c.seed++
		if other := c.play(); other == first {
			t.Errorf("%v: another seed gives %v too", w, other)
		}
	}
}

// What one broker knows, several do not: with one queue each, requests wait
// behind others at the workers.
func TestSplitQueuesAreWorse(t *testing.T) {
	c := cell{brokers: 1, workers: 20, busy: 0.9, n: 50_000, seed: 1}
	for _, w := range []way{leastConnections, oneQueue} {
		c.way, c.brokers = w, 1
		one := c.play()
		c.brokers = 8
		several := c.play()
		if several.mean < 2*one.mean || several.most <= one.most {
			t.Errorf("%v: %+v with one broker and %+v with 8", w, one, several)
		}
		if w == oneQueue && one.most != 1 {
			t.Errorf("one queue: %d at a worker, the limit is 1", one.most)
		}
	}
}

// An old view sends all that come to the workers that looked idle. The better of
// two chosen at random suffers less from it.
func TestOldViews(t *testing.T) {
	c := cell{brokers: 4, workers: 100, busy: 0.9, n: 50_000, seed: 1}
	mean := func(w way, age time.Duration) time.Duration {
		c.way, c.age = w, age
		return c.play().mean
	}
	if fresh, two := mean(leastShared, 0), mean(twoShared, 0); fresh >= two {
		t.Errorf("a fresh view: %v, and %v for two choices", fresh, two)
	}
	if old, two := mean(leastShared, 500*time.Millisecond), mean(twoShared, 500*time.Millisecond); old <= two {
		t.Errorf("an old view: %v, and %v for two choices", old, two)
	}
}

func TestView(t *testing.T) {
	v, chance := newView(3), rand.New(rand.NewPCG(1, 1))
	counts := [3]int{}
	for range 10_000 {
		w := chance.IntN(3)
		if counts[w] == 0 || chance.IntN(2) == 0 {
			v.add(w, 1)
			counts[w]++
		} else {
			v.add(w, -1)
			counts[w]--
		}
		if got := v.least(chance); counts[got] != min(counts[0], counts[1], counts[2]) {
			t.Fatalf("the least of %v is said to be %d", counts, got)
		}
		got := v.betterOfTwo(chance)
		if counts[got] > counts[(got+1)%3] && counts[got] > counts[(got+2)%3] {
			t.Fatalf("the better of two of %v is said to be %d", counts, got)
		}
	}
}

// Brokers that start at the same time with the same list send each worker a
// request at about the same time, if there are many workers.
func TestRotate(t *testing.T) {
	c := cell{way: roundRobin, brokers: 16, workers: 2000, busy: 0.9, n: 1000, seed: 1}
	same := c.play().mean
	c.rotate = true
	if rotated := c.play().mean; rotated > same*3/4 {
		t.Errorf("a mean wait of %v with the same list, %v with rotated ones", same, rotated)
	}
}

// What a table and the picture say is what the cells gave.
func TestTableAndPicture(t *testing.T) {
	g := base
	g.brokers, g.workers = []int{1, 4}, []int{5}
	byBrokers, err := g.play(t.Context(), options{n: 500, seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	text := byBrokers.String()
	for _, want := range []string{"5 workers, 90 % busy, a shared view 0s old:\n", "1 broker ", "4 brokers"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
	for i, w := range allWays {
		c := byBrokers.columns[1]
		c.way = w
		r := c.play()
		if r != byBrokers.results[i][1] {
			t.Errorf("%v: %+v alone and %+v in the table", w, r, byBrokers.results[i][1])
		}
		if want := fmt.Sprintf("%v %v %d", load.Span(r.mean), load.Span(r.p99), r.most); !strings.Contains(text, want) {
			t.Errorf("%v: the table lacks %q:\n%s", w, want, text)
		}
	}
	g = base
	g.ages = []time.Duration{0, time.Second}
	byAge, err := g.play(t.Context(), options{n: 500, seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(byAge.rows) != 2 {
		t.Errorf("the age of a shared view is said to matter to %v", byAge.rows)
	}
	var b bytes.Buffer
	draw(&b, byBrokers, byAge)
	if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"round robin: " + load.Span(byBrokers.results[0][0].mean).String() + " with 1 broker", "two choices, 1s old: " + load.Span(byAge.results[1][1].mean).String()} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the picture lacks %q:\n%s", want, b.String())
		}
	}
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := base.play(ctx, options{}); err != context.Canceled {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-brokers 0", "whole numbers from 1"},
		{"-workers 10,", "whole numbers from 1"},
		{"-busy 100", "below 100"},
		{"-busy NaN", "below 100"},
		{"-ages 5", "such as 50ms"},
		{"-n 0", "-n must be at least 1"},
		{"-svg a.svg -busy 90", "goes with no list"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(test.args), io.Discard, &stderr); code != cli.Usage || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: exit code %d, %q; want %q", test.args, code, stderr.String(), test.want)
		}
	}
}

// The doc comment of the program has the usage text.
func TestUsageInDoc(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, _, _ := strings.Cut(string(source), "\npackage main")
	for line := range strings.Lines(usage) {
		if line := strings.TrimSpace(line); !strings.Contains(doc, line) {
			t.Errorf("the doc comment lacks %q", line)
		}
	}
}
