package programs

import "syscall"

// dieWithParent has the program told to stop if this process is killed. The
// signal comes at the end of the thread that starts the program, but a Go
// program's threads live as long as itself.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }
