package runs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"balancelab/internal/load"
)

// A Report says how far a run is, or what it has come to. Its JSON is the answer
// to GET /run. Planned, Sent, Answered, Failed and Seconds are about the part that
// goes on, or was the last.
type Report struct {
	Running  bool     `json:"running"`
	ID       int      `json:"id"`       // counted from 1; 0 before the first run
	Part     string   `json:"part"`     // the name of its result
	Command  string   `json:"command"`  // the client's command line that would send the same
	Planned  int      `json:"planned"`  // requests; 0 if it goes on until it is stopped, or for a time without a rate
	Sent     int      `json:"sent"`     // begun, those in flight included
	Answered int      `json:"answered"` // of those sent
	Failed   int      `json:"failed"`   // of those sent; a stop is no failure
	Seconds  float64  `json:"seconds"`  // since its start, or until its end
	Results  []Result `json:"results"`  // of each part that has begun, in order
	Sentence string   `json:"sentence"` // what happened; "" while it goes on
	Error    string   `json:"error"`    // why requests failed; "" if none did
}

// A Result is what a part has come to so far.
type Result struct {
	Name     string  `json:"name"` // "round_robin", "least_connections", or "one queue"
	Command  string  `json:"command"`
	Answered int     `json:"answered"`
	Failed   int     `json:"failed"`
	Mean     float64 `json:"mean_seconds"` // all times are of answered requests
	P50      float64 `json:"p50_seconds"`
	P95      float64 `json:"p95_seconds"`
	P99      float64 `json:"p99_seconds"`
	Max      float64 `json:"max_seconds"`
	Most     int     `json:"most_in_flight"` // at one worker, at once
	Bars     []Bar   `json:"histogram"`      // all results of a run have bars of the same bounds
}

// A Bar counts answered requests that took longer than From and at most Le; it is
// not cumulative. The first bar of all has what took less, and the last what took
// longer.
type Bar struct {
	From  float64 `json:"from"` // seconds
	Le    float64 `json:"le"`
	Count int     `json:"count"`
}

// The bounds of bars: ten to each power of ten, so that each bar is as wide on a
// logarithmic scale.
var bounds = newBounds()

const numBounds = 80

func newBounds() (all [numBounds]time.Duration) {
	steps := [...]time.Duration{100, 125, 160, 200, 250, 320, 400, 500, 640, 800}
	unit := time.Microsecond
	for i := range all {
		all[i] = steps[i%len(steps)] * unit
		if i%len(steps) == len(steps)-1 {
			unit *= 10
		}
	}
	return all
}

// barCounts counts durations up to each bound.
type barCounts [numBounds]int

func (b *barCounts) add(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d)
	b[min(i, numBounds-1)]++
}

// bars returns those from the first to the last that any of the counts has.
func bars(all []barCounts) [][]Bar {
	first, last := numBounds, -1
	for _, counts := range all {
		for i, n := range counts {
			if n > 0 {
				first, last = min(first, i), max(last, i)
			}
		}
	}
	lists := make([][]Bar, len(all))
	for k, counts := range all {
		lists[k] = []Bar{}
		for i := first; i <= last; i++ {
			from := time.Duration(0)
			if i > 0 {
				from = bounds[i-1]
			}
			lists[k] = append(lists[k], Bar{from.Seconds(), bounds[i].Seconds(), counts[i]})
		}
	}
	return lists
}

func (u *run) report() Report {
	r := Report{Running: !u.over(), ID: u.id, Results: []Result{}}
	u.mu.Lock()
	parts := u.parts[:u.at+1]
	if !r.Running {
		r.Sentence, r.Error = u.sentence, u.err
	}
	u.mu.Unlock()
	var counts []barCounts
	for _, p := range parts {
		m := p.now()
		r.Part, r.Command, r.Planned = p.way.name, p.command, p.planned()
		r.Sent, r.Answered, r.Failed, r.Seconds = m.sent, m.result.Answered, m.result.Failed, m.took.Seconds()
		r.Results = append(r.Results, m.result)
		counts = append(counts, m.bars)
	}
	for i, list := range bars(counts) {
		r.Results[i].Bars = list
	}
	return r
}

// beginning says what begins.
func (u *run) beginning() string {
	if !u.compare {
		return "A run begins: " + u.parts[0].command + "."
	}
	var names []string
	for _, p := range u.parts {
		names = append(names, p.way.name)
	}
	return fmt.Sprintf("A comparison begins: the same requests under %s.", strings.Join(names, ", then "))
}

// saying returns the sentence of a run that has ended.
func (u *run) saying() string {
	last := u.parts[u.at]
	if !u.compare {
		return last.sentence()
	}
	if last.stopped != nil {
		return fmt.Sprintf("There is nothing to compare: %v, under %s.", last.stopped, last.way.name)
	}
	var all []Outcome
	for _, p := range u.parts {
		all = append(all, p.now().outcome)
	}
	return Sentences(all)
}

// failures says why requests failed; "" if none did.
func (u *run) failures() string {
	var all []string
	for _, p := range u.parts {
		if why := p.failure(); why != "" {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ")
}

// failure says why requests of the part failed; "" if none did.
func (p *part) failure() string {
	if len(p.causes) == 0 {
		return ""
	}
	failed := 0
	for _, c := range p.causes {
		failed += int(c.Count)
	}
	return fmt.Sprintf("%s failed under %s, most of them because: %s", requests(failed), p.way.name, p.causes[0].Cause)
}

// sentence says what the part has come to.
func (p *part) sentence() string {
	m := p.now()
	all := m.sent
	if n := p.planned(); n > 0 {
		all = n
	}
	text := fmt.Sprintf("%d of %s answered", m.result.Answered, were(all))
	switch {
	case m.result.Answered == 1:
		text += fmt.Sprintf(" in %v", load.Span(m.longest))
	case m.result.Answered > 1:
		text += fmt.Sprintf(": half of them within %v, 95 %% within %v, the longest took %v; at most %d in flight at one worker",
			load.Span(m.median), load.Span(m.outcome.P95), load.Span(m.longest), m.result.Most)
	}
	if p.stopped != nil {
		return begun(fmt.Sprintf("%v: %s.", p.stopped, text))
	}
	return text + "."
}

// begun returns a text whose first letter is large. It is a letter of ASCII.
func begun(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// were returns "1 request was", or that of several.
func were(n int) string {
	if n == 1 {
		return "1 request was"
	}
	return fmt.Sprintf("%d requests were", n)
}

// requests returns "1 request", or that of several.
func requests(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}
