package socket

import "syscall"

// errAddrInUse is WSAEADDRINUSE: Windows' sockets have numbers of their own.
const errAddrInUse = syscall.Errno(10048)
