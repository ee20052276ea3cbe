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
	"strings"
	"unicode/utf8"
)

// MaxLen is the longest message in bytes, as in the original, which reads
// into a buffer of this size.
const MaxLen = 1024

// An AppType says how much work a job is. The zero value is no type.
type AppType string

// The types of the original: 5 seconds of work and 1 second.
const (
	Long  AppType = "Long"
	Short AppType = "Short"
)

// An Approach says how the broker chooses a worker. The zero value is none.
type Approach string

// The approaches of the original.
const (
	RoundRobin       Approach = "round_robin"
	LeastConnections Approach = "least_connections"
)

// The words that a field may hold, and the forms that a refusal recommends.
// No word may be a prefix of another one of its list: scan depends on it.
var (
	types      = []string{string(Long), string(Short)}
	approaches = []string{string(RoundRobin), string(LeastConnections)}
)

const (
	requestForm = "AppID:<type>:<approach>"
	jobForm     = "AppID:<type>"
)

// Types returns every type, in the order in which help texts name them.
func Types() []AppType { return []AppType{Long, Short} }

// Approaches returns every approach, in the order in which help texts name them.
func Approaches() []Approach { return []Approach{RoundRobin, LeastConnections} }

// ParseAppType returns the type that s names, exactly as written.
// The error wraps [ErrMalformed].
func ParseAppType(s string) (AppType, error) {
	for _, t := range Types() {
		if s == string(t) {
			return t, nil
		}
	}
	return "", unknown("type", s, types)
}

// ParseAppTypes returns the types that list names, in order, with commas
// between them and white space around them. The error wraps [ErrMalformed].
func ParseAppTypes(list string) ([]AppType, error) {
	var all []AppType
	for item := range strings.SplitSeq(list, ",") {
		t, err := ParseAppType(strings.TrimSpace(item))
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
	for _, a := range Approaches() {
		if s == string(a) {
			return a, nil
		}
	}
	return "", unknown("approach", s, approaches)
}

// A Request is what a client asks of the broker.
type Request struct {
	Type     AppType
	Approach Approach
}

// String returns the request as the client sends it.
func (r Request) String() string {
	return "AppID:" + string(r.Type) + ":" + string(r.Approach)
}

// Job returns what the broker asks of a worker for r.
func (r Request) Job() Job { return Job{Type: r.Type} }

// A Job is what the broker asks of a worker.
type Job struct {
	Type AppType
	// Keep asks the worker to end its answer with a newline and to wait for
	// the next job on the same connection.
	Keep bool
}

// String returns the job as the broker sends it.
func (j Job) String() string {
	if j.Keep {
		return keepID + ":" + string(j.Type) + "\n"
	}
	return "AppID:" + string(j.Type)
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

// quote shows hostile text: escaped, and cut where it is long. The answer that
// it becomes part of has to fit into MaxLen.
func quote[T string | []byte](text T) string {
	const most = 64
	if len(text) <= most {
		return fmt.Sprintf("%q", string(text))
	}
	return fmt.Sprintf("%q...", string(text[:most]))
}
