//go:build unix

package cli

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// A waiting is a program that waits to be stopped.
type waiting struct {
	*exec.Cmd
	t              *testing.T
	in             io.WriteCloser
	out            io.ReadCloser
	stdout, stderr *bufio.Reader
	ready          string // its first line
}

// wait starts cmd, which is the program wait, and returns when it is ready.
func wait(t *testing.T, cmd *exec.Cmd) *waiting {
	t.Helper()
	w := &waiting{Cmd: cmd, t: t}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	errs, err3 := cmd.StderrPipe()
	for _, err := range []error{err1, err2, err3, cmd.Start()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	w.in, w.out, w.stdout, w.stderr = in, out, bufio.NewReader(out), bufio.NewReader(errs)
	w.ready, _ = w.stdout.ReadString('\n')
	return w
}

func (w *waiting) expect(from *bufio.Reader, want string) {
	w.t.Helper()
	if got, err := from.ReadString('\n'); got != want {
		w.t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// stop sends a signal that stops the program.
func (w *waiting) stop(s os.Signal) {
	w.t.Helper()
	w.Process.Signal(s)
	io.Copy(io.Discard, w.stdout)
	if code := exitCode(w.Wait()); code != 4 {
		w.t.Errorf("%v: exit code %d, want 4", s, code)
	}
}

// Each of the signals that stop a program ends its context.
func TestSignalsStopAProgram(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		w := wait(t, program("wait"))
		if want := "ready; hangups are ignored: false\n"; w.ready != want {
			t.Errorf("%q, want %q", w.ready, want)
		}
		w.stop(s)
	}
}

// A hangup that was ignored at the start, as nohup has it, stays ignored.
func TestIgnoredHangup(t *testing.T) {
	cmd := program("wait")
	nohup := exec.Command("sh", "-c", `trap "" HUP; exec "$0"`, cmd.Path)
	nohup.Env = cmd.Env
	w := wait(t, nohup)
	if want := "ready; hangups are ignored: true\n"; w.ready != want {
		t.Errorf("%q, want %q", w.ready, want)
	}
	w.Process.Signal(syscall.SIGHUP)
	io.WriteString(w.in, "x\n")
	w.expect(w.stdout, "still here\n")
	w.stop(syscall.SIGTERM)
}

// A program whose output nobody reads any more goes on until it is stopped.
func TestReaderOfOutputIsGone(t *testing.T) {
	w := wait(t, program("wait"))
	w.out.Close()
	for range 2 {
		io.WriteString(w.in, "x\n")
		w.expect(w.stderr, "printed: false\n")
	}
	w.stop(syscall.SIGTERM)
}

// A program that does not stop is ended by a further signal: as many as it takes
// until one is no echo of the first.
func TestFurtherSignalEndsAProgram(t *testing.T) {
	w := wait(t, program("deaf"))
	go io.Copy(io.Discard, w.stderr)
	for {
		w.Process.Signal(syscall.SIGTERM)
		io.WriteString(w.in, "x\n")
		if _, err := w.stdout.ReadString('\n'); err != nil {
			break
		}
	}
	if code := exitCode(w.Wait()); code != Failed {
		t.Errorf("exit code %d, want %d", code, Failed)
	}
}

// The limit on open files is the system's.
func TestOpenFilesIsTheLimit(t *testing.T) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		t.Skip("there is no limit: ", err)
	}
	if limit, ok := OpenFiles(); !ok || uint64(limit) != uint64(r.Cur) {
		t.Errorf("%d, %v, want %d", limit, ok, r.Cur)
	}
}
