// Package cli is what the doorways of the three programs share: signals, exit
// codes, and how a wrong command line is answered.
//
// A program's usage is one text, written by hand, that stands in its -h and in
// the README of cmd. The flag package's own listing is not used: it has no place
// for an example. A wrong command line is answered with one line, which names
// the cure and points at -h: in a small terminal a whole usage text would push
// the error out of sight.
//
// # How a program is stopped
//
// The first SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal was closed) stops a
// program in good order; the second one ends it at once. One stop may arrive as
// two signals: timeout(1) signals its child and then the whole group. So a
// second signal counts only after 250 ms. A SIGHUP that was ignored at the
// start, as nohup(1) has it, stays ignored.
//
// On Windows Ctrl-C and Ctrl-Break do the same. Closing the console window does
// too, but Windows ends the program after 5 seconds: what is in flight gets 4 of
// them ([Line.Finishing]), and the last lines the rest.
//
// A program that starts another one can stop it on every system: see
// [StopAtEnd].
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"balancelab/internal/console"
	"balancelab/internal/neterr"
	"balancelab/internal/version"
)

// The exit codes of all programs.
const (
	OK     = 0
	Failed = 1
	Usage  = 2
)

// Main runs a program and exits with its code. Its context is done at the first
// signal that stops it; the cause may be [ErrWindowClosed]. Its standard error
// never holds it up.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	// Ctrl-C also ends the program that reads our output through a pipe. That
	// must not end one that drains.
	signal.Ignore(syscall.SIGPIPE)
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stops = append(stops, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stops...)
	if os.Getenv(stopVariable) != "" {
		go interruptAtEnd(os.Stdin, signals)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := func(s os.Signal) { cancel(cause(s, runtime.GOOS)) }
	go obey(signals, stop, func() { os.Exit(Failed) })

	stderr := console.NewWriter(os.Stderr, nil)
	code := run(ctx, os.Args[1:], os.Stdout, stderr)
	stderr.Close()
	os.Exit(code)
}

// Checked returns run with another exit code, and a line that says why, if all
// went well but something that it printed could not be written. It is for a
// program that ends by itself: a server goes on without its output.
func Checked(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		out := &output{w: stdout}
		code := run(ctx, args, out, stderr)
		if err := out.failure(); code == OK && err != nil {
			return NewLine(name, "", stdout, stderr).Fail(fmt.Errorf("standard output: %w", err))
		}
		return code
	}
}

// An output remembers why a write failed, the first time.
type output struct {
	w io.Writer

	mu  sync.Mutex // guards err
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// A Line is a program's command line. Its flags for numbers and times say what
// would have been right.
type Line struct {
	*flag.FlagSet
	usage          string
	version        bool // -version, which every program has
	stdout, stderr io.Writer
}

// NewLine returns the command line of the program name, whose whole usage text
// is usage.
func NewLine(name, usage string, stdout, stderr io.Writer) *Line {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	l := &Line{FlagSet: f, usage: usage, stdout: stdout, stderr: stderr}
	l.BoolVar(&l.version, "version", false, "")
	return l
}

// Parse parses args, which end with one argument for each of names. It reports
// false when the program is to exit with code: it has printed the help, its
// version, or what is wrong.
func (l *Line) Parse(args []string, names ...string) (code int, ok bool) {
	if code, ok := l.ParseFlags(args); !ok {
		return code, false
	}
	return l.CheckArgs(names...)
}

// ParseFlags is the first part of [Line.Parse], for a program whose flags decide
// which arguments follow them. [Line.CheckArgs] is the second part.
func (l *Line) ParseFlags(args []string) (code int, ok bool) {
	err := l.FlagSet.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return l.Print(l.usage), false
	case l.version:
		return l.Print(fmt.Sprintf("%s %v\n", l.Name(), version.Read())), false
	case err != nil:
		return l.Wrong("%v", err), false
	}
	return OK, true
}

// CheckArgs reports false when there is not one argument for each of names, and
// has then said what is wrong.
func (l *Line) CheckArgs(names ...string) (code int, ok bool) {
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

// IsSet reports whether the command line has one of the flags with these names.
func (l *Line) IsSet(names ...string) (found bool) {
	l.Visit(func(f *flag.Flag) {
		for _, name := range names {
			found = found || f.Name == name
		}
	})
	return found
}

// Print prints the last text of a program on standard output, and returns the
// exit code: a text that can't be written is a failure.
func (l *Line) Print(text string) int {
	if _, err := io.WriteString(l.stdout, text); err != nil {
		return l.Fail(fmt.Errorf("standard output: %w", err))
	}
	return OK
}

// Wrong says in one line what is wrong with the command line, and returns the
// exit code.
func (l *Line) Wrong(format string, args ...any) int {
	fmt.Fprintf(l.stderr, "%s: %s (see %s -h)\n", l.Name(), fmt.Sprintf(format, args...), l.Name())
	return Usage
}

// Note says something on standard error that is no failure.
func (l *Line) Note(format string, args ...any) {
	fmt.Fprintf(l.stderr, "%s: %s\n", l.Name(), fmt.Sprintf(format, args...))
}

// Fail says on standard error why the program ends, and returns the exit code.
func (l *Line) Fail(err error) int {
	l.Note("%v", neterr.InWords(err))
	return Failed
}

// Panicked says on standard error that a handler has panicked, and where.
func (l *Line) Panicked(value any, stack []byte) {
	l.Note("a connection was closed, since its handler panicked: %v\n%s", value, stack)
}
