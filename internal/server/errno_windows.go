package server

import "syscall"

// What Windows' sockets return has numbers of its own (Windows Sockets Error
// Codes); package syscall's names for Unix errors are none of them.
var (
	errExhausted = []syscall.Errno{
		10024, // WSAEMFILE
		10055, // WSAENOBUFS
		10049, // WSAEADDRNOTAVAIL
	}
	errGone = []syscall.Errno{syscall.WSAECONNABORTED, syscall.WSAECONNRESET}
)
