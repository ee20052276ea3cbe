package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/version"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args  []string
		code  int
		ok    bool
		wrong string
	}{
		{[]string{"a", "b"}, OK, true, ""},
		{[]string{"-n", "3", "a", "b"}, OK, true, ""},
		{[]string{"a", "-"}, OK, true, ""}, // often means standard input
		{[]string{"--", "-a", "b"}, OK, true, ""},
		{[]string{"-h"}, OK, false, ""},
		{[]string{"--help"}, OK, false, ""},
		{[]string{"a"}, Usage, false, "<second> is missing"},
		{nil, Usage, false, "<first> is missing"},
		{[]string{"a", "b", "c"}, Usage, false, `"c" is one argument too many`},
		{[]string{"a", "b", "-n", "3"}, Usage, false, `flags come before the arguments: put "-n" before "a"`},
		{[]string{"-x"}, Usage, false, "flag provided but not defined: -x"},
		{[]string{"-n", "many"}, Usage, false, `invalid value "many" for flag -n: want a whole number`},
	} {
		var out, errs bytes.Buffer
		l := NewLine("program", "usage: program\n", &out, &errs)
		l.Int("n", 1, "")
		code, ok := l.Parse(test.args, "first", "second")
		if code != test.code || ok != test.ok {
			t.Errorf("%q: %d, %v, want %d, %v", test.args, code, ok, test.code, test.ok)
		}
		want := ""
		if test.wrong != "" {
			want = "program: " + test.wrong + " (see program -h)\n"
		}
		if errs.String() != want {
			t.Errorf("%q says\n%s\nwant\n%s", test.args, &errs, want)
		}
		if help := strings.HasPrefix(out.String(), "usage:"); help != (code == OK && !ok) {
			t.Errorf("%q prints %q", test.args, &out)
		}
	}
}

// -version is enough by itself, as -h is: the arguments may be missing.
func TestVersion(t *testing.T) {
	var out, errs bytes.Buffer
	code, ok := NewLine("program", "usage: program\n", &out, &errs).Parse([]string{"-version"}, "first")
	if want := fmt.Sprintf("program %v\n", version.Read()); code != OK || ok || out.String() != want || errs.Len() > 0 {
		t.Errorf("%d, %v, %q, %q; want %q", code, ok, &out, &errs, want)
	}
	code, ok = NewLine("program", "", full{}, &errs).Parse([]string{"-version"})
	if code != Failed || ok || !strings.Contains(errs.String(), "no space left") {
		t.Errorf("what can't be printed: %d, %v, %q", code, ok, &errs)
	}
}

// The first signal stops the program, an echo of it does nothing, and the next
// one ends it.
func TestSignals(t *testing.T) {
	for _, test := range []struct {
		name   string
		second time.Duration // after the first; 0 means none
		third  time.Duration
		ended  time.Duration
	}{
		{"two at once are one", 0, 0, 0},
		{"the echo is passed over", echo - 1, 0, 0},
		{"the second one", echo, 0, echo},
		{"the one after the echo", time.Millisecond, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			signals := make(chan os.Signal)
			defer close(signals)
			var stopped, ended []time.Duration
			start := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				obey(signals, func(os.Signal) { stopped = append(stopped, time.Since(start)) }, func() { ended = append(ended, time.Since(start)) })
			}()
			time.Sleep(time.Minute)
			if len(stopped) > 0 {
				t.Errorf("%s: stopped without a signal", test.name)
			}
			start = time.Now()
			signals <- os.Interrupt
			signals <- os.Interrupt
			for _, at := range []time.Duration{test.second, test.third} {
				if at > 0 {
					time.Sleep(at - time.Since(start))
					signals <- os.Interrupt
				}
			}
			synctest.Wait()
			if len(stopped) != 1 || stopped[0] != 0 {
				t.Errorf("%s: stopped after %v", test.name, stopped)
			}
			if test.ended == 0 && len(ended) > 0 || test.ended > 0 && (len(ended) != 1 || ended[0] != test.ended) {
				t.Errorf("%s: ended after %v", test.name, ended)
			}
			if test.ended == 0 {
				time.Sleep(time.Hour)
				signals <- os.Interrupt
			}
			<-done
		})
	}
}

// Only a window that closes leaves a program little time.
func TestCause(t *testing.T) {
	for _, test := range []struct {
		signal os.Signal
		goos   string
		want   error
	}{
		{os.Interrupt, "windows", nil},
		{syscall.SIGTERM, "windows", ErrWindowClosed},
		{os.Interrupt, "linux", nil},
		{syscall.SIGTERM, "linux", nil},
		{syscall.SIGTERM, "darwin", nil},
		{syscall.SIGHUP, "linux", nil},
	} {
		if got := cause(test.signal, test.goos); got != test.want {
			t.Errorf("%v on %s: %v, want %v", test.signal, test.goos, got, test.want)
		}
	}
}

// A text that can't be written is a failure, wherever a program ends by itself.
func TestOutputThatCannotBeWritten(t *testing.T) {
	var errs bytes.Buffer
	l := NewLine("program", "usage: program\n", full{}, &errs)
	if code, ok := l.Parse([]string{"-h"}); code != Failed || ok {
		t.Errorf("-h: %d, %v", code, ok)
	}
	if want := "program: standard output: no space left on device\n"; errs.String() != want {
		t.Errorf("it says %q, want %q", &errs, want)
	}
}

// full is a device that has no room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWords(t *testing.T) {
	var errs bytes.Buffer
	l := NewLine("program", "", nil, &errs)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	closed, cancel := context.WithCancelCause(t.Context())
	cancel(cause(syscall.SIGTERM, "windows"))
	for _, test := range []struct {
		ctx          context.Context
		n            int
		within, want time.Duration
	}{
		{ctx, 0, time.Minute, time.Minute},
		{ctx, 1, time.Minute, time.Minute},
		{ctx, 3, 30 * time.Second, 30 * time.Second},
		{closed, 0, time.Minute, 4 * time.Second},
		{closed, 2, 30 * time.Second, 4 * time.Second},
		{closed, 1, time.Second, time.Second},
	} {
		if got := l.Finishing(test.ctx, test.n, "request", test.within); got != test.want {
			t.Errorf("%d in flight may take %v: %v, want %v", test.n, test.within, got, test.want)
		}
	}
	l.Panicked("on purpose", []byte("goroutine 1\n"))
	if code := l.Fail(errors.New("no")); code != Failed {
		t.Errorf("exit code %d", code)
	}
	const want = `program: stopping; no request is in flight
program: finishing 1 request, at most 1m0s; once more to end now
program: finishing 3 requests, at most 30s; once more to end now
program: stopping; no request is in flight
program: finishing 2 requests, at most 4s; once more to end now
program: finishing 1 request, at most 1s; once more to end now
program: a connection was closed, since its handler panicked: on purpose
goroutine 1

program: no
`
	if errs.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &errs, want)
	}
}

func TestValues(t *testing.T) {
	l := NewLine("program", "", nil, nil)
	d, n, f := l.Duration("d", time.Second, ""), l.Int("n", 1, ""), l.Float64("f", 1, "")
	if *d != time.Second || *n != 1 || *f != 1 || l.IsSet("d") {
		t.Errorf("at first: %v, %v, %v", *d, *n, *f)
	}
	if code, ok := l.Parse([]string{"-d", "100ms", "-n", "-3", "-f", "0.5"}); !ok || *d != 100*time.Millisecond || *n != -3 || *f != .5 {
		t.Errorf("exit code %d; %v, %v, %v", code, *d, *n, *f)
	}
	if !l.IsSet("x", "n") || !l.IsSet("n", "x") || l.IsSet("x") {
		t.Error("IsSet does not tell which flags there are")
	}
	for text, want := range map[string]string{
		"5":    "want a unit, such as 5s",
		"0.5":  "want a unit, such as 0.5s",
		"soon": "want a time with a unit, such as 5s or 100ms",
		"5 s":  "want a time with a unit, such as 5s or 100ms",
	} {
		if _, err := parseDuration(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// A flag that is not given has its initial value, and one whose value is wrong
// keeps the one that it has.
func TestInitialValues(t *testing.T) {
	d, n, f := 7*time.Second, 7, 7.0
	l := NewLine("program", "", io.Discard, io.Discard)
	l.DurationVar(&d, "d", 5*time.Second, "")
	l.IntVar(&n, "n", 5, "")
	l.Var(value[float64]{&f, parseFloat}, "f", "")
	if d != 5*time.Second || n != 5 || f != 7 {
		t.Errorf("at first: %v, %v, %v", d, n, f)
	}
	for name, texts := range map[string][2]string{"d": {"5", "1ms"}, "n": {"1.5", "-3"}, "f": {"x", "0.5"}} {
		was := l.Lookup(name).Value.String()
		if err := l.Set(name, texts[0]); err == nil || !strings.HasPrefix(err.Error(), "want ") || l.Lookup(name).Value.String() != was {
			t.Errorf("-%s %s: %v; it is %v, and was %s", name, texts[0], err, l.Lookup(name).Value, was)
		}
		if err := l.Set(name, texts[1]); err != nil || l.Lookup(name).Value.String() != texts[1] {
			t.Errorf("-%s %s: %v; it is %v", name, texts[1], err, l.Lookup(name).Value)
		}
	}
	if text := (value[int]{}).String(); text != "" { // the flag package asks for it
		t.Errorf("the zero value reads %q", text)
	}
}

// The limit on open files is what it is: this process has files open.
func TestOpenFiles(t *testing.T) {
	if limit, ok := OpenFiles(); ok != (limit > 0) || ok && limit < 4 {
		t.Errorf("%d, %v", limit, ok)
	}
}

func TestAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8000": "", "[::1]:0": "", ":8000": "", "localhost:65535": "", "[fe80::1%eth0]:9002": "",
		"LOCALHOST:1": "", "my_worker-1.example:1": "", "bücher.example:1": "",
		"":                `"" is no address: want host:port, such as 127.0.0.1:8001`,
		":":               `":" has no port from 0 to 65535`,
		":0":              `":0" would listen for everybody, at any port: want host:port, such as 127.0.0.1:8001`,
		"8001":            `"8001" is no address: want host:port, such as 127.0.0.1:8001`,
		"localhost":       `"localhost" is no address: want host:port, such as localhost:8001`,
		"127.0.0.1:65536": `"127.0.0.1:65536" has no port from 0 to 65535`,
		"127.0.0.1:-1":    `"127.0.0.1:-1" has no port from 0 to 65535`,
		"127.0.0.1:http":  `"127.0.0.1:http" has no port from 0 to 65535`,
		"127.0.0.1:":      `"127.0.0.1:" has no port from 0 to 65535`,
		"a b:9002":        `"a b" is no host: want a name or an address, such as 127.0.0.1:9002`,
		"::1":             `"::1" is no address: want host:port, such as [::1]:8001`,
	} {
		if got := text(CheckListen(addr)); got != want {
			t.Errorf("listen at %q: %s, want %s", addr, got, want)
		}
	}
	for addr, want := range map[string]string{
		"127.0.0.1:8000": "", "broker:1": "",
		":8000":       `":8000" has no host: want host:port, such as 127.0.0.1:8000`,
		"127.0.0.1:0": `"127.0.0.1:0" has no port from 1 to 65535`,
		"x":           `"x" is no address: want host:port, such as x:8001`,
	} {
		if got := text(CheckDial(addr)); got != want {
			t.Errorf("connect to %q: %s, want %s", addr, got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A program that prints and ends by itself fails if that could not be written,
// unless it has failed anyway.
// worse is an output that fails for another reason each time.
type worse struct{ n int }

func (w *worse) Write([]byte) (int, error) {
	w.n++
	return 0, fmt.Errorf("reason %d", w.n)
}

func TestChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		stdout io.Writer
		code   int // of the program
		want   int
		stderr string
	}{
		{"all is written", io.Discard, OK, OK, ""},
		{"nothing is", full{}, OK, Failed, "program: standard output: no space left on device\n"},
		{"only the first reason counts", new(worse), OK, Failed, "program: standard output: reason 1\n"},
		{"nothing is, after a wrong command line", full{}, Usage, Usage, ""},
	} {
		var stderr bytes.Buffer
		run := Checked("program", func(_ context.Context, _ []string, stdout, _ io.Writer) int {
			io.WriteString(stdout, "a line\n")
			io.WriteString(stdout, "another\n")
			return test.code
		})
		if code := run(t.Context(), nil, test.stdout, &stderr); code != test.want || stderr.String() != test.stderr {
			t.Errorf("%s: %d, %q", test.name, code, stderr.String())
		}
	}
}
