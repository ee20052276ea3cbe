package load

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A Progress says how far a run is.
type Progress struct {
	N          int     // requests in all; 0 if that is not known
	Done       int64   // answered, failed or interrupted
	InFlight   int64   // now
	OK, Failed int64   // of those done
	Rate       float64 // done in a second, since the last Progress; at the end, since the start
	P50, P99   Span    // latency of all answered so far; 0 while there is none
	Share      float64 // the part of the run that is done, from 0 to 1
	Left       Span    // for how long it goes on, about; 0 while that is not known
	End        bool    // this is the last Progress of the run
}

// String returns the progress on one line, which fits into 80 columns unless
// there are millions of requests. The percentiles are left out while no request
// was answered.
func (p Progress) String() string {
	done := strconv.FormatInt(p.Done, 10)
	if p.N > 0 {
		done += "/" + strconv.Itoa(p.N)
	}
	line := fmt.Sprintf("%s %d in flight %d ok %d failed %s", done, p.InFlight, p.OK, p.Failed, rateText(p.Rate))
	if p.OK == 0 {
		return line
	}
	return fmt.Sprintf("%s p50 %v p99 %v", line, p.P50, p.P99)
}

// barWidth is the number of columns in a whole bar.
const barWidth = 20

// bar returns the progress as a bar, which fits into 80 columns.
func (p Progress) bar() string {
	full := int(p.Share * barWidth)
	line := fmt.Sprintf("[%s%s] %3.0f %%", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), math.Floor(100*p.Share))
	if p.Left > 0 {
		line += ", " + clock(time.Duration(p.Left)) + " left"
	}
	line += fmt.Sprintf(": %d in flight, %d failed, %s", p.InFlight, p.Failed, rateText(p.Rate))
	if p.OK == 0 {
		return line
	}
	return fmt.Sprintf("%s, p99 %v", line, p.P99)
}

// clock returns d in whole seconds, rounded up: 9s, 1m30s, 2h0m0s.
func clock(d time.Duration) string {
	return (d + time.Second - 1).Truncate(time.Second).String()
}

// Show returns a function for [Config].Progress that writes to w. It writes a
// line each time. For a terminal it writes a bar instead, which it overwrites
// each time, and at the end the line. Each is one Write. The end of the run
// waits for the last one, so a w that may block belongs behind one that never
// does, such as a console.Writer.
func Show(w io.Writer, terminal bool) func(Progress) {
	if !terminal {
		return func(p Progress) { fmt.Fprintln(w, p) }
	}
	cut, wrap := noWrap()
	width := 0
	return func(p Progress) {
		line, end := p.bar(), ""
		if p.End {
			line, end = p.String(), "\n"
		}
		blank := strings.Repeat(" ", max(0, width-len(line)))
		width = len(line)
		fmt.Fprint(w, "\r", cut, line, blank, wrap, end)
	}
}

// noWrap returns the sequence that makes a terminal cut lines that are too wide
// for it, and the one that ends this. A line that continues in the next row
// could not be overwritten. The sequences are empty on Windows, where a console
// may show them instead of obeying them.
func noWrap() (begin, end string) {
	if runtime.GOOS == "windows" {
		return "", ""
	}
	return "\x1b[?7l", "\x1b[?7h"
}

// startProgress starts to call Progress in intervals. stop calls it for the last
// time, and returns when that is done.
func (r *run) startProgress() (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	every := r.Every
	if every <= 0 {
		every = time.Second
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		r.reportProgress(every, over)
	}()
	return func() { close(over); <-ended }
}

// reportProgress calls Progress in intervals until over is closed, and then once
// more.
func (r *run) reportProgress(every time.Duration, over <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	since, doneBefore := r.start, int64(0) // the interval that Rate is about
	for end := false; !end; {
		select {
		case <-ticker.C:
		case <-over:
			end = true
			since, doneBefore = r.start, 0
		}
		now := time.Now()
		p := r.progress()
		p.Rate = perSecond(p.Done-doneBefore, now.Sub(since))
		p.End = end
		since, doneBefore = now, p.Done
		r.Progress(p)
	}
}

// progress returns the progress now, without Rate and End.
func (r *run) progress() Progress {
	inFlight := r.inFlight.Load()
	_, all, _ := r.recorder.sum()
	p := Progress{
		N: r.n, Done: all.sent(), InFlight: inFlight,
		OK: all.outcomes[Answered], Failed: all.outcomes[Failed],
		P50: Span(all.latency.Percentile(50)), P99: Span(all.latency.Percentile(99)),
	}
	p.Share, p.Left = r.left(p.Done, time.Since(r.start))
	return p
}

// left returns which part of the run is done, and how long the rest takes, when
// so many requests are done after the time passed. The plan says until when
// requests are started. What comes then, or without a plan for the time, goes on
// as before.
func (r *run) left(done int64, passed time.Duration) (share float64, left Span) {
	length := r.Plan.Length()
	share = 1
	switch {
	case r.n > 0:
		share = float64(done) / float64(r.n)
	case length > 0:
		share = min(1, passed.Seconds()/length.Seconds())
	}
	switch {
	case passed < length:
		left = Span(length - passed)
	case share > 0:
		left = Span(seconds(passed.Seconds() * (1 - share) / share))
	}
	return share, left
}
