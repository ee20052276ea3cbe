package programs

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

// CPU returns the CPU time that the processes of the program's group have used
// so far. It needs /proc, as do Resident and OpenFiles.
func (p *Program) CPU() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// Resident returns the resident memory of the processes of the program's group,
// in bytes. What they share counts for each of them.
func (p *Program) Resident() (int64, error) { return residentMemory(p.cmd.Process.Pid) }

// OpenFiles returns how many files the program's own process has open.
func (p *Program) OpenFiles() (int, error) { return openFiles(p.cmd.Process.Pid) }

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 on
// every architecture that Go runs on.
const clockTick = time.Second / 100

// A stat is what we need of /proc/<pid>/stat.
type stat struct {
	pid, group int
	cpu        time.Duration // user and system time, of all threads
}

// parseStat reads the text of /proc/<pid>/stat. The second field is the
// program's name in parentheses, which may itself hold spaces and parentheses.
func parseStat(text string) (stat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in parentheses in %q", text)
	}
	fields := strings.Fields(text[end+1:]) // from the third one on: the state
	const group, utime, stime = 5 - 3, 14 - 3, 15 - 3
	if len(fields) <= stime {
		return stat{}, fmt.Errorf("too few fields in %q", text)
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(text[:open]))
	pgrp, err2 := strconv.Atoi(fields[group])
	user, err3 := strconv.ParseInt(fields[utime], 10, 64)
	system, err4 := strconv.ParseInt(fields[stime], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return stat{}, err
	}
	return stat{pid, pgrp, time.Duration(user+system) * clockTick}, nil
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

// members returns the processes of a group: at least one.
func members(group int) (found []stat, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, errors.New("/proc shows no process")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(string(bytes.TrimSpace(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if s.group == group {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no process in group %d", group)
	}
	return found, nil
}

func cpuTime(group int) (sum time.Duration, err error) {
	found, err := members(group)
	for _, s := range found {
		sum += s.cpu
	}
	return sum, err
}

func residentMemory(group int) (sum int64, err error) {
	found, err := members(group)
	for _, s := range found {
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
	return sum, err
}

func openFiles(pid int) (int, error) {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(names), err
}
