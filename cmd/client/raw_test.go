package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/memnet"
	"balancelab/internal/protocol"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"AppID:Medium:round_robin": "AppID:Medium:round_robin",
		`a\nb\r\n`:                 "a\nb\r\n",
		`\x00\xff\t`:               "\x00\xff\t",
		`\\n`:                      `\n`,
		`\u00e9é`:                  "éé",
		"100%s '\" \xff":           "100%s '\" \xff",
		`\012`:                     "\n",
	} {
		got, err := unescape(text)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// talk runs a peer for one connection, and client -raw text against it.
func talk(t *testing.T, peer func(conn net.Conn), args ...string) result {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		peer(conn)
	}()
	got := client(append([]string{"-broker", l.Addr().String()}, args...)...)
	l.Close()
	<-ended
	return got
}

// The bytes are sent as they are, nothing follows them, and what comes back is
// printed as it is if it can be, and quoted otherwise.
func TestRaw(t *testing.T) {
	for _, test := range []struct{ text, sent, answer, printed string }{
		{"AppID:Medium:round_robin", "AppID:Medium:round_robin", `Error: unknown type "Medium"`, `Error: unknown type "Medium"`},
		{`\x00a\r\n`, "\x00a\r\n", "#1 \xff\n", `"#1 \xff\n"`},
		{"GET / HTTP/1.1", "GET / HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n", `"HTTP/1.1 400 Bad Request\r\n"`},
	} {
		var sent string
		got := talk(t, func(conn net.Conn) {
			buf := make([]byte, len(test.sent))
			io.ReadFull(conn, buf)
			sent = string(buf)
			io.WriteString(conn, test.answer[:3])
			io.WriteString(conn, test.answer[3:])
			conn.(*net.TCPConn).CloseWrite()
			more, _ := io.ReadAll(conn)
			sent += string(more)
		}, "-raw", test.text)
		expect(t, "sent", sent, test.sent)
		expect(t, "it says", got, result{0, test.printed + "\n", ""})
	}
}

// The sending direction stays open while the answer is awaited. With a byte of
// it the exit code is 0, and without one 1, whatever else happens.
func TestExchangeEnds(t *testing.T) {
	for _, test := range []struct {
		name, printed string
		peer          func(conn *memnet.Conn)
		reason        string
	}{
		{"whole", "yes", func(conn *memnet.Conn) { io.WriteString(conn, "yes"); conn.Close() }, ""},
		{"no byte", "", func(conn *memnet.Conn) { conn.Close() }, "read the answer: closed without an answer"},
		{"open", "yes", func(conn *memnet.Conn) {
			begin := time.Now()
			io.WriteString(conn, "yes")
			conn.Read(make([]byte, 1)) // until the client closes
			expect(t, "the sending direction was open for", time.Since(begin), 10*time.Second)
		}, "not closed within 10s"},
		{"silent", "", func(conn *memnet.Conn) { conn.Read(make([]byte, 1)) }, "read the answer: context deadline exceeded"},
		{"endless", strings.Repeat("x", rawBytes), func(conn *memnet.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, strings.Repeat("x", 1000))
			}
		}, "these are the first 65536 bytes"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var network memnet.Net
			l := network.Listen("broker")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				conn.Read(make([]byte, 100))
				test.peer(conn.(*memnet.Conn))
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			dial := func(ctx context.Context) (net.Conn, error) { return network.Dial(ctx, "broker") }
			got, err := exchange(ctx, dial, []byte("AppID:Lo"))
			l.Close()
			<-ended
			expect(t, test.name, string(got), test.printed)
			reason := ""
			switch {
			case err != nil && len(got) == 0:
				reason = err.Error()
			case err != nil:
				reason = rawEnd(err, 10*time.Second).Error()
			}
			expect(t, test.name+": reason", reason, test.reason)
		})
	}
}

// A peer that closes before it has read all may have answered.
func TestExchangeWithoutBeingHeard(t *testing.T) {
	for answer, want := range map[string]string{"": "send the request: broken pipe", "Error: no": "<nil>"} {
		dial := func(context.Context) (net.Conn, error) { return deaf{answer: strings.NewReader(answer)}, nil }
		got, err := exchange(t.Context(), dial, []byte("x"))
		expect(t, "answer", string(got), answer)
		expect(t, "error", fmt.Sprint(err), want)
	}
}

// deaf is a connection whose peer reads nothing.
type deaf struct {
	net.Conn
	answer io.Reader
}

func (deaf) SetDeadline(time.Time) error        { return nil }
func (deaf) Close() error                       { return nil }
func (deaf) Write([]byte) (int, error)          { return 0, errors.New("broken pipe") }
func (d deaf) Read(p []byte) (n int, err error) { return d.answer.Read(p) }

// An answer that is cut off is printed, and standard error says why it ends.
func TestRawThatMayGoOn(t *testing.T) {
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(t, func(int, protocol.Request) string { <-over; return "" })
	cancel()
	var stdout, stderr strings.Builder
	code := run(ctx, []string{"-broker", f.addr, "-raw", "AppID:Short:round_robin"}, &stdout, &stderr)
	close(over)
	expect(t, "interrupted", result{code, stdout.String(), stderr.String()},
		result{1, "", "[Client] Error: interrupted before the answer came\n"})

	long := strings.Repeat("x", rawBytes)
	got := talk(t, func(conn net.Conn) { io.WriteString(conn, long+"y") }, "-raw", "")
	expect(t, "too long", got, result{0, long + "\n", "client: there may be more: these are the first 65536 bytes\n"})

	gone := freeAddr(t)
	expect(t, "no broker", client("-broker", gone, "-raw", "x"), result{1, "",
		"[Client] Error: no broker at " + gone + `: start one with "broker", or name another with -broker` + "\n"})
}

func TestRawWrongCommandLines(t *testing.T) {
	for _, test := range []struct {
		reason string
		args   []string
	}{
		{"-raw sends one text: leave out -n", []string{"-raw", "x", "-n", "2"}},
		{"-raw sends one text: leave out -rate", []string{"-rate", "0", "-raw", "x"}},
		{"-raw sends one text: leave out -c", []string{"-c", "1", "-raw", "x"}},
		{"-raw sends one text: leave out -json", []string{"-json", "-raw", "x"}},
		{`"Short" is one argument too many`, []string{"-raw", "x", "Short", "round_robin"}},
		{`-raw: "\\q" begins no escape: want one such as \n, \r or \x00, and \\ for a backslash`, []string{"-raw", `a\q`}},
		{"-timeout must not be negative: -1s", []string{"-raw", "x", "-timeout", "-1s"}},
	} {
		expect(t, test.reason, client(test.args...), result{2, "", "client: " + test.reason + " (see client -h)\n"})
	}
}
