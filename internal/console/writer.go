package console

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Bounds of a Writer.
const (
	gather      = 5 * time.Millisecond // how long text waits for more after a write
	bufferBytes = 1 << 20              // how much text waits, at most
	retryPause  = 250 * time.Millisecond
	closeWait   = time.Second // how long Close waits for a writer that is stuck
)

// A Writer passes text on to another writer and never holds up its caller.
// [Writer.Write] takes whole lines. A line that comes alone is written at once;
// under load, what comes within a few milliseconds of a write is written
// together.
//
// Text that can't be written yet waits: somebody may have pressed Ctrl-S, or
// clicked into a Windows console, or the disk may be full. What would wait
// beyond a bound is dropped by the line, and counted. When writing goes on, a
// line says how many are missing. A line of which a part was written is always
// completed before another one.
type Writer struct {
	w      io.Writer
	notice func(lines int) []byte // says that lines are missing, as one line

	mu      sync.Mutex // guards all below
	waiting []byte
	spare   []byte        // a buffer that was written, for waiting to use next
	missing int           // lines dropped since the latest notice
	dropped int           // lines dropped since the start
	running chan struct{} // closed when the goroutine that writes ends; nil while there is none
	closing chan struct{} // closed by Close: there is no time to wait; nil once it is
}

// NewWriter returns a Writer that writes to w. notice returns the line that says
// that a number of lines is missing; if nil, it is "… 1,234 lines were not
// shown".
func NewWriter(w io.Writer, notice func(lines int) []byte) *Writer {
	if notice == nil {
		notice = notShown
	}
	return &Writer{w: w, notice: notice}
}

func notShown(lines int) []byte {
	if lines == 1 {
		return []byte("… 1 line was not shown\n")
	}
	return fmt.Appendf(nil, "… %s lines were not shown\n", thousands(lines))
}

// thousands returns n with a comma between thousands.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// Write takes p, whole lines. It never fails and never waits.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room(len(p), bytes.Count(p, newline)) {
		w.waiting = append(w.waiting, p...)
	}
	return len(p), nil
}

var newline = []byte{'\n'}

// print writes one line, which is in parts.
func (w *Writer) print(parts ...string) {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.room(size, 1) {
		return
	}
	for _, p := range parts {
		w.waiting = append(w.waiting, p...)
	}
	w.waiting = append(w.waiting, '\n')
}

// room reports whether size more bytes may wait. Otherwise it counts their lines.
// Once a line is missing the next ones are too, until there is a notice in their
// place. Either way it sees to it that what waits, or the notice, is written: the
// caller appends its text before it unlocks mu.
func (w *Writer) room(size, lines int) bool {
	fits := w.missing == 0 && len(w.waiting)+size <= bufferBytes
	if !fits {
		w.missing += lines
		w.dropped += lines
	}
	if w.running == nil { // for the notice, too
		w.running, w.closing = make(chan struct{}), make(chan struct{})
		go w.run(w.running, w.closing)
	}
	return fits
}

// NotShown returns how many lines were dropped since the start.
func (w *Writer) NotShown() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes what waits, for at most a second if writing is stuck. What can't
// be written then counts as dropped. A Writer that has nothing to write need not
// be closed, and one that was closed can be used again.
func (w *Writer) Close() {
	running := w.hurry()
	if running == nil {
		return
	}
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-running:
	case <-late.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.giveUp()
	}
}

// hurry tells the goroutine that writes to end soon, and returns the channel
// that it closes then; nil if there is none.
func (w *Writer) hurry() (running chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running != nil && w.closing != nil {
		close(w.closing)
		w.closing = nil
	}
	return w.running
}

// run writes until nothing waits. It runs only while there is something.
func (w *Writer) run(running, closing chan struct{}) {
	defer close(running)
	for text := w.next(nil); text != nil; {
		n, err := w.w.Write(text)
		rest := text[min(n, len(text)):]
		switch {
		case err == nil:
			pause(gather, closing)
			text = w.next(text)
		case isClosed(closing):
			w.end(rest)
			return
		default: // the rest is tried again, so that no line is torn
			text = rest
			pause(retryPause, closing)
		}
	}
}

// next returns what waits, and a notice of what is missing after it. It returns
// nil, and the goroutine ends, when there is nothing. written is a buffer to use
// again.
func (w *Writer) next(written []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if written != nil {
		w.spare = written[:0]
	}
	if len(w.waiting) == 0 && w.missing == 0 {
		w.running = nil
		return nil
	}
	text := w.waiting
	w.waiting, w.spare = w.spare, nil
	if w.missing > 0 {
		text = append(text, w.notice(w.missing)...)
		w.missing = 0
	}
	return text
}

// end ends the goroutine, which could not write rest.
func (w *Writer) end(rest []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = nil
	w.dropped += bytes.Count(rest, newline)
	w.giveUp()
}

// giveUp drops what waits.
func (w *Writer) giveUp() {
	w.dropped += bytes.Count(w.waiting, newline)
	w.waiting, w.missing = nil, 0
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause returns after d, or when c is closed.
func pause(d time.Duration, c <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c:
	}
}

// IsTerminal reports whether w, or what a [Writer] writes to, is a file that is
// a character device.
func IsTerminal(w io.Writer) bool {
	if behind, ok := w.(*Writer); ok {
		w = behind.w
	}
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
