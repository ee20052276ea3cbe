// Package cli is what the doorways of the three programs share: signals,
// exit codes, and how a wrong command line is answered.
//
// A program's usage is one text, written by hand, that stands in the command's
// doc comment, in its -h and in the README. The flag package's own listing is
// not used: it has no place for an example.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes of all programs.
const (
	OK     = 0
	Failed = 1
	Usage  = 2
)

// Main runs a program and exits with its code. Its context is done at the
// first SIGINT or SIGTERM; the second one ends the program at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, cancel := context.WithCancel(context.Background())
	// Ctrl-C also ends who reads our output through a pipe. That must not end a
	// program that drains.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(Failed)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A Line is a program's command line.
type Line struct {
	*flag.FlagSet
	usage          string
	stdout, stderr io.Writer
}

// NewLine returns the command line of the program name, whose whole usage text
// is usage.
func NewLine(name, usage string, stdout, stderr io.Writer) *Line {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return &Line{f, usage, stdout, stderr}
}

// Parse parses args, which end with one argument for each of names. It reports
// false when the program is to exit with code: it has printed the help, or
// what is wrong.
func (l *Line) Parse(args []string, names ...string) (code int, ok bool) {
	err := l.FlagSet.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(l.stdout, l.usage)
		return OK, false
	}
	if err != nil {
		return l.Wrong("%v", err), false
	}
	for i, arg := range l.Args() {
		if i > 0 && len(arg) > 1 && strings.HasPrefix(arg, "-") {
			return l.Wrong("flags come before the arguments: put %q before %q", arg, l.Arg(0)), false
		}
	}
	if n := l.NArg(); n < len(names) {
		return l.Wrong("<%s> is missing", names[n]), false
	}
	if l.NArg() > len(names) {
		return l.Wrong("%q is one argument too many", l.Arg(len(names))), false
	}
	return OK, true
}

// Wrong answers a wrong command line with one line and the usage, and returns
// the exit code.
func (l *Line) Wrong(format string, args ...any) int {
	fmt.Fprintf(l.stderr, "%s: %s\n\n%s", l.Name(), fmt.Sprintf(format, args...), l.usage)
	return Usage
}

// Fail says on standard error why the program ends, and returns the exit code.
func (l *Line) Fail(err error) int {
	fmt.Fprintf(l.stderr, "%s: %v\n", l.Name(), err)
	return Failed
}

// Panicked says on standard error that a handler has panicked, and where.
func (l *Line) Panicked(value any, stack []byte) {
	fmt.Fprintf(l.stderr, "%s: a connection was closed, since its handler panicked: %v\n%s", l.Name(), value, stack)
}
