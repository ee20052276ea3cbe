package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// asProgram is the environment variable that makes this test binary one of the
// programs below, for as long as a test needs one.
const asProgram = "BALANCELAB_TEST_PROGRAM"

var testPrograms = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int{
	// echo prints its arguments, says much on standard error, and exits with 3.
	"echo": func(_ context.Context, args []string, stdout, stderr io.Writer) int {
		fmt.Fprintln(stdout, args)
		for i := range 1000 {
			fmt.Fprintln(stderr, "line", i)
		}
		return 3
	},
	// wait exits with 4 when it is stopped. Until then it answers each line of
	// its standard input.
	"wait": func(ctx context.Context, _ []string, stdout, stderr io.Writer) int {
		go answerLines(stdout, stderr)
		<-ctx.Done()
		return 4
	},
	// deaf does not stop before its standard input ends.
	"deaf": func(_ context.Context, _ []string, stdout, stderr io.Writer) int {
		answerLines(stdout, stderr)
		return 5
	},
}

func answerLines(stdout, stderr io.Writer) {
	fmt.Fprintln(stdout, "ready; hangups are ignored:", signal.Ignored(syscall.SIGHUP))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		_, err := fmt.Fprintln(stdout, "still here")
		fmt.Fprintln(stderr, "printed:", err == nil)
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(asProgram); name != "" {
		Main(testPrograms[name])
	}
	os.Exit(m.Run())
}

// program returns what runs one of the programs.
func program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"="+name)
	return cmd
}

// exitCode returns what a program that has ended with err exited with, or -1.
func exitCode(err error) int {
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return OK
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// A program that is asked to stops at the end of its standard input.
func TestStopAtEnd(t *testing.T) {
	cmd := program("wait")
	cmd.Env = append(cmd.Env, StopAtEnd)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "a line is no end")
	in.Close()
	if code := exitCode(cmd.Wait()); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
}

// A program gets its arguments, and exits with its code when all that it has
// said is written.
func TestMainRunsAProgram(t *testing.T) {
	var stdout, stderr bytes.Buffer
	cmd := program("echo", "a", "-b")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if code := exitCode(cmd.Run()); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if stdout.String() != "[a -b]\n" {
		t.Errorf("it printed %q", stdout.String())
	}
	if n := strings.Count(stderr.String(), "\n"); n != 1000 || !strings.HasSuffix(stderr.String(), "line 999\n") {
		t.Errorf("%d lines on standard error, want 1000", n)
	}
}
