package programs

import (
	"bytes"
	"strings"
	"sync"
)

// A Screen is what a program has written so far. It implements [io.Writer]. Its
// zero value is an empty screen.
type Screen struct {
	// Line, if not nil, is called with each line, without its end, in order,
	// before a reader of the screen sees the line. A last line without an end
	// is passed on when the program has ended. Line must not use the screen.
	Line func(line string)
	// Most is how many bytes are kept, about, of a program that may run for long:
	// the oldest lines are dropped. 0 means all.
	Most int

	mu     sync.Mutex // guards what follows
	text   []byte
	passed int           // how many bytes of text Line has seen
	more   chan struct{} // closed at the next write; nil: nothing waits for it
}

// Write adds b to the screen. It never fails.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, b...)
	for {
		line, _, whole := bytes.Cut(s.text[s.passed:], []byte{'\n'})
		if !whole {
			break
		}
		s.pass(line)
	}
	s.drop()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return len(b), nil
}

// drop drops the oldest lines, when they are as much again as is kept. It is called
// with mu held.
func (s *Screen) drop() {
	if s.Most <= 0 || s.passed <= 2*s.Most {
		return
	}
	old := s.passed - s.Most
	old += bytes.IndexByte(s.text[old-1:], '\n')
	s.text = bytes.Clone(s.text[old:])
	s.passed -= old
}

// end passes on a last line that has no end.
func (s *Screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed < len(s.text) {
		s.pass(s.text[s.passed:])
	}
}

// pass calls Line. It is called with mu held.
func (s *Screen) pass(line []byte) {
	s.passed += len(line) + 1
	if s.Line != nil {
		s.Line(string(line))
	}
}

// changed returns a channel that is closed at the next write.
func (s *Screen) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	return s.more
}

// String returns the text so far.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// Lines returns the whole lines so far, without their ends.
func (s *Screen) Lines() []string {
	text := s.String()
	last := strings.LastIndexByte(text, '\n')
	if last < 0 {
		return nil
	}
	return strings.Split(text[:last], "\n")
}
