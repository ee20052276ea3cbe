package console

import (
	"io"
	"sync"
	"time"
)

// How long lines wait for others after a write, and how much may wait.
const (
	gather    = 5 * time.Millisecond
	mostBytes = 64 << 10
)

// lines writes whole lines to w. A caller that prints while w is blocked, by a
// stopped terminal for instance, waits.
type lines struct {
	w io.Writer

	mu      sync.Mutex // guards all below, and writing to w
	waiting []byte
	written time.Time   // when w was last written to
	flush   *time.Timer // runs while something waits; nil at first
}

func newLines(w io.Writer) *lines { return &lines{w: w} }

func (l *lines) print(parts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.waiting) == 0
	for _, p := range parts {
		l.waiting = append(l.waiting, p...)
	}
	l.waiting = append(l.waiting, '\n')
	l.added(first)
}

// Write prints p, whole lines, for a logger.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.waiting) == 0
	l.waiting = append(l.waiting, p...)
	l.added(first)
	return len(p), nil
}

// added writes what waits, or sees to it that it will be written. first says
// that nothing had been waiting.
func (l *lines) added(first bool) {
	since := time.Since(l.written)
	switch {
	case since >= gather || len(l.waiting) >= mostBytes:
		l.write()
	case !first:
	case l.flush == nil:
		l.flush = time.AfterFunc(gather-since, l.Close)
	default:
		l.flush.Reset(gather - since)
	}
}

// Close writes what still waits. Nothing has to be closed if it is printed to
// again.
func (l *lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

func (l *lines) write() {
	if len(l.waiting) > 0 {
		// Nobody can be told that the terminal is gone.
		_, _ = l.w.Write(l.waiting)
	}
	l.waiting = l.waiting[:0]
	l.written = time.Now()
}
