// Package protocol is what the three programs say to each other: its grammar,
// its parsers and its printers, and one bounded reader for each message.
//
// Three kinds of text travel, each at most [MaxLen] bytes:
//
//	request   client to broker   AppID:<type>:<approach>    AppID:Long:least_connections
//	job       broker to worker   AppID:<type>               AppID:Long
//	answer    back, both hops    any text                   Response from Worker
//
// A type is Long or Short; an approach is round_robin or least_connections.
// White space (of ASCII) around a field is ignored, and so is what the first
// field says, as long as it is UTF-8. A refusal is an answer that begins with
// "Error: ".
//
// # Where a message ends
//
// There is no length and no terminator, the original client sends no newline,
// and TCP may cut the bytes anywhere. So a request or a job ends where its
// shortest prefix that is a whole message ends. No type and no approach is a
// prefix of another, so the rule never has to wait for the next byte to make
// up its mind, and it gives the same result however the bytes are cut. A
// newline, or the end of the stream, ends a message too; it can then only be a
// broken one. What can no longer become a message is refused at its first
// wrong byte.
//
// An answer is open-ended: it ends with a newline, which is not part of it, or
// with the end of the stream. Nothing in it is looked at.
//
// # Kept connections
//
// An extension, between broker and worker only. A job whose first field is
// AppID-keep ends with a newline, its answer does too, and the connection stays
// open for the next job. A worker that stops says so on an idle kept connection
// with an empty line, so that a job which crossed it on the way is known not to
// have been taken. The next job is sent after the answer: what follows a job
// before that is dropped.
//
// What follows a message is left to the caller: to drop it before closing, see
// package server.
package protocol

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLen is the longest message in bytes, as in the original, which reads
// into a buffer of this size.
const MaxLen = 1024

// A Type says how much work a job is. It is an index for arrays of
// [NumTypes] elements.
type Type int

// The types of the original: 5 seconds of work and 1 second. The zero value is
// no type.
const (
	NoType Type = iota
	Long
	Short
	NumTypes
)

// An Approach says how the broker chooses a worker. It is an index for arrays
// of [NumApproaches] elements.
type Approach int

// The approaches of the original. The zero value is none.
const (
	NoApproach Approach = iota
	RoundRobin
	LeastConnections
	NumApproaches
)

// The words for the types and the approaches on the wire, on command lines and
// in reports. This is the one place that has them. No word may be a prefix of
// another one of its table: scan depends on it.
var (
	typeNames     = [NumTypes]string{Long: "Long", Short: "Short"}
	approachNames = [NumApproaches]string{RoundRobin: "round_robin", LeastConnections: "least_connections"}
)

const (
	requestForm = "AppID:<type>:<approach>"
	jobForm     = "AppID:<type>"
)

// Types returns every type, in the order in which help texts name them.
func Types() []Type { return []Type{Long, Short} }

// Approaches returns every approach, in the order in which help texts name them.
func Approaches() []Approach { return []Approach{RoundRobin, LeastConnections} }

// String returns the type's word, or "" for none.
func (t Type) String() string { return typeNames[t] }

// String returns the approach's word, or "" for none.
func (a Approach) String() string { return approachNames[a] }

// MarshalText implements [encoding.TextMarshaler]: in JSON a type is its word.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText implements [encoding.TextMarshaler]: in JSON an approach is its
// word.
func (a Approach) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. The empty text is no
// type.
func (t *Type) UnmarshalText(text []byte) (err error) {
	*t = NoType
	if len(text) > 0 {
		*t, err = ParseType(string(text))
	}
	return err
}

// UnmarshalText implements [encoding.TextUnmarshaler]. The empty text is no
// approach.
func (a *Approach) UnmarshalText(text []byte) (err error) {
	*a = NoApproach
	if len(text) > 0 {
		*a, err = ParseApproach(string(text))
	}
	return err
}

// ParseType returns the type that s names, exactly as written.
// The error wraps [ErrMalformed].
func ParseType(s string) (Type, error) {
	i := indexOf(typeNames[:], s)
	if i == 0 {
		return NoType, unknown("type", s, typeNames[1:])
	}
	return Type(i), nil
}

// ParseTypes returns the types that list names, in order, with commas
// between them and white space around them. The error wraps [ErrMalformed].
func ParseTypes(list string) ([]Type, error) {
	var all []Type
	for item := range strings.SplitSeq(list, ",") {
		t, err := ParseType(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// ParseApproach returns the approach that s names, exactly as written.
// The error wraps [ErrMalformed].
func ParseApproach(s string) (Approach, error) {
	i := indexOf(approachNames[:], s)
	if i == 0 {
		return NoApproach, unknown("approach", s, approachNames[1:])
	}
	return Approach(i), nil
}

// indexOf returns the place of word in names, or 0, the place of no name.
func indexOf(names []string, word string) int {
	return max(0, slices.Index(names, word))
}

// A Request is what a client asks of the broker.
type Request struct {
	Type     Type
	Approach Approach
}

// String returns the request as the client sends it.
func (r Request) String() string {
	return "AppID:" + r.Type.String() + ":" + r.Approach.String()
}

// Job returns what the broker asks of a worker for r.
func (r Request) Job() Job { return Job{Type: r.Type} }

// A Job is what the broker asks of a worker.
type Job struct {
	Type Type
	// Keep asks the worker to end its answer with a newline and to wait for
	// the next job on the same connection.
	Keep bool
}

// String returns the job as the broker sends it.
func (j Job) String() string {
	if j.Keep {
		return keepID + ":" + j.Type.String() + "\n"
	}
	return "AppID:" + j.Type.String()
}

// keepID is the first field of a job that keeps its connection. An original
// worker does not look at that field, answers without a newline, and closes.
const keepID = "AppID-keep"

// Response is what a worker answers when the work is done.
const Response = "Response from Worker"

const refusalPrefix = "Error: "

// Refusal returns the answer that says why there is no other: one line, at
// most [MaxLen] bytes.
func Refusal(reason string) string {
	s := refusalPrefix + strings.ToValidUTF8(strings.ReplaceAll(reason, "\n", "; "), "?")
	if len(s) <= MaxLen {
		return s
	}
	cut := MaxLen - len("...")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// CutRefusal returns the reason that answer gives and true, or "" and false
// when answer is not a refusal.
func CutRefusal(answer string) (reason string, ok bool) {
	reason, ok = strings.CutPrefix(answer, refusalPrefix)
	if !ok {
		return "", false
	}
	return reason, true
}

// Printable returns text from the network as it may be shown on a terminal: as
// it is if all of it is printable, and quoted otherwise, so that nobody can
// write to the terminal of somebody else.
func Printable(text string) string {
	for _, r := range text {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(text)
		}
	}
	return text
}

// quote shows hostile text: escaped, and cut where it is long. The answer that
// it becomes part of has to fit into MaxLen.
func quote[T string | []byte](text T) string {
	const most = 64
	if len(text) <= most {
		return fmt.Sprintf("%q", string(text))
	}
	return fmt.Sprintf("%q...", string(text[:most]))
}
