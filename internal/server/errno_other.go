//go:build !windows

package server

import "syscall"

const errAddrInUse = syscall.EADDRINUSE

var (
	errExhausted = []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	}
	errGone = []syscall.Errno{syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR}
)
