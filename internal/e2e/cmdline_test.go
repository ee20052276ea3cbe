package e2e

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// readmeUsage returns the usage text of a program as cmd/README.md has it: the
// block of code that begins with it.
func readmeUsage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "cmd", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	begin := "usage: " + name + " "
	_, rest, found := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n```\n"+begin)
	usage, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatalf("cmd/README.md has no block of code that begins with %q", begin)
	}
	return begin + usage + "\n"
}

// The usage text stands in two places: a constant, which -h prints, and
// cmd/README.md.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, name := range append([]string{"broker workers"}, names...) {
		usage := readmeUsage(t, name)
		if !strings.Contains(usage, "\nexample: "+name+" ") {
			t.Errorf("%s: the usage in cmd/README.md has no example:\n%s", name, usage)
		}
		words := strings.Fields(name)
		for _, flag := range []string{"-h", "-help", "--help"} {
			if got := run(t, words[0], append(words[1:], flag)...); got != (result{stdout: usage}) {
				t.Errorf("%s %s: %+v, want exactly the usage of cmd/README.md:\n%s", name, flag, got, usage)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		got := run(t, name, "-version")
		if got.code != 0 || got.stderr != "" || strings.Count(got.stdout, "\n") != 1 ||
			!strings.HasPrefix(got.stdout, name+" ") || !strings.HasSuffix(got.stdout, ", "+runtime.Version()+"\n") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A wrong command line is answered with one clear line that points at -h, and
// nothing is started.
func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string // arguments are separated by one space
		says string
	}{
		{"client Medium round_robin", `"Medium"`},
		{"client Short round_robin -timeout 1s", "flags come before"},
		{"client -c 5 Short round_robin", "-n"},
		{"client -timeout 5 Short round_robin", "want a unit, such as 5s"},
		{"client -broker 8001 Short round_robin", "127.0.0.1:8001"},
		{"broker -listen :", "no port"},
		{"broker -listen 8001", "127.0.0.1:8001"},
		{"broker -status 127.0.0.1:65536", "65535"},
		{"broker -workers 127.0.0.1:9002,127.0.0.1:09002", "twice"},
		{"broker -nosuch", "-nosuch"},
		{"broker -workers localhost", `"localhost"`},
		{"broker -request-timeout 0s", "-request-timeout"},
		{"broker -dial-timeout 0s", "-dial-timeout"},
		{"broker -answer-timeout -1s", "-answer-timeout"},
		{"broker -drain-timeout -1s", "-drain-timeout"},
		{"broker -max-conns -1", "-max-conns"},
		{"broker -max-conns many", "max-conns"},
		{"broker -log xml", `"xml"`},
		{"broker -control", "-status 127.0.0.1:8080"},
		{"broker -control -status 0.0.0.0:8080", "loopback"},
		{"broker -control -status :8080", "loopback"},
		{"broker -control -status example.com:8080", "loopback"},
		{"broker -check -workers 127.0.0.1", `"127.0.0.1"`},
		{"worker", "id"},
		{"worker 0", `"0"`},
		{"worker one", `"one"`},
		{"worker 1.5", `"1.5"`},
		{"worker 60000", `"60000"`},
		{"worker 1 2", `"2"`},
		{"worker 1 -long 1s", "flags come before"},
		{"worker -1", "-1"},
		{"worker -long -1s 1", "negative"},
		{"worker -short soon 1", "short"},
		{"worker -slots -1 1", "-slots"},
		{"worker -slots many 1", "slots"},
		{"worker -log xml 1", `"xml"`},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			args := strings.Split(c.line, " ")
			name := args[0]
			got := run(t, name, args[1:]...)
			line, hinted := strings.CutSuffix(got.stderr, " (see "+name+" -h)\n")
			switch {
			case got.code != 2 || got.stdout != "":
				t.Errorf("exit %d with %q on standard output, want 2 and nothing; standard error: %s", got.code, got.stdout, got.stderr)
			case strings.Contains(line, "\n") || !strings.HasPrefix(line, name+": ") || !strings.Contains(line, c.says):
				t.Errorf("says %q, want one line with %q", line, c.says)
			case !hinted:
				t.Errorf("says %q, and not where the usage is", got.stderr)
			}
		})
	}
}

// A port that is taken is no wrong command line: one clear line, exit 1.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.close()
	for _, c := range [][]string{
		{"broker", "-listen", taken.addr},
		{"worker", "-listen", taken.addr, "1"},
	} {
		got := run(t, c[0], c[1:]...)
		if got.code != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 ||
			!strings.HasPrefix(got.stderr, c[0]+": ") || !strings.Contains(got.stderr, taken.addr) || !strings.Contains(got.stderr, "in use") {
			t.Errorf("%s: %+v", c[0], got)
		}
	}
}

// What the client cannot do it says in one line, with exit 1.
func TestClientFails(t *testing.T) {
	t.Parallel()
	silent := newHeldWorker(t)
	rude := newFake(t, func(f *fake, conn *net.TCPConn) { f.job(conn) })
	refusing := newFake(t, func(f *fake, conn *net.TCPConn) {
		f.job(conn)
		conn.Write([]byte("Error: a reason\x1b[2J"))
	})
	empty := closedPort(t)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"-broker", empty}, []string{empty, "no broker"}},
		{[]string{"-broker", silent.addr, "-timeout", "200ms"}, []string{silent.addr, "200ms"}},
		{[]string{"-broker", rude.addr}, []string{rude.addr, "without an answer"}},
		{[]string{"-broker", refusing.addr}, []string{`"a reason\x1b[2J"`}},
	} {
		got := run(t, "client", append(c.args, "Short", "round_robin")...)
		if got.code != 1 || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 || !strings.HasPrefix(got.stderr, "[Client] Error: ") {
			t.Errorf("%v: %+v", c.args, got)
		}
		for _, s := range c.says {
			if !strings.Contains(got.stderr, s) {
				t.Errorf("%v: %q does not say %q", c.args, got.stderr, s)
			}
		}
	}
}
