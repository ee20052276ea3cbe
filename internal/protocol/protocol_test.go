package protocol

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestReadRequest(t *testing.T) {
	want := Request{Long, LeastConnections}
	for _, text := range []string{
		"AppID:Long:least_connections",
		"AppID:Long:least_connections\n",
		"AppID:Long:least_connections\r\n",
		"  AppID : Long\t: least_connections  ",
		"anything at all:Long:least_connections",
		":Long:least_connections",
		"Ünïcode:Long:least_connections",
		"AppID:Long:least_connections and what follows is dropped",
		"AppID:Long:least_connectionsAppID:Short:round_robin",
		"AppID:Long:least_connections\xff",
		"\v AppID\f:\v Long \f\v: \fleast_connections",
		"😀:Long:least_connections",
		strings.Repeat("x", MaxLen-len(":Long:least_connections")) + ":Long:least_connections",
	} {
		if got, err := ReadRequest(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("ReadRequest(%q) = %v, %v; want %v", text, got, err, want)
		}
		if got, err := ReadRequest(iotest.OneByteReader(strings.NewReader(text))); got != want || err != nil {
			t.Errorf("a byte at a time, ReadRequest(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestReadRequestRefuses(t *testing.T) {
	for _, test := range []struct{ text, reason string }{
		{"", "empty request: want AppID:<type>:<approach>"},
		{"\nAppID:Long:round_robin", "empty request: want AppID:<type>:<approach>"},
		{"hello\n", `malformed request "hello": want AppID:<type>:<approach>`},
		{"AppID:Long", `malformed request "AppID:Long": want AppID:<type>:<approach>`},
		{"AppID:Long:\nround_robin", `malformed request "AppID:Long:": want AppID:<type>:<approach>`},
		{"AppID::round_robin", `malformed request "AppID::round_robin": want AppID:<type>:<approach>`},
		{"AppID:Long round_robin", `malformed request "AppID:Long round_robin": want AppID:<type>:<approach>`},
		{"AppID:Medium:round_robin", `unknown type "Medium": want Long or Short`},
		{"AppID:long:round_robin", `unknown type "long": want Long or Short`},
		{"AppID:Long:fastest", `unknown approach "fastest": want round_robin or least_connections`},
		{"\xff\xfe", `request "\xff\xfe" is not UTF-8: want AppID:<type>:<approach>`},
		{"AppID\xff:Long:round_robin", `request "AppID\xff:Long:round_robin" is not UTF-8: want AppID:<type>:<approach>`},
		{"\xe2\x82:Long:round_robin", `request "\xe2\x82:Long:round_robin" is not UTF-8: want AppID:<type>:<approach>`},
		{"\xe2\x82", `request "\xe2\x82" is not UTF-8: want AppID:<type>:<approach>`},
		{"AppID:Lo", `unknown type "Lo": want Long or Short`},
		{"AppID:Medium \t:round_robin", `unknown type "Medium": want Long or Short`},
		{"AppID:Lo\xffng:round_robin", `unknown type "Lo\xffng": want Long or Short`},
		{strings.Repeat("A", 64<<10), `request "` + strings.Repeat("A", 64) + `"... is longer than 1024 bytes: want AppID:<type>:<approach>`},
		{strings.Repeat("x", MaxLen-len(":Long:round_robin")+1) + ":Long:round_robin",
			`request "` + strings.Repeat("x", 64) + `"... is longer than 1024 bytes: want AppID:<type>:<approach>`},
	} {
		got, err := ReadRequest(strings.NewReader(test.text))
		if got != (Request{}) || !errors.Is(err, ErrMalformed) || err.Error() != test.reason {
			t.Errorf("ReadRequest(%.40q) = %v, %v\nwant %s", test.text, got, err, test.reason)
		}
	}
}

// A byte that can no longer become a message is refused although more may
// come: the reader is asked for nothing after it.
func TestRefusesAtOnce(t *testing.T) {
	for _, text := range []string{"AppID:M", "AppID:Long:x", "AppID:Long;", "\xff", "\n", "AppID: Short : s", "\xc3("} {
		r := io.MultiReader(iotest.OneByteReader(strings.NewReader(text)), iotest.ErrReader(errors.New("read on")))
		if _, err := ReadRequest(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("after %q: %v, want it refused at once", text, err)
		}
	}
}

// A request has no name: the newline that ends a named job is not waited for.
func TestAcceptsAtOnce(t *testing.T) {
	for _, text := range []string{"AppID:Short:round_robin", "AppID-keep#1:Short:round_robin"} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("read on")))
		if _, err := ReadRequest(r); err != nil {
			t.Errorf("a whole request, and then %v: the reader waited for more", err)
		}
	}
}

// However much there is, no more than a longest message is read.
func TestReadsNoMoreThanTheBound(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 2*MaxLen), strings.Repeat("AppID ", 2*MaxLen)} {
		r := &countingReader{r: strings.NewReader(text), limit: 2 * MaxLen}
		if _, err := ReadRequest(r); !errors.Is(err, ErrMalformed) || r.n > MaxLen {
			t.Errorf("%v after %d bytes", err, r.n)
		}
	}
}

func TestIncomplete(t *testing.T) {
	r := io.MultiReader(strings.NewReader("AppID:Lo"), iotest.ErrReader(os.ErrDeadlineExceeded))
	got, err := ReadRequest(r)
	const want = `incomplete request: got "AppID:Lo", want AppID:<type>:<approach>`
	if got != (Request{}) || !errors.Is(err, os.ErrDeadlineExceeded) || err.Error() != want {
		t.Errorf("got %v, %v\nwant %s", got, err, want)
	}
}

func TestReadJobIgnoresFurtherFields(t *testing.T) {
	for _, text := range []string{"AppID:Short", "AppID:Short:least_connections", "AppID:Short:what:ever", "AppID: Short \r\n"} {
		if got, err := ReadJob(strings.NewReader(text)); got != (Job{Type: Short}) || err != nil {
			t.Errorf("ReadJob(%q) = %v, %v", text, got, err)
		}
	}
}

// A job that keeps its connection ends with its newline, or the newline would
// be taken for the next job.
func TestNamedJobEndsWithItsNewline(t *testing.T) {
	want := Job{Type: Long, Name: 0x1f3a}
	for _, text := range []string{"AppID-keep#1f3a:Long\n", " AppID-keep#1f3a : Long \r\n", "AppID-keep#1F3A:Long:round_robin\n", "AppID-keep#1f3a:Long"} {
		if got, err := ReadJob(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("ReadJob(%q) = %v, %v", text, got, err)
		}
	}
	r := iotest.OneByteReader(strings.NewReader("AppID-keep#1:Long\nAppID-keep#ffffffffffffffff:Short\n"))
	for _, want := range []Job{{Long, 1}, {Short, 1<<64 - 1}} {
		if got, err := ReadJob(r); got != want || err != nil {
			t.Errorf("one job after another: %v, %v, want %v", got, err, want)
		}
	}
}

func TestReadAnswer(t *testing.T) {
	longest := strings.Repeat("x", MaxLen)
	cut := errors.New("reset")
	for _, test := range []struct {
		name string
		r    io.Reader
		want string
		err  error
	}{
		{"ended by close", strings.NewReader(Response), Response, nil},
		{"ended by newline", io.MultiReader(strings.NewReader("a b\n"), iotest.ErrReader(cut)), "a b", nil},
		{"in pieces", iotest.OneByteReader(strings.NewReader(Response)), Response, nil},
		{"garbage", strings.NewReader("\x00\xff"), "\x00\xff", nil},
		{"the longest", strings.NewReader(longest), longest, nil},
		{"the longest and a newline", strings.NewReader(longest + "\nmore"), longest, nil},
		{"too long", strings.NewReader(longest + "x"), "", ErrTooLong},
		{"nothing", strings.NewReader(""), "", ErrNoAnswer},
		{"an empty line", strings.NewReader("\nx"), "", ErrNotTaken},
		{"cut off", io.MultiReader(strings.NewReader("Resp"), iotest.ErrReader(cut)), "", cut},
		{"cut off at once", iotest.ErrReader(cut), "", cut},
	} {
		if got, err := ReadAnswer(test.r); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %.40q, %v; want %.40q, %v", test.name, got, err, test.want, test.err)
		}
	}
}

// What came together with an answer was not asked for: the stream is not good
// for another one.
func TestReadAnswerLine(t *testing.T) {
	for text, want := range map[string]bool{"a\n": true, "a": false, "a\n\n": false, "a\nb": false} {
		if got, err := readNamedAnswer(strings.NewReader(text)); got.Text != "a" || got.Line != want || err != nil {
			t.Errorf("%q: %+v, %v, want %v", text, got, err, want)
		}
	}
}

// A name is no part of the answer, nor of its length. Only a name that is one is
// taken for it, and only where names are spoken of.
func TestNamedAnswer(t *testing.T) {
	longest := strings.Repeat("x", MaxLen)
	for _, test := range []struct {
		text string
		want Answer
		err  error
	}{
		{"#1f3a Response from Worker\n", Answer{Response, true, 0x1f3a}, nil},
		{"#ffffffffffffffff " + longest + "\n", Answer{longest, true, 1<<64 - 1}, nil},
		{"#ffffffffffffffff " + longest + "x\n", Answer{}, ErrTooLong},
		{longest + "x\n", Answer{}, ErrTooLong},
		{"#1 a", Answer{"a", false, 1}, nil},
		{"#1 \n", Answer{"", true, 1}, nil},
		{"#1\n", Answer{"#1", true, 0}, nil},
		{"# a\n", Answer{"# a", true, 0}, nil},
		{"#0 a\n", Answer{"#0 a", true, 0}, nil},
		{"#x a\n", Answer{"#x a", true, 0}, nil},
		{"#10000000000000000 a\n", Answer{"#10000000000000000 a", true, 0}, nil},
		{"#00000000000000001 a\n", Answer{"#00000000000000001 a", true, 0}, nil},
		{"\n", Answer{}, ErrNotTaken},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.text), iotest.OneByteReader(strings.NewReader(test.text))} {
			got, err := readNamedAnswer(r)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("%.40q: %.60v, %v, want %.60v, %v", test.text, got, err, test.want, test.err)
			}
		}
		if got, err := ReadAnswer(strings.NewReader(test.text)); err == nil && len(test.text) < 64 && got != strings.TrimSuffix(test.text, "\n") {
			t.Errorf("without names, %q is read as %q", test.text, got)
		}
	}
	var raw RawAnswer
	if err := raw.Read(strings.NewReader("#1 a\n")); err != nil {
		t.Error(err)
	}
	if got, err := raw.Parse(0); got != (Answer{"#1 a", true, 0}) || err != nil {
		t.Errorf("without names, it is %+v, %v", got, err)
	}
	for _, n := range []Name{1, 0x1f3a, 1<<64 - 1} {
		if got, err := readNamedAnswer(strings.NewReader(n.Line("a b"))); got != (Answer{"a b", true, n}) || err != nil {
			t.Errorf("%v: %+v, %v", n, got, err)
		}
	}
}

// A browser is told apart however its request is cut, and nothing else is taken
// for one.
func TestHTTP(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		text := method + " /x:Short:round_robin HTTP/1.1\r\nHost: localhost:8000\r\n\r\n"
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			if got, err := ReadRequest(r); got != (Request{}) || !errors.Is(err, ErrHTTP) || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s to the broker: %v, %v", method, got, err)
			}
		}
		if got, err := ReadJob(iotest.OneByteReader(strings.NewReader(text))); got != (Job{}) || !errors.Is(err, ErrHTTP) {
			t.Errorf("%s to a worker: %v, %v", method, got, err)
		}
	}
	for _, text := range []string{"GETTER /:Short:round_robin", "GET:Short:round_robin", "get /:Short:round_robin", "GET x:Short:round_robin"} {
		if _, err := ReadRequest(strings.NewReader(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if answer := HTTPRefusal("broker"); len(answer) > MaxLen || !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, "client Long least_connections") {
		t.Errorf("the answer is %q", answer)
	}
	reply, err := http.ReadResponse(bufio.NewReader(strings.NewReader(HTTPRefusal("worker")+"more")), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reply.Body)
	if err != nil || !strings.HasPrefix(string(text), "This is the worker of ") || !strings.HasSuffix(string(text), "\n") || !reply.Close {
		t.Errorf("a browser reads %q, %v", text, err)
	}
}

// A stream that ends without a byte is told apart from one that ends too early.
func TestEmpty(t *testing.T) {
	reset := errors.New("reset")
	for _, test := range []struct {
		r    io.Reader
		want bool
	}{
		{strings.NewReader(""), true},
		{iotest.ErrReader(reset), true},
		{strings.NewReader("\n"), false},
		{strings.NewReader("AppID"), false},
		{io.MultiReader(strings.NewReader("A"), iotest.ErrReader(reset)), false},
	} {
		if _, err := ReadRequest(test.r); errors.Is(err, ErrEmpty) != test.want || err == nil {
			t.Errorf("%v, want empty: %v", err, test.want)
		}
	}
}

// readNamedAnswer reads an answer that may have a name.
func readNamedAnswer(r io.Reader) (Answer, error) {
	var raw RawAnswer
	if err := raw.Read(r); err != nil {
		return Answer{}, err
	}
	return raw.Parse(1)
}

func TestRefusal(t *testing.T) {
	for _, reason := range []string{"no", "", "two\nlines", "\xff", strings.Repeat("ö", MaxLen), "x" + strings.Repeat("ö", MaxLen), strings.Repeat("😀", MaxLen)} {
		answer := Refusal(reason)
		if len(answer) > MaxLen || strings.Contains(answer, "\n") || !utf8.ValidString(answer) {
			t.Errorf("Refusal(%.20q) = %.40q, %d bytes", reason, answer, len(answer))
		}
		if _, ok := CutRefusal(answer); !ok {
			t.Errorf("CutRefusal(%.40q): not a refusal", answer)
		}
	}
	if _, ok := CutRefusal(Response); ok {
		t.Error("the response is taken for a refusal")
	}
	longest := strings.Repeat("x", MaxLen-len("Error: "))
	for reason, want := range map[string]string{
		"two\nlines":  "Error: two; lines",
		longest:       "Error: " + longest,
		longest + "x": "Error: " + longest[3:] + "...",
	} {
		if got := Refusal(reason); got != want {
			t.Errorf("Refusal(%.20q) = %.80q, %d bytes", reason, got, len(got))
		}
	}
}

// What a terminal may obey is quoted, and so is what is no text at all.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"Response from Worker": "Response from Worker", "": "", "Ünïcode 😀": "Ünïcode 😀",
		"\x1b[2J": `"\x1b[2J"`, "a\nb": `"a\nb"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`, "\ufffd": `"�"`,
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
}

// In JSON, types and approaches are their words, and the empty text is none.
func TestWordsInJSON(t *testing.T) {
	type both struct {
		Type     Type
		Approach Approach
	}
	for text, want := range map[string]both{
		`{"Type":"Long","Approach":"least_connections"}`: {Long, LeastConnections},
		`{"Type":"Short","Approach":"round_robin"}`:      {Short, RoundRobin},
		`{"Type":"","Approach":""}`:                      {},
	} {
		got := both{Short, LeastConnections}
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := json.Marshal(want); string(again) != text || err != nil {
			t.Errorf("%v: %s, %v", want, again, err)
		}
	}
	for _, text := range []string{`{"Type":"long"}`, `{"Approach":"fastest"}`} {
		if err := json.Unmarshal([]byte(text), new(both)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Every word of a command line is parsed exactly as it is written; in a list,
// white space around it does not matter.
func TestWordsOnACommandLine(t *testing.T) {
	for _, want := range []Type{Long, Short} {
		if got, err := ParseType(want.String()); got != want || err != nil {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	for _, want := range Approaches() {
		if got, err := ParseApproach(want.String()); got != want || err != nil {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	for list, want := range map[string][]Type{"Long": {Long}, " Long, Short ,Short": {Long, Short, Short}} {
		if got, err := ParseTypes(list); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, wrong := range []string{"", " Long", "long", "Lon"} {
		if got, err := ParseType(wrong); got != NoType || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", wrong, got, err)
		}
		if got, err := ParseApproach(wrong); got != NoApproach || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", wrong, got, err)
		}
	}
	if got, err := ParseTypes("Long,,Short"); got != nil || err == nil || err.Error() != `unknown type "": want Long or Short` {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWordsAreNoPrefixes(t *testing.T) {
	for _, words := range [][]string{typeNames[1:], approachNames[1:]} {
		for _, a := range words {
			for _, b := range words {
				if a != b && strings.HasPrefix(a, b) {
					t.Errorf("%q is a prefix of %q: where a message ends would be a guess", b, a)
				}
			}
		}
	}
}

var seeds = []string{
	"AppID:Long:least_connections", "AppID:Short:round_robin\r\n", " a : Long : round_robin ", "AppID:Long",
	"AppID:Longer:round_robin", "AppID-keep#1:Long\n", "AppID-keep#1:Long", "AppID-keep#1:Long;\n", "AppID-keep#:Long\n", "AppID-keep#10000000000000000:Long\n", "AppID-keepx:Long\n", "GET /x:Long:round_robin", "GET x:Long:round_robin", "AppID:Long:round_robinx", "::", "\n", "", "AppID:Long:\n", "\xff:Long:round_robin",
	"\xe2\x82:Long:round_robin", "ö:Long:round_robin", "AppID:Long:fastest", "AppID:Lo", strings.Repeat("x", MaxLen+1),
	strings.Repeat("x", 1001) + ":Long:least_connections", strings.Repeat("x", 1002) + ":Long:least_connections",
	strings.Repeat(" ", MaxLen) + "AppID:Long:round_robin", "AppID:" + strings.Repeat(" ", MaxLen) + "Long:round_robin",
}

func FuzzRequest(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		obeysLaws(t, text, cut, ParseRequest, ReadRequest, Request.String)
	})
}

func FuzzJob(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		obeysLaws(t, text, cut, ParseJob, ReadJob, Job.String)
	})
}

// obeysLaws checks what holds for every text: an error leaves the zero value;
// what is accepted prints back as itself; cutting changes nothing; no byte
// after the bound is read.
func obeysLaws[M comparable](t *testing.T, text []byte, cut uint8,
	parse func(string) (M, error), read func(io.Reader) (M, error), print func(M) string) {
	var zero M
	parsed, err := parse(string(text))
	if err != nil && parsed != zero {
		t.Errorf("parse(%q) = %v with error %v", text, parsed, err)
	}
	if err != nil && !errors.Is(err, ErrMalformed) {
		t.Errorf("parse(%q): %v is not ErrMalformed", text, err)
	}
	if err == nil {
		if again, err := parse(print(parsed)); again != parsed || err != nil {
			t.Errorf("parse(%q) = %v, printed %q, which parses as %v, %v", text, parsed, print(parsed), again, err)
		}
	}
	counted := &countingReader{r: bytes.NewReader(text), limit: int(cut)%7 + 1}
	got, readErr := read(counted)
	if got != parsed || (readErr == nil) != (err == nil) {
		t.Errorf("%q in pieces of %d: %v, %v; whole: %v, %v", text, counted.limit, got, readErr, parsed, err)
	}
	if counted.n > MaxLen {
		t.Errorf("read %d bytes, the bound is %d", counted.n, MaxLen)
	}
}

// countingReader returns at most limit bytes at a time.
type countingReader struct {
	r     io.Reader
	limit int
	n     int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(c.limit, len(p))])
	c.n += n
	return n, err
}

func FuzzAnswer(f *testing.F) {
	for _, s := range append(seeds, "Response from Worker", "Response from Worker\n", "\n", "#1f3a Response from Worker\n", "#x a\n") {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		whole, err := readNamedAnswer(bytes.NewReader(text))
		if err != nil && whole != (Answer{}) || len(whole.Text) > MaxLen {
			t.Errorf("readNamedAnswer(%q) = %+v, %v", text, whole, err)
		}
		if err == nil && !bytes.Contains(text, []byte(whole.Text)) {
			t.Errorf("readNamedAnswer(%q) = %+v, which is not in it", text, whole)
		}
		end := bytes.IndexByte(text, '\n')
		if fullBuffer := end == len(room{})-1 || end == maxNamedLen; whole.Line && end != len(text)-1 && !fullBuffer {
			t.Errorf("readNamedAnswer(%q): good for another answer, although more has come", text)
		}
		pieces, pieceErr := readNamedAnswer(&countingReader{r: bytes.NewReader(text), limit: int(cut)%7 + 1})
		if pieces.Text != whole.Text || pieces.Name != whole.Name || (pieceErr == nil) != (err == nil) {
			t.Errorf("in pieces: %+v, %v; whole: %+v, %v", pieces, pieceErr, whole, err)
		}
	})
}
