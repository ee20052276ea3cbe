//go:build unix

package e2e

import (
	"bufio"
	"os"
	"regexp"
	"testing"
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
	cmd := set.Command("broker", "-listen", "127.0.0.1:0", "-workers", w.addr)
	cmd.Stdout = in
	broker := launch(t, "broker", cmd)
	in.Close()
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
	broker.terminate()
}
