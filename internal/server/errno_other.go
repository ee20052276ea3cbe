//go:build !windows

package server

import "syscall"

var (
	errExhausted = []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	}
	errGone = []syscall.Errno{syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR}
)
