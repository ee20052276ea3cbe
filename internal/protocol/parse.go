package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrMalformed is wrapped by the error for text that is not a message and cannot
// become one by more bytes. Its text names the offending part and what
// would have been right.
var ErrMalformed = errors.New("malformed")

// ErrEmpty is wrapped by the error for a stream that ended, or failed, before a
// byte had come. It wraps [ErrMalformed] if it ended.
var ErrEmpty = errors.New("empty")

// ErrHTTP is wrapped by the error for a request of HTTP. It wraps
// [ErrMalformed] too.
var ErrHTTP = errors.New("a request of HTTP")

// ParseRequest parses s, whole, as [ReadRequest] would read it from a stream
// that ends after s. On an error, which wraps [ErrMalformed], the request is
// zero.
func ParseRequest(s string) (Request, error) {
	var w words
	if _, err := requestGrammar.scan([]byte(s), true, &w); err != nil {
		return Request{}, err
	}
	return newRequest(&w), nil
}

// ParseJob parses s, whole, as [ReadJob] would read it from a stream that ends
// after s. On an error, which wraps [ErrMalformed], the job is zero.
func ParseJob(s string) (Job, error) {
	var w words
	if _, err := jobGrammar.scan([]byte(s), true, &w); err != nil {
		return Job{}, err
	}
	return newJob(&w), nil
}

func newRequest(w *words) Request {
	return Request{Type: Type(w.fields[0]), Approach: Approach(w.fields[1])}
}

func newJob(w *words) Job { return Job{Type: Type(w.fields[0]), Name: w.name} }

// A grammar is a first field of any text, and then a word for each field.
type grammar struct {
	message string // what such a message is called
	form    string // how one looks
	fields  []field
	names   bool // whether the first field may name the message, which keeps the connection
}

// A field holds one of the names of a table, whose first entry is no name.
type field struct {
	name  string
	names []string
}

// words are what a message says: the places of its words in the tables of the
// fields, in order, and its name.
type words struct {
	fields [2]int
	name   Name
}

var (
	requestGrammar = grammar{"request", requestForm, []field{{"type", typeNames[:]}, {"approach", approachNames[:]}}, false}
	jobGrammar     = grammar{"job", jobForm, []field{{"type", typeNames[:]}}, true}
)

// scan looks for the shortest prefix of b that is a whole message, and says in
// found what it holds. Without an error, whole says whether there is one; if
// not, more bytes are needed. ended says that no more will come.
func (g *grammar) scan(b []byte, ended bool, found *words) (whole bool, err error) {
	full := len(b) >= MaxLen
	text, _, line := bytes.Cut(b[:min(len(b), MaxLen)], []byte{'\n'})
	ended = ended || line
	if isHTTP(text) {
		return false, &malformedError{"this is no HTTP server: want " + g.form, ErrHTTP}
	}
	first, rest, colon := bytes.Cut(text, []byte{':'})
	if !validPrefix(first, !colon && !ended) {
		return false, g.malformed(text, " is not UTF-8")
	}
	if colon {
		whole, err = g.scanFields(text, rest, ended, found)
	}
	if name, keeps := bytes.CutPrefix(bytes.Trim(first, space), []byte(keepID)); keeps && g.names {
		found.name = parseName(name)
	}
	switch {
	case err != nil:
		return false, err
	case whole && (ended || found.name == 0): // one that keeps its connection ends with a newline
		return true, nil
	case ended:
		return false, g.malformed(text, "")
	case full:
		return false, g.malformed(text, tooLong)
	}
	return false, nil
}

// scanFields looks for the words of all fields at the beginning of rest, which
// is what follows the first field of text.
func (g *grammar) scanFields(text, rest []byte, ended bool, found *words) (whole bool, err error) {
	for i, f := range g.fields {
		rest = bytes.TrimLeft(rest, space)
		word, open := f.match(rest)
		switch {
		case word == 0 && open && !ended:
			return false, nil
		case word == 0:
			return false, g.wrongWord(f, text, rest)
		}
		found.fields[i] = word
		if i == len(g.fields)-1 {
			break
		}
		rest = bytes.TrimLeft(rest[len(f.names[word]):], space)
		switch {
		case len(rest) == 0:
			return false, nil
		case rest[0] != ':':
			return false, g.malformed(text, "")
		}
		rest = rest[1:]
	}
	return true, nil
}

var tooLong = fmt.Sprintf(" is longer than %d bytes", MaxLen)

// space is what may stand around a field. The newline is not in it: it ends
// the message.
const space = " \t\r\v\f"

// match returns the place of the name that text begins with, or 0 and whether
// text may still become one.
func (f field) match(text []byte) (word int, open bool) {
	for i, name := range f.names[1:] {
		if len(text) >= len(name) && string(text[:len(name)]) == name {
			return i + 1, false
		}
		if len(text) < len(name) && string(text) == name[:len(text)] {
			open = true
		}
	}
	return 0, open
}

// validPrefix reports whether b is UTF-8. If more may come, its last rune may
// still be incomplete.
func validPrefix(b []byte, more bool) bool {
	if more {
		b = b[:completeRunes(b)]
	}
	return utf8.Valid(b)
}

// completeRunes returns how much of b there is without a last rune that more
// bytes could complete.
func completeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

func (g *grammar) wrongWord(f field, text, rest []byte) error {
	given, _, _ := bytes.Cut(rest, []byte{':'})
	given = bytes.TrimRight(given, space)
	if len(given) == 0 {
		return g.malformed(text, "")
	}
	return unknown(f.name, string(given), f.names[1:])
}

func (g *grammar) malformed(text []byte, why string) error {
	if len(text) == 0 {
		return &malformedError{fmt.Sprintf("empty %s: want %s", g.message, g.form), nil}
	}
	if why == "" {
		return &malformedError{fmt.Sprintf("malformed %s %s: want %s", g.message, quote(text), g.form), nil}
	}
	return &malformedError{fmt.Sprintf("%s %s%s: want %s", g.message, quote(text), why, g.form), nil}
}

func unknown(name, given string, known []string) error {
	return &malformedError{fmt.Sprintf("unknown %s %s: want %s", name, quote(given), strings.Join(known, " or ")), nil}
}

// malformedError carries a text that needs no prefix. It is ErrMalformed, and
// what it is besides.
type malformedError struct {
	text string
	also error // nil for nothing
}

func (e *malformedError) Error() string { return e.text }

func (e *malformedError) Is(target error) bool {
	return target == ErrMalformed || target == e.also && e.also != nil
}

// methods are those that a browser sends with a path.
var methods = []string{"GET /", "HEAD /", "POST /", "PUT /", "PATCH /", "DELETE /", "OPTIONS /"}

func isHTTP(text []byte) bool {
	for _, m := range methods {
		if len(text) >= len(m) && string(text[:len(m)]) == m {
			return true
		}
	}
	return false
}
