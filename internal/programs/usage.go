package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CPU returns the CPU time that the processes of the program's group have used
// so far. It needs /proc, as do Resident, PeakResident and OpenFiles.
func (p *Program) CPU() (time.Duration, error) {
	_, cpu, err := members(p.cmd.Process.Pid)
	return cpu, err
}

// Resident returns the resident memory of the processes of the program's group,
// in bytes. What they share counts for each of them.
func (p *Program) Resident() (sum int64, err error) { return p.memory("VmRSS") }

// PeakResident returns the most that Resident would have returned so far, if
// each process had its most at the same time.
func (p *Program) PeakResident() (sum int64, err error) { return p.memory("VmHWM") }

// memory returns the sum of a field of /proc/<pid>/status, in bytes.
func (p *Program) memory(field string) (sum int64, err error) {
	dirs, _, err := members(p.cmd.Process.Pid)
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			return 0, err
		}
		n, err := parseMemory(string(text), field)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", dir, err)
		}
		sum += n
	}
	return sum, err
}

// OpenFiles returns how many files the program's own process has open.
func (p *Program) OpenFiles() (int, error) { return openFiles(p.cmd.Process.Pid) }

func openFiles(pid int) (int, error) {
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(names), err
}

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 on
// every architecture that Go runs on.
const clockTick = time.Second / 100

// parseStat returns the process group and the CPU time, user and system, from
// the text of /proc/<pid>/stat. The second field is the program's name in
// parentheses, which may itself hold spaces and parentheses.
func parseStat(text string) (group int, cpu time.Duration, err error) {
	_, rest, _ := strings.Cut(text, "(")
	end := strings.LastIndexByte(rest, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("no name in parentheses in %q", text)
	}
	var state string
	var fields [12]int // from the fourth field on: the parent
	into := []any{&state}
	for i := range fields {
		into = append(into, &fields[i])
	}
	if _, err := fmt.Sscan(rest[end+1:], into...); err != nil {
		return 0, 0, fmt.Errorf("%w in %q", err, text)
	}
	const pgrp, utime, stime = 5 - 4, 14 - 4, 15 - 4
	return fields[pgrp], time.Duration(fields[utime]+fields[stime]) * clockTick, nil
}

// parseMemory reads a field, in bytes, from the text of /proc/<pid>/status.
func parseMemory(text, field string) (int64, error) {
	for line := range strings.Lines(text) {
		var kB int64
		if _, err := fmt.Sscanf(line, field+": %d kB", &kB); err == nil {
			return kB << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s line", field) // a process that has just ended
}

// members returns the directories of the processes of a group, of which there
// is at least one, and the CPU time of all.
func members(group int) (dirs []string, cpu time.Duration, err error) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		its, used, err := parseStat(string(text))
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("%s: %w", file, err)
		case its == group:
			dirs, cpu = append(dirs, filepath.Dir(file)), cpu+used
		}
	}
	if len(dirs) == 0 {
		return nil, 0, fmt.Errorf("/proc shows no process in group %d", group)
	}
	return dirs, cpu, nil
}
