//go:build unix

package programs

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the program, which is ours to stop: a
// second signal would end it at once, and with its work undone.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
}

// tell tells a program that is not ours to stop.
func tell(p *os.Process) {
	_ = p.Signal(syscall.SIGTERM) // an error says that it is gone
}

// killGroup kills a program and all that it has started.
func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // an error says that they are gone
}
