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
// prefix of another, so the rule needs no further byte to decide, and it
// gives the same result however the bytes are cut. A newline, or the end of the stream, ends a message too; it can then only be a
// broken one. What can no longer become a message is refused at its first
// wrong byte.
//
// An answer is open-ended: it ends with a newline, which is not part of it, or
// with the end of the stream. Nothing in it is looked at.
//
// # Kept connections
//
// An extension, between broker and worker only:
//
//	job       AppID-keep#1f3a:Long and a newline
//	answer    #1f3a Response from Worker and a newline
//
// The connection then stays open for the next job, which is sent after the
// answer: what follows a job before that is dropped. The number is the job's
// name. An answer repeats it, so that no answer can be taken for that of another
// job; it is no part of the answer's text. An original worker does not look at
// the first field, answers without a newline, and closes.
//
// A worker that closes an idle kept connection of its own accord says so with an
// empty line, so that a job which crossed it on the way is known not to have
// been taken.
//
// # Browsers
//
// A browser can be made to send a request whose path reads as the rest of a
// message: GET /x:Short:round_robin. So what begins with a method of HTTP, a
// space and a slash is no message ([ErrHTTP]).
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
type Type uint8

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
type Approach uint8

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

// Types returns all types.
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
	// Name, if not 0, asks the worker to answer by [Name.Line], and to wait for
	// the next job on the same connection.
	Name Name
}

// String returns the job as the broker sends it.
func (j Job) String() string {
	if j.Name != 0 {
		return keepID + j.Name.String() + ":" + j.Type.String() + "\n"
	}
	return "AppID:" + j.Type.String()
}

// keepID begins the first field of a job that keeps its connection; the job's
// name follows.
const keepID = "AppID-keep"

// A Name tells a job that keeps its connection apart from others. 0 is no name.
type Name uint64

// String returns the name as it is written: # and a hexadecimal number.
func (n Name) String() string { return "#" + strconv.FormatUint(uint64(n), 16) }

// Line returns the answer to a job with the name n, as the worker sends it.
func (n Name) Line(answer string) string { return n.String() + " " + answer + "\n" }

// parseName returns the name that text is, or 0.
func parseName[T string | []byte](text T) Name {
	if len(text) < 2 || len(text) > maxNameLen || text[0] != '#' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[1:]), 16, 64)
	if err != nil {
		return 0
	}
	return Name(n)
}

const maxNameLen = len("#ffffffffffffffff")

// Response is what a worker answers when the work is done.
const Response = "Response from Worker"

const refusalPrefix = "Error: "

// HTTPRefusal returns the answer to a browser: a short page of plain text that
// says what this is. program is the program that was asked.
func HTTPRefusal(program string) string {
	text := "This is the " + program + " of a load-balancing lab. It does not speak HTTP, but lines of plain text.\n" +
		"To send a request, run: client Long least_connections\n" +
		"To look at a live page, start the broker with: broker -status 127.0.0.1:8080\n"
	return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(text)) +
		"\r\nConnection: close\r\n\r\n" + text
}

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
// it is if all of it is printable, and quoted otherwise, so that a client
// cannot send control characters to another program's terminal.
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
	const limit = 64
	if len(text) <= limit {
		return fmt.Sprintf("%q", string(text))
	}
	return fmt.Sprintf("%q...", string(text[:limit]))
}
