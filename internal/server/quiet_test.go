//go:build unix

package server

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !Quiet(client) {
		t.Error("an idle connection is not taken for one")
	}
	there.Close()
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if Quiet(client) {
		t.Error("a closed connection is taken for an idle one")
	}
}
