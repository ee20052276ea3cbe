package main

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 42 7 7 0 -1 4194304 900 0 1 0 120 34 5 6 20 0 3 0 99999 1000000 250 18446744073709551615"
	want := stat{pid: 7, parent: 42, cpu: 1540 * time.Millisecond}
	for _, name := range []string{"broker", "nginx: worker", "a) S 1 (b", "", "))((", "two\nlines"} {
		if got, err := parseStat("7 (" + name + ")" + rest); got != want || err != nil {
			t.Errorf("%q: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, text := range []string{
		"", "7", "7 (broker", "7 broker)" + rest, ") 7 (", "7 (broker) S 42", "x (broker)" + rest,
		"7 (broker) S x 7 7 0 -1 4194304 900 0 1 0 120 34 5 6", "7 (broker) S 42 7 7 0 -1 4194304 900 0 1 0 1.5 34 5 6",
	} {
		if got, err := parseStat(text); err == nil || got != (stat{}) {
			t.Errorf("%q: %+v, %v, want an error", text, got, err)
		}
	}
}

func TestParseResident(t *testing.T) {
	const status = "Name:\tbroker\nVmHWM:\t   9000 kB\nVmRSS:\t    8204 kB\nRssAnon:\t 4000 kB\n"
	if got, err := parseResident(status); got != 8204<<10 || err != nil {
		t.Errorf("%d, %v, want %d", got, err, 8204<<10)
	}
	for _, text := range []string{"", "Name:\tbroker\nState:\tZ (zombie)\n", "VmRSS:\t8204\n", "VmRSS:\tmany kB\n"} {
		if got, err := parseResident(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
}

func TestTree(t *testing.T) {
	all := []stat{{1, 0, 0}, {10, 1, 0}, {11, 10, 0}, {12, 10, 0}, {13, 12, 0}, {20, 1, 0}, {21, 20, 0}}
	for _, test := range []struct {
		pid  int
		want []int
	}{
		{10, []int{10, 11, 12, 13}},
		{12, []int{12, 13}},
		{21, []int{21}},
		{99, nil},
	} {
		var got []int
		for _, s := range tree(all, test.pid) {
			got = append(got, s.pid)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("below %d: %v, want %v", test.pid, got, test.want)
		}
	}
}

// The test's own process has used some time, holds some memory, and has a file
// open.
func TestOwnProcess(t *testing.T) {
	needsLinux(t)
	pid := os.Getpid()
	start, err := cpuTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		now, err := cpuTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		if now > start {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a minute of work is no CPU time")
		}
	}
	if n, err := residentMemory(pid); n < 1<<20 || n > 1<<32 || err != nil {
		t.Errorf("resident memory: %d bytes, %v", n, err)
	}
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

func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}
