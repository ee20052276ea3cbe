//go:build unix && !linux

package programs

import "syscall"

// dieWithParent does nothing: there is no such signal here.
func dieWithParent(*syscall.SysProcAttr) {}
