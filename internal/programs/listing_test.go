package programs

import (
	"bytes"
	"testing"
)

func TestListingAligns(t *testing.T) {
	var b bytes.Buffer
	l := &Listing{W: &b}
	l.Show("worker-1", '|', "[Worker-1] Listening on port 9002...")
	l.Show("client", '$', "client Short round_robin")
	const want = "worker-1 | [Worker-1] Listening on port 9002...\nclient   $ client Short round_robin\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
