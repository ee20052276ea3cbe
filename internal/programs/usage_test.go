package programs

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 42 5 7 0 -1 4194304 900 0 1 0 120 34 5 6 20 0 3 0 99999 1000000 250 18446744073709551615"
	for _, name := range []string{"broker", "nginx: worker", "a) S 1 (b", "", "))((", "two\nlines"} {
		if group, cpu, err := parseStat("7 (" + name + ")" + rest); group != 5 || cpu != 1540*time.Millisecond || err != nil {
			t.Errorf("%q: %d, %v, %v, want 5, 1.54s", name, group, cpu, err)
		}
	}
	for _, text := range []string{
		"", "7", "7 (broker", "7 broker)" + rest, ") 7 (", "7 (broker) S 42",
		"7 (broker) S 42 x 7 0 -1 4194304 900 0 1 0 120 34 5 6", "7 (broker) S 42 5 7 0 -1 4194304 900 0 1 0 1.5 34 5 6",
	} {
		if group, cpu, err := parseStat(text); err == nil || group != 0 || cpu != 0 {
			t.Errorf("%q: %d, %v, want an error", text, group, cpu)
		}
	}
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\tbroker\nVmHWM:\t   9000 kB\nVmRSS:\t    8204 kB\nRssAnon:\t 4000 kB\n"
	for field, want := range map[string]int64{"VmRSS": 8204 << 10, "VmHWM": 9000 << 10} {
		if got, err := parseMemory(status, field); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", field, got, err, want)
		}
	}
	for _, text := range []string{"", "Name:\tbroker\nState:\tZ (zombie)\n", "VmRSS:\t8204\n", "VmRSS:\tmany kB\n"} {
		if got, err := parseMemory(text, "VmRSS"); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

// What a program has started counts as its own. Here it is the shell's child
// that works.
func TestUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	set := newSet(t)
	p := start(t, set, exec.Command("sh", "-c", "(while :; do :; done) & echo started; wait"))
	until(t, p, "started")
	found, _, err := members(p.cmd.Process.Pid)
	if len(found) != 2 || err != nil {
		t.Fatalf("its group is %+v, %v, want two processes", found, err)
	}
	both, err := p.Resident()
	if err != nil || both < 64<<10 || both > 1<<30 {
		t.Errorf("resident memory: %d bytes, %v", both, err)
	}
	if peak, err := p.PeakResident(); err != nil || peak < 64<<10 || peak > 1<<30 {
		t.Errorf("the most of it: %d bytes, %v", peak, err)
	}
	first, err := p.CPU()
	for used := first; used == first; used, err = p.CPU() {
		if err != nil || t.Context().Err() != nil {
			t.Fatalf("it uses no CPU time: %v", err)
		}
	}
	p.Kill()
	if n, err := p.Resident(); err == nil {
		t.Errorf("a program that is gone has %d bytes", n)
	}
	if n, err := p.OpenFiles(); err == nil {
		t.Errorf("a program that is gone has %d files", n)
	}
}

func TestOpenFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	pid := os.Getpid()
	before, err := openFiles(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if after, err := openFiles(pid); after != before+1 || err != nil {
		t.Errorf("one more file is open: %d, %v, want %d", after, err, before+1)
	}
}
