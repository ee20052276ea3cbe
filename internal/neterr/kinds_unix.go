//go:build !windows

package neterr

import "syscall"

// Unreserved says which port to choose after [NoPermission]: one that is …
const Unreserved = "above 1023"

// kinds are the numbers that sockets return on Unix systems; see accept(2),
// section "Error handling", for those of [Accepting].
var kinds = map[syscall.Errno]Kind{
	syscall.ECONNREFUSED:  Refused,
	syscall.ECONNRESET:    Reset,
	syscall.EPIPE:         BrokenPipe,
	syscall.ECONNABORTED:  Aborted,
	syscall.ETIMEDOUT:     TimedOut,
	syscall.EHOSTUNREACH:  HostUnreachable,
	syscall.ENETUNREACH:   NetUnreachable,
	syscall.EADDRINUSE:    InUse,
	syscall.EADDRNOTAVAIL: NoPort,
	syscall.EACCES:        NoPermission,
	syscall.EMFILE:        ProcessFiles,
	syscall.ENFILE:        SystemFiles,
	syscall.ENOBUFS:       NoBuffer,
	syscall.ENOMEM:        NoMemory,
	syscall.EINTR:         Accepting,
	syscall.EPERM:         Accepting,
	syscall.EPROTO:        Accepting,
	syscall.ENOPROTOOPT:   Accepting,
	syscall.ENETDOWN:      Accepting,
	syscall.EHOSTDOWN:     Accepting,
	syscall.EOPNOTSUPP:    Accepting,
}
