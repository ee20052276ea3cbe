package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
	"balancelab/internal/socket"
)

// Bounds of what -raw takes. The time is that without -timeout.
const (
	rawBytes  = 64 << 10
	rawWithin = 30 * time.Second
)

// errRawBytes says that an answer to -raw is longer than what is printed.
var errRawBytes = fmt.Errorf("these are the first %d bytes", rawBytes)

// sendRaw carries out "client -raw text" and returns the exit code: that
// something came back, or not.
func sendRaw(ctx context.Context, line *cli.Line, f flags, stderr io.Writer) int {
	message, err := unescape(f.raw)
	if err != nil {
		return line.Wrong("-raw: %v", err)
	}
	if err := f.checkTimeout(); err != nil {
		return line.Wrong("%v", err)
	}
	if !line.IsSet("timeout") {
		f.timeout = rawWithin
	}
	ctx, cancel := f.limit(ctx)
	defer cancel()
	got, err := exchange(ctx, dialer(f.broker), message)
	if len(got) == 0 {
		return fail(stderr, explain(err, f.broker, f.timeout))
	}
	if err != nil {
		line.Note("there may be more: %v", rawEnd(err, f.timeout))
	}
	return line.Print(protocol.Printable(string(got)) + "\n")
}

// rawEnd says why an answer to -raw has no end.
func rawEnd(err error, timeout time.Duration) error {
	switch {
	case errors.Is(err, errRawBytes):
		return errRawBytes
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("not closed within %v", timeout)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	}
	return neterr.Reason(err)
}

// unescape returns the bytes that text stands for. An escape is one of a Go
// string: \n, \r, \t, \x00, \\. All else stands for itself.
func unescape(text string) ([]byte, error) {
	message := make([]byte, 0, len(text))
	for len(text) > 0 {
		if text[0] != '\\' {
			message = append(message, text[0])
			text = text[1:]
			continue
		}
		char, multibyte, rest, err := strconv.UnquoteChar(text, 0)
		if err != nil {
			return nil, fmt.Errorf(`%q begins no escape: want one such as \n, \r or \x00, and \\ for a backslash`, text)
		}
		if multibyte {
			message = append(message, string(char)...)
		} else {
			message = append(message, byte(char))
		}
		text = rest
	}
	return message, nil
}

// exchange sends message on a new connection, and returns what comes back until
// the peer closes, at most rawBytes. Its sending direction stays open, as that
// of the original client does: a half-close may say that the client has left.
//
// The error says why the end was not seen; what had come by then is returned
// too. Without a byte there is always an error.
func exchange(ctx context.Context, dial func(context.Context) (net.Conn, error), message []byte) ([]byte, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, &protocol.AskError{Step: protocol.Connect, Err: err}
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	cancelWatch := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // that ends by itself
			conn.SetDeadline(socket.Interrupt)
		}
	})
	defer cancelWatch()
	_, sendErr := conn.Write(message) // one that fails may have been answered all the same
	got, err := io.ReadAll(io.LimitReader(conn, rawBytes+1))
	switch {
	case len(got) > rawBytes:
		return got[:rawBytes], errRawBytes
	case len(got) == 0 && sendErr != nil:
		return nil, &protocol.AskError{Step: protocol.Send, Err: endOf(ctx, sendErr)}
	case len(got) == 0 && err == nil:
		err = protocol.ErrNoAnswer
	case err == nil:
		return got, nil
	}
	return got, &protocol.AskError{Step: protocol.Receive, Err: endOf(ctx, err)}
}

// endOf returns the error of ctx if that is what ended err's waiting. The
// connection may notice the deadline a little before ctx does.
func endOf(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return cmp.Or(ctx.Err(), context.DeadlineExceeded)
}
