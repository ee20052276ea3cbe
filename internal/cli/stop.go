package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// echo is how long after the first signal another one is taken for its echo.
const echo = 250 * time.Millisecond

// StopAtEnd in a program's environment stops it at the end of its standard
// input, as the first signal does. It is for a program that starts this one and
// keeps the other end of the pipe: Windows has no signal that one program could
// send to another, and on every system the pipe ends also when the program that
// has it is killed.
const StopAtEnd = stopVariable + "=stdin"

const stopVariable = "BALANCELAB_STOP_AT_END"

// ErrWindowClosed is the cause of a program's stop (see [context.Cause]) when its
// console window was closed, on Windows. The system ends the program soon.
var ErrWindowClosed = errors.New("the console window was closed")

// closingTime is how long a program may go on after [ErrWindowClosed]. Windows
// gives it 5 seconds, which have to do for its last lines too.
const closingTime = 4 * time.Second

// cause returns why the signal s stops a program on the system goos; nil if it
// gives the program all the time that it needs. On Windows Ctrl-C and Ctrl-Break
// are [os.Interrupt], and SIGTERM says that the window is closed, or that the
// user logs off or shuts down.
func cause(s os.Signal, goos string) error {
	if goos == "windows" && s == syscall.SIGTERM {
		return ErrWindowClosed
	}
	return nil
}

// obey calls stop with the first signal, and end at the next one that is no echo
// of it.
func obey(signals <-chan os.Signal, stop func(os.Signal), end func()) {
	stop(<-signals)
	for first := time.Now(); time.Since(first) < echo; {
		<-signals
	}
	end()
}

// interruptAtEnd sends a signal that stops the program at the end of in.
func interruptAtEnd(in io.Reader, signals chan<- os.Signal) {
	_, _ = io.Copy(io.Discard, in) // an error is an end too
	signals <- os.Interrupt
}

// Finishing says what a stop waits for: a number of what is named in the
// singular. It returns how long it may wait, which is at most the time within.
// It is less if the system ends the program soon, as the cause of ctx says.
func (l *Line) Finishing(ctx context.Context, n int, what string, within time.Duration) time.Duration {
	if errors.Is(context.Cause(ctx), ErrWindowClosed) {
		within = min(within, closingTime)
	}
	switch n {
	case 0:
		l.Note("stopping; no %s is in flight", what)
		return within
	case 1:
	default:
		what += "s"
	}
	l.Note("finishing %d %s, at most %v; once more to end now", n, what, within)
	return within
}
