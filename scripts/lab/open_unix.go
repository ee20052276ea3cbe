//go:build unix

package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// opener returns what opens a URL in the browser of whoever is logged in. It has a
// process group of its own: where it is the browser itself, Ctrl-C is not to close
// that.
func opener(url string) *exec.Cmd {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	cmd := exec.Command(program, url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}
