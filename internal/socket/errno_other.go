//go:build !windows

package socket

import "syscall"

const errAddrInUse = syscall.EADDRINUSE
