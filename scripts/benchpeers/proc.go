package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 on
// every architecture that Go runs on.
const clockTick = time.Second / 100

// A stat is what we need of /proc/<pid>/stat.
type stat struct {
	pid, parent int
	cpu         time.Duration // user and system time, of all threads
}

// parseStat reads the text of /proc/<pid>/stat. The second field is the
// program's name in parentheses, which may itself hold spaces and parentheses.
func parseStat(text string) (stat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in parentheses in %q", text)
	}
	fields := strings.Fields(text[end+1:]) // from the third one on: the state
	const parent, utime, stime = 4 - 3, 14 - 3, 15 - 3
	if len(fields) <= stime {
		return stat{}, fmt.Errorf("too few fields in %q", text)
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(text[:open]))
	ppid, err2 := strconv.Atoi(fields[parent])
	user, err3 := strconv.ParseInt(fields[utime], 10, 64)
	system, err4 := strconv.ParseInt(fields[stime], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return stat{}, err
	}
	return stat{pid, ppid, time.Duration(user+system) * clockTick}, nil
}

// parseResident reads the resident memory, in bytes, from the text of
// /proc/<pid>/status.
func parseResident(text string) (int64, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		kB, ok := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(strings.TrimSpace(kB), 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("unexpected %q", line)
		}
		return n << 10, nil
	}
	return 0, errors.New("no VmRSS line") // a process that has just ended
}

// tree returns the process pid and all below it.
func tree(all []stat, pid int) (found []stat) {
	for _, s := range all {
		switch {
		case s.pid == pid:
			found = append(found, s)
		case s.parent == pid:
			found = append(found, tree(all, s.pid)...)
		}
	}
	return found
}

// processes returns all processes of this machine.
func processes() ([]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, errors.New("/proc shows no process")
	}
	var all []stat
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(string(bytes.TrimSpace(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// cpuTime returns the CPU time that the process pid and all below it have used
// so far.
func cpuTime(pid int) (sum time.Duration, err error) {
	all, err := processes()
	for _, s := range tree(all, pid) {
		sum += s.cpu
	}
	return sum, err
}

// residentMemory returns the resident memory of the process pid and all below
// it, in bytes. What they share counts for each of them.
func residentMemory(pid int) (sum int64, err error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	for _, s := range tree(all, pid) {
		file := fmt.Sprintf("/proc/%d/status", s.pid)
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		n, err := parseResident(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += n
	}
	return sum, nil
}

// openFiles returns how many files the process pid has open.
func openFiles(pid int) (int, error) {
	d, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names), err
}
