package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ReadRequest reads one request from r, at most [MaxLen] bytes, and returns as
// soon as it is whole or can no longer become one.
//
// The error wraps [ErrMalformed] for text that is no request, else the error
// of r; its text then tells what had come so far. On an error the request is
// zero. The deadline is the caller's: one absolute deadline on r, so that a
// byte a second does not hold a connection for ever.
func ReadRequest(r io.Reader) (Request, error) {
	var w words
	if err := requestGrammar.read(r, &w); err != nil {
		return Request{}, err
	}
	return newRequest(&w), nil
}

// ReadJob reads one job from r, in the manner of [ReadRequest]. Fields after
// the type are ignored, as the original does, so a client may talk to a worker
// through a plain TCP proxy.
func ReadJob(r io.Reader) (Job, error) {
	var w words
	if err := jobGrammar.read(r, &w); err != nil {
		return Job{}, err
	}
	return newJob(&w), nil
}

// ErrNoAnswer is the error of [ReadAnswer] for a stream that ended without a
// byte.
var ErrNoAnswer = errors.New("closed without an answer")

// ErrNotTaken is the error of [ReadAnswer] for an empty line: the worker closes
// the connection, and did not take the job.
var ErrNotTaken = errors.New("the worker is stopping")

// ErrTooLong is wrapped by the error of [ReadAnswer] for an answer of more
// than [MaxLen] bytes.
var ErrTooLong = fmt.Errorf("answer longer than %d bytes", MaxLen)

// An Answer is what came back for a job or a request.
type Answer struct {
	Text string
	// Line says that the answer ended with a newline, and that nothing came
	// together with it: its stream may be good for another one.
	Line bool
	// Name is what the answer was given as its name; 0 for none.
	Name Name
}

// ReadAnswer reads one answer from r: what comes before the first newline or
// the end of the stream. An answer that is cut off by another error, a reset or
// a deadline, is that error and not an answer.
func ReadAnswer(r io.Reader) (text string, err error) {
	var raw RawAnswer
	err = raw.Read(r)
	switch {
	case err != nil:
		return "", err
	case len(raw.bytes) > MaxLen:
		return "", ErrTooLong
	}
	return answerText(raw.bytes), nil
}

// A RawAnswer is an answer as it was read, with its name if it has one. It must not
// be copied after that.
type RawAnswer struct {
	bytes []byte // in room, if that is enough
	line  bool
	room  room
}

// Parse returns the answer to a job. If asked is its name, a name before the text
// is no part of the text. Nobody gives a name to a job that has none (0): then
// what looks like one is text.
func (r *RawAnswer) Parse(asked Name) (Answer, error) {
	a := Answer{Line: r.line}
	text := r.bytes
	if name, rest, found := bytes.Cut(text, []byte{' '}); found && asked != 0 {
		if a.Name = parseName(name); a.Name != 0 {
			text = rest
		}
	}
	if len(text) > MaxLen {
		return Answer{}, ErrTooLong
	}
	a.Text = answerText(text)
	return a, nil
}

// maxNamedLen is the length of the longest answer with a name.
const maxNamedLen = maxNameLen + 1 + MaxLen

// Read reads one answer from from, as [ReadAnswer] does, which may have a name.
// It parses nothing, so that a goroutine that waits has a small stack.
func (r *RawAnswer) Read(from io.Reader) error {
	buf := r.room[:]
	n := 0
	for {
		if n == len(buf) {
			buf = append(buf, make([]byte, maxNamedLen+1-n)...)
		}
		m, err := from.Read(buf[n:])
		end := bytes.IndexByte(buf[n:n+m], '\n')
		if end >= 0 {
			r.bytes, r.line = buf[:n+end], end == m-1
			return nilUnless(n+end == 0, ErrNotTaken)
		}
		n += m
		switch {
		case n > maxNamedLen:
			return ErrTooLong
		case err == io.EOF:
			r.bytes, r.line = buf[:n], false
			return nilUnless(n == 0, ErrNoAnswer)
		case err != nil && n > 0:
			return cutOff(buf[:n], err)
		case err != nil:
			return err
		}
	}
}

// nilUnless returns err if it applies.
func nilUnless(applies bool, err error) error {
	if applies {
		return err
	}
	return nil
}

// answerText saves the allocation for the one answer that nearly all are.
func answerText(b []byte) string {
	if string(b) == Response {
		return Response
	}
	return string(b)
}

func cutOff(got []byte, err error) error {
	return fmt.Errorf("answer cut off after %s: %w", quote(got), err)
}

// A room is where a message is read to at first: nearly every one is shorter. A
// connection may wait long for its next message, and there may be thousands of
// them.
type room [64]byte

var rooms = sync.Pool{New: func() any { return new(room) }}

// read reads one message and says in found what it holds.
func (g *grammar) read(r io.Reader, found *words) error {
	first := rooms.Get().(*room)
	defer rooms.Put(first)
	buf := first[:]
	n := 0
	for {
		if n == len(buf) {
			buf = append(buf, make([]byte, MaxLen-n)...)
		}
		m, err := r.Read(buf[n:])
		n += m
		whole, malformed := g.scan(buf[:n], err == io.EOF, found)
		switch {
		case n == 0 && err == io.EOF:
			return &malformedError{malformed.Error(), ErrEmpty}
		case malformed != nil || whole:
			return malformed
		case err != nil:
			return g.incomplete(buf[:n], err)
		}
	}
}

func (g *grammar) incomplete(got []byte, err error) error {
	return &incompleteError{fmt.Sprintf("incomplete %s: got %s, want %s", g.message, quote(got), g.form), len(got) == 0, err}
}

// incompleteError tells what had come when reading failed. The cause is for
// errors.Is only: "i/o timeout" says less to a person than the caller can.
type incompleteError struct {
	text  string
	empty bool
	cause error
}

func (e *incompleteError) Error() string { return e.text }

func (e *incompleteError) Unwrap() error { return e.cause }

func (e *incompleteError) Is(target error) bool { return target == ErrEmpty && e.empty }
