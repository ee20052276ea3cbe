// Package neterr knows network errors: what a number means that the system
// returned, what a person should read, and whose fault it is.
//
// A system call fails with a number (an errno), and the numbers differ from
// system to system. On Windows even the names mislead: syscall.ECONNREFUSED
// exists there, but it is an invented number that no socket ever returns. So
// each system has a table here from its own numbers to a [Kind], and all other
// rooms ask for the kind:
//
//	if neterr.KindOf(err) == neterr.Refused { … "start one with broker" … }
//
// A kind has the same words everywhere, those that Unix has used for decades.
// Nothing here looks at an error's text.
package neterr

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// A Kind says what went wrong. The zero value is an error that is in no table.
type Kind uint8

// Each comment says what the kind means.
const (
	Other           Kind = iota
	Refused              // no program listens at the address
	Reset                // the peer has ended the connection by a reset
	BrokenPipe           // written to a connection that is closed
	Aborted              // the connection ended before it was accepted
	TimedOut             // the system has given up waiting for the peer
	HostUnreachable      // there is no way to the host
	NetUnreachable       // there is no way to the network
	InUse                // another program listens at the address; or, to connect, no local port is free
	NoPort               // no local port is free; or, to listen, no such address here
	NoPermission         // the address is reserved
	ProcessFiles         // this process has as many files open as it may
	SystemFiles          // all processes together have
	NoBuffer             // the system has no room for one more socket
	NoMemory             // the system has no memory left
	Accepting            // an error of the new connection, which Accept returns
	numKinds
)

// words are what a person reads. [Other] and [Accepting], which stands for
// several numbers, have none: there the system's own words are read.
var words = [numKinds]string{
	Refused:         "connection refused",
	Reset:           "connection reset by peer",
	BrokenPipe:      "broken pipe",
	Aborted:         "software caused connection abort",
	TimedOut:        "connection timed out",
	HostUnreachable: "no route to host",
	NetUnreachable:  "network is unreachable",
	InUse:           "address already in use",
	NoPort:          "cannot assign requested address",
	NoPermission:    "permission denied",
	ProcessFiles:    "too many open files",
	SystemFiles:     "too many open files in system",
	NoBuffer:        "no buffer space available",
	NoMemory:        "cannot allocate memory",
}

// String returns what a person should read, the same on every system.
func (k Kind) String() string { return words[k] }

// KindOf returns the kind of the system call's error that err wraps, or
// [Other].
func KindOf(err error) Kind {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return Other
	}
	return kinds[errno]
}

// Errno returns a number that this system has for a kind, its sockets' own if
// there are several, for tests and for networks in memory; 0 if it has none.
func Errno(k Kind) (number syscall.Errno) {
	for errno, kind := range kinds {
		if kind == k {
			number = max(number, errno)
		}
	}
	return number
}

// Exhausted reports whether err says that this side has run out of something:
// files, memory, or local ports. That is no fault of the peer. A connect that
// fails with [InUse] has found no local port, on Windows most of all.
func Exhausted(err error) bool {
	switch KindOf(err) {
	case ProcessFiles, SystemFiles, NoBuffer, NoMemory, NoPort, InUse:
		return true
	}
	return false
}

// Passing reports whether an Accept that failed with err may succeed later:
// something ran out, or one client was gone before it was accepted.
func Passing(err error) bool {
	switch KindOf(err) {
	case Aborted, Reset, HostUnreachable, NetUnreachable, Accepting:
		return true
	}
	return Exhausted(err)
}

// Reason returns the part of err that says what went wrong, without the
// addresses and system calls around it. What is no network error is returned
// as it is.
func Reason(err error) error {
	var errno syscall.Errno
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return withoutStop(name)
	case !errors.As(err, &errno):
		return err
	}
	return reason{errno}
}

// InWords returns err with this package's words in the place of the system's, if
// these differ, and all that is around them. It wraps err. What is no network
// error is returned as it is.
func InWords(err error) error {
	var errno syscall.Errno
	var name *net.DNSError
	var theirs, ours string
	switch {
	case errors.As(err, &name):
		theirs, ours = name.Error(), withoutStop(name).Error()
	case errors.As(err, &errno):
		theirs, ours = errno.Error(), reason{errno}.Error()
	}
	if theirs == ours {
		return err
	}
	return inWords{err, strings.Replace(err.Error(), theirs, ours, 1)}
}

// withoutStop returns err without the full stop that ends a sentence of Windows:
// what package net has no words for, it tells in the system's.
func withoutStop(err *net.DNSError) *net.DNSError {
	text, found := strings.CutSuffix(err.Err, ".")
	if !found {
		return err
	}
	short := *err
	short.Err = text
	return &short
}

type inWords struct {
	error
	text string
}

func (e inWords) Error() string { return e.text }

func (e inWords) Unwrap() error { return e.error }

// A reason is a number with this package's words.
type reason struct{ syscall.Errno }

func (r reason) Error() string {
	if text := words[kinds[r.Errno]]; text != "" {
		return text
	}
	return strings.TrimSuffix(r.Errno.Error(), ".") // Windows ends its sentences
}

func (r reason) Unwrap() error { return r.Errno }
