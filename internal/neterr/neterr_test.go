package neterr

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// wrapped are the ways in which package net wraps a number.
func wrapped(errno syscall.Errno) []error {
	call := os.NewSyscallError("connect", errno)
	return []error{errno, call, &net.OpError{Op: "dial", Net: "tcp", Err: call}, fmt.Errorf("ask: %w", call)}
}

// Every number of this system's table is told by its kind, reads the same on
// every system, and decides the same.
func TestKinds(t *testing.T) {
	for errno, kind := range kinds {
		for _, err := range wrapped(errno) {
			if got := KindOf(err); got != kind {
				t.Errorf("%v: kind %d, want %d", err, got, kind)
			}
			want := words[kind]
			if kind == Accepting {
				want = Reason(errno).Error()
			}
			if got := Reason(err); got.Error() != want || want == "" || !errors.Is(got, errno) {
				t.Errorf("%v reads %q, want %q", err, got, want)
			}
		}
	}
}

// A whole text keeps what is around the number, and has this package's words
// for it.
func TestInWords(t *testing.T) {
	for errno := range kinds {
		text := Reason(errno).Error()
		for err, want := range map[error]string{
			errno:                                text,
			os.NewSyscallError("connect", errno): "connect: " + text,
			&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}:    "dial tcp: connect: " + text,
			fmt.Errorf("connect to the broker: %w; try again", os.NewSyscallError("x", errno)): "connect to the broker: x: " + text + "; try again",
		} {
			if got := InWords(err); got.Error() != want || !errors.Is(got, errno) || KindOf(got) != KindOf(errno) {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	for _, err := range []error{nil, io.EOF, &net.DNSError{Err: "no such host", Name: "nowhere"}} {
		if got := InWords(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// Every kind but those without words of their own has a number on this system.
func TestEveryKindHasANumber(t *testing.T) {
	for k := Refused; k < numKinds; k++ {
		if (words[k] == "") != (k == Accepting) {
			t.Errorf("kind %d has the words %q", k, words[k])
		}
		if k == SystemFiles && Errno(k) == 0 {
			continue // Windows has no such limit
		}
		if kinds[Errno(k)] != k {
			t.Errorf("%v has no number", k)
		}
	}
}

func TestDecisions(t *testing.T) {
	exhausted := map[Kind]bool{ProcessFiles: true, SystemFiles: true, NoBuffer: true, NoMemory: true, NoPort: true, InUse: true}
	passing := map[Kind]bool{Aborted: true, Reset: true, HostUnreachable: true, NetUnreachable: true, Accepting: true}
	for errno, kind := range kinds {
		if got := Exhausted(errno); got != exhausted[kind] {
			t.Errorf("Exhausted(%v) = %v", errno, got)
		}
		if got := Passing(errno); got != (passing[kind] || exhausted[kind]) {
			t.Errorf("Passing(%v) = %v", errno, got)
		}
	}
	if Exhausted(nil) || Passing(nil) || Exhausted(io.EOF) || Passing(syscall.Errno(0)) {
		t.Error("what is no network error is taken for one")
	}
}

// Package net has a number of Windows for a name that can't be looked up just now,
// as a text only.
func TestNameInWords(t *testing.T) {
	name := &net.DNSError{Err: "getaddrinfow: This is usually a temporary error.", Name: "nowhere", IsTemporary: true}
	err := fmt.Errorf("ask: %w; try again", &net.OpError{Op: "dial", Net: "tcp", Err: name})
	const text = "lookup nowhere: getaddrinfow: This is usually a temporary error"
	if got := Reason(err).Error(); got != text {
		t.Errorf("the reason reads %q", got)
	}
	got := InWords(err)
	if want := "ask: dial tcp: " + text + "; try again"; got.Error() != want || !errors.Is(got, name) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One number stands for each kind, the same each time, although several may have
// it.
func TestErrnoIsOne(t *testing.T) {
	for k := Refused; k < numKinds; k++ {
		want := Errno(k)
		for range 100 {
			if got := Errno(k); got != want {
				t.Fatalf("kind %d: %d and %d", k, got, want)
			}
		}
	}
	if Errno(numKinds) != 0 {
		t.Error("what is no kind has a number")
	}
}

// What is no number of a socket, and what is no number at all, is of no kind, and
// reads as the system has it.
func TestOther(t *testing.T) {
	unknown := syscall.Errno(0x7abc)
	if kind := KindOf(unknown); kind != Other || Exhausted(unknown) || Passing(unknown) {
		t.Errorf("kind %d", kind)
	}
	if got := Reason(&net.OpError{Op: "read", Err: unknown}); got.Error() != strings.TrimSuffix(unknown.Error(), ".") {
		t.Errorf("it reads %q", got)
	}
	if kind := KindOf(io.EOF); kind != Other {
		t.Errorf("kind %d", kind)
	}
}

func TestReasonOfOtherErrors(t *testing.T) {
	name := &net.DNSError{Err: "no such host", Name: "nowhere"}
	for _, test := range []struct{ err, want error }{
		{io.EOF, io.EOF},
		{&net.OpError{Op: "dial", Err: name}, name},
		{nil, nil},
	} {
		if got := Reason(test.err); got != test.want {
			t.Errorf("Reason(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}
