package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"syscall"
	"testing"
	"unsafe"
)

// On a terminal a load run for a time shows a bar, and at the end a line. The
// report is where it always is.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", "-short", "1ms")
	b := start(t, "broker", "-listen", "127.0.0.1:0", "-workers", w.addr)
	pty, tty := terminal(t)
	var report bytes.Buffer
	cmd := set.Command("client", "-broker", b.addr, "-d", "2s", "-c", "2", "Short", "round_robin")
	cmd.Stdout, cmd.Stderr = &report, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	shown, _ := io.ReadAll(pty) // it ends with an error, when the last program has closed the terminal
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, shown)
	}
	for _, want := range []string{`\r\S*\[#*-+\] +\d+ %, [12]s left: \d in flight, 0 failed, \S+/s`, `\r\S*(\d+) 0 in flight (\d+) ok 0 failed .*\n$`} {
		if !regexp.MustCompile(want).Match(shown) {
			t.Errorf("the terminal shows %q, want %s", shown, want)
		}
	}
	if !regexp.MustCompile(`^requests   \d+ sent, \d+ ok, 0 failed\nrate       asked as fast as 2 at once allow;`).Match(report.Bytes()) {
		t.Errorf("the report: %s", &report)
	}
}

// terminal returns the two ends of a new pseudo-terminal: tty is for the program,
// and what it writes there is read from pty. The caller closes tty; pty is closed
// at the end of the test.
func terminal(t *testing.T) (pty, tty *os.File) {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { pty.Close() })
	var number, locked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &locked} {
		if _, _, err := syscall.Syscall(syscall.SYS_IOCTL, pty.Fd(), request, uintptr(unsafe.Pointer(value))); err != 0 {
			t.Fatal(err)
		}
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pty, tty
}
