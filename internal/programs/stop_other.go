//go:build !unix

package programs

import (
	"os"
	"os/exec"
)

// Graceful says whether a program can be told to stop here. Where it cannot, it
// is killed.
const Graceful = false

// ownGroup does nothing: a program that is never interrupted needs no group.
func ownGroup(*exec.Cmd) {}

// tell kills the program: here it cannot be told to stop.
func tell(p *os.Process) { killGroup(p) }

// killGroup kills the program alone: here it has no group.
func killGroup(p *os.Process) {
	_ = p.Kill() // an error says that it is gone
}
