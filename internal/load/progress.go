package load

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// A Progress is how far a run is.
type Progress struct {
	N          int     // requests in all
	Done       int64   // answered, failed or interrupted
	InFlight   int64   // now
	OK, Failed int64   // of those done
	Rate       float64 // done a second, since the Progress before; at the end, over all
	P50, P99   Span    // latency of all answered so far; 0 while there is none
	End        bool    // this is the last Progress of the run
}

// String returns the progress on one line, which fits into 80 columns unless
// there are millions of requests.
func (p Progress) String() string {
	return fmt.Sprintf("%d/%d %d in flight %d ok %d failed %s p50 %v p99 %v",
		p.Done, p.N, p.InFlight, p.OK, p.Failed, rateText(p.Rate), p.P50, p.P99)
}

// Show returns a [Config].Progress that writes to w: a line each time, or, for
// a terminal, one line that is written over again and again.
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

// noWrap returns what makes a terminal cut lines that are too wide for it, and
// what ends that. A line that went on below could not be written over. Windows'
// console may show such sequences in place of obeying them.
func noWrap() (begin, end string) {
	if runtime.GOOS == "windows" {
		return "", ""
	}
	return "\x1b[?7l", "\x1b[?7h"
}

// watch tells Progress how far the run is until stop is called, which returns
// after the last time.
func (r *run) watch() (stop func()) {
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
		r.tell(every, over)
	}()
	return func() { close(over); <-ended }
}

func (r *run) tell(every time.Duration, over <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	before, doneBefore := r.plan.start, int64(0)
	for end := false; !end; {
		select {
		case <-ticker.C:
		case <-over:
			end = true
		}
		now := time.Now()
		p := r.progress()
		if end {
			before, doneBefore = r.plan.start, 0
		}
		p.Rate = perSecond(p.Done-doneBefore, now.Sub(before))
		p.End = end
		before, doneBefore = now, p.Done
		r.Progress(p)
	}
}

func (r *run) progress() Progress {
	inFlight := r.inFlight.Load()
	_, all, _ := r.record.sum()
	return Progress{
		N: r.N, Done: all.sent(), InFlight: inFlight,
		OK: all.fates[answered], Failed: all.fates[failed],
		P50: Span(all.latency.percentile(50)), P99: Span(all.latency.percentile(99)),
	}
}
