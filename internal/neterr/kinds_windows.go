package neterr

import "syscall"

// Unreserved says which port to choose after [NoPermission]: one that is … Windows
// reserves some above 1023, too: for Hyper-V, say.
const Unreserved = `not in the list of "netsh interface ipv4 show excludedportrange tcp"`

// kinds are the numbers of Windows Sockets; see Microsoft's "Windows Sockets
// Error Codes" and "System Error Codes". The numbers below 10000 are the
// system's own, for connections that wait by overlapped input and output, and
// for the pipe that output goes to.
var kinds = map[syscall.Errno]Kind{
	10061: Refused,         // WSAECONNREFUSED
	1225:  Refused,         // ERROR_CONNECTION_REFUSED
	10054: Reset,           // WSAECONNRESET
	64:    Reset,           // ERROR_NETNAME_DELETED
	109:   BrokenPipe,      // ERROR_BROKEN_PIPE
	232:   BrokenPipe,      // ERROR_NO_DATA: the program that reads the output is gone
	10058: BrokenPipe,      // WSAESHUTDOWN
	10053: Aborted,         // WSAECONNABORTED
	1236:  Aborted,         // ERROR_CONNECTION_ABORTED
	10057: Aborted,         // WSAENOTCONN: AcceptEx, of a client that has left
	10060: TimedOut,        // WSAETIMEDOUT
	10052: TimedOut,        // WSAENETRESET: keep-alive had no answer
	121:   TimedOut,        // ERROR_SEM_TIMEOUT
	10065: HostUnreachable, // WSAEHOSTUNREACH
	1232:  HostUnreachable, // ERROR_HOST_UNREACHABLE
	10051: NetUnreachable,  // WSAENETUNREACH
	1231:  NetUnreachable,  // ERROR_NETWORK_UNREACHABLE
	10048: InUse,           // WSAEADDRINUSE
	10049: NoPort,          // WSAEADDRNOTAVAIL
	10013: NoPermission,    // WSAEACCES
	10024: ProcessFiles,    // WSAEMFILE
	4:     ProcessFiles,    // ERROR_TOO_MANY_OPEN_FILES
	10055: NoBuffer,        // WSAENOBUFS: also when all local ports are taken
	1450:  NoBuffer,        // ERROR_NO_SYSTEM_RESOURCES
	1816:  NoBuffer,        // ERROR_NOT_ENOUGH_QUOTA
	8:     NoMemory,        // ERROR_NOT_ENOUGH_MEMORY
	10050: Accepting,       // WSAENETDOWN
}
