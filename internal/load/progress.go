package load

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// A Progress says how far a run is.
type Progress struct {
	N          int     // requests in all
	Done       int64   // answered, failed or interrupted
	InFlight   int64   // now
	OK, Failed int64   // of those done
	Rate       float64 // done in a second, since the last Progress; at the end, since the start
	P50, P99   Span    // latency of all answered so far; 0 while there is none
	End        bool    // this is the last Progress of the run
}

// String returns the progress on one line, which fits into 80 columns unless
// there are millions of requests. The percentiles are left out while no request
// was answered.
func (p Progress) String() string {
	line := fmt.Sprintf("%d/%d %d in flight %d ok %d failed %s",
		p.Done, p.N, p.InFlight, p.OK, p.Failed, rateText(p.Rate))
	if p.OK == 0 {
		return line
	}
	return fmt.Sprintf("%s p50 %v p99 %v", line, p.P50, p.P99)
}

// Show returns a function for [Config].Progress that writes to w. It writes a
// line each time, or for a terminal one line that it overwrites each time. Each
// is one Write. The end of the run waits for the last one, so a w that may block
// belongs behind one that never does, such as a console.Writer.
func Show(w io.Writer, terminal bool) func(Progress) {
	if !terminal {
		return func(p Progress) { fmt.Fprintln(w, p) }
	}
	cut, wrap := noWrap()
	width := 0
	return func(p Progress) {
		line := p.String()
		blank := strings.Repeat(" ", max(0, width-len(line)))
		width = len(line)
		end := ""
		if p.End {
			end = "\n"
		}
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
	since, doneBefore := r.plan.start, int64(0) // the interval that Rate is about
	for end := false; !end; {
		select {
		case <-ticker.C:
		case <-over:
			end = true
			since, doneBefore = r.plan.start, 0
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
	return Progress{
		N: r.N, Done: all.sent(), InFlight: inFlight,
		OK: all.outcomes[answered], Failed: all.outcomes[failed],
		P50: Span(all.latency.Percentile(50)), P99: Span(all.latency.Percentile(99)),
	}
}
