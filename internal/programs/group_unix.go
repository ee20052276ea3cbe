//go:build unix

package programs

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's Ctrl-C from the program, which is ours to
// stop: a second interrupt would end it at once, and with its work undone.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
