package programs

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the console's Ctrl-C from the program, which is ours to stop: a
// second one would end it at once, and with its work undone. In a new process
// group Ctrl-C is off.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// tell kills a program that is not ours: there is nothing to tell it by.
func tell(p *os.Process) { killGroup(p) }

// killGroup kills the program alone: a process group is only for what the
// console sends.
func killGroup(p *os.Process) {
	_ = p.Kill() // an error says that it is gone
}
