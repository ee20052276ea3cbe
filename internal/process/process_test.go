package process

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	u := Read()
	if u.Started.After(time.Now()) || time.Since(u.Started) > time.Hour || u.Goroutines < 1 {
		t.Errorf("got %+v", u)
	}
	if runtime.GOOS == "linux" && (u.CPU <= 0 || u.Resident <= 0 || u.OpenFiles <= 0) {
		t.Errorf("on Linux all is known: %+v", u)
	}
	if limit, ok := MaxFiles(); ok != (u.MaxFiles > 0) || limit != u.MaxFiles || runtime.GOOS == "windows" && ok {
		t.Errorf("got %+v, a limit of %d, %v", u, limit, ok)
	}
}

// CPU time goes on when there is work, and never back.
func TestCPU(t *testing.T) {
	before := Read().CPU
	for end := time.Now().Add(time.Minute); Read().CPU < before+20*time.Millisecond; {
		if time.Now().After(end) {
			t.Fatalf("it is still %v", before)
		}
	}
}

func TestResident(t *testing.T) {
	before := Read().Resident
	if before == 0 {
		t.Skip("not known on this system")
	}
	const size = 64 << 20
	block := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		block[i] = 1
	}
	if grown := Read().Resident - before; grown < size*3/4 || grown > size*3 { // the race detector takes as much again
		t.Errorf("it has grown by %d bytes, want about %d", grown, size)
	}
	runtime.KeepAlive(block)
}

func TestOpenFiles(t *testing.T) {
	before := Read().OpenFiles
	if before == 0 {
		t.Skip("not known on this system")
	}
	for i := range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if i == 0 {
			before = Read().OpenFiles // with what the poller needs
		}
	}
	if got := Read().OpenFiles; got != before+9 {
		t.Errorf("%d files are open, want %d", got, before+9)
	}
}
