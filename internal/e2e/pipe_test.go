//go:build unix

package e2e

import (
	"bufio"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C on "broker | tee log" ends tee as well. The broker still answers, and
// ends as it should.
func TestReaderOfOutputIsGone(t *testing.T) {
	t.Parallel()
	w := startWorker(t, 1, "127.0.0.1:0", quick...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command("broker", "-listen", "127.0.0.1:0", "-workers", w.addr)
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	giveUp := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer giveUp.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	port := regexp.MustCompile(`port (\d+)`).FindStringSubmatch(line)[1]
	for range 3 {
		if got, err := say("127.0.0.1:"+port, shortRoundRobin); got != response || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the broker ended with %v", err)
	}
}
