//go:build !unix

package programs

import "os/exec"

// ownGroup does nothing where programs are killed and not interrupted.
func ownGroup(*exec.Cmd) {}
