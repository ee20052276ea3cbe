package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Ask makes one request as the original client does: it connects, sends the
// request in one write with nothing after it, reads the answer, and closes.
//
// The error is an [*AskError] that names the step which failed, or a
// [*RefusalError] for an answer that is a refusal. When ctx is done Ask gives
// up soon, whatever it waits for, and the error wraps that of ctx. An answer
// that has come by the deadline of ctx is returned, however late it is looked at.
//
// The connection is closed after the end of the stream was read, unless the
// answer ends with a newline. So the server closes first. The side that
// closes first keeps its port reserved for a minute, and a server has only one.
func Ask(ctx context.Context, dial func(context.Context) (net.Conn, error), r Request) (answer string, err error) {
	conn, err := dial(ctx)
	if err != nil {
		return "", &AskError{Connect, causeOf(ctx, err)}
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	cancelWatch := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // that ends by itself
			conn.SetDeadline(longAgo)
		}
	})
	defer cancelWatch()
	if _, err := io.WriteString(conn, r.String()); err != nil {
		return "", &AskError{Send, causeOf(ctx, err)}
	}
	answer, err = ReadAnswer(conn)
	if err != nil {
		return "", &AskError{Receive, causeOf(ctx, err)}
	}
	if reason, refused := CutRefusal(answer); refused {
		return "", &RefusalError{reason}
	}
	return answer, nil
}

// causeOf returns the error of ctx if that is what ended err's waiting. The
// connection may notice the deadline a little before ctx does.
func causeOf(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return cmp.Or(ctx.Err(), context.DeadlineExceeded)
}

// longAgo interrupts a connection; see package socket.
var longAgo = time.Unix(1, 0)

// A Step is a part of [Ask].
type Step uint8

// The steps, in order.
const (
	Connect Step = iota
	Send
	Receive
)

// String returns what is done in the step.
func (s Step) String() string {
	return [...]string{"connect", "send the request", "read the answer"}[s]
}

// An AskError says at which step a request failed, and why.
type AskError struct {
	Step Step
	Err  error
}

// Error names the step and the reason.
func (e *AskError) Error() string { return fmt.Sprintf("%v: %v", e.Step, e.Err) }

// Unwrap returns the reason.
func (e *AskError) Unwrap() error { return e.Err }

// A RefusalError is an answer that is a refusal. Its text is the reason, as it
// came over the network: see [Printable].
type RefusalError struct{ Reason string }

// Error returns the reason.
func (e *RefusalError) Error() string { return e.Reason }
