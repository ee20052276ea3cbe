//go:build !386 && !s390x

package socket

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"balancelab/internal/version"
)

// The system calls of a connection. Its socket does not block, so none of them
// waits for the peer, and none is announced to Go's scheduler, as those of
// package syscall are. The kernel does the receiver's work too when it sends over
// the loopback: a connect, a write or a close may take longer than the 20 µs after
// which the runtime's monitor gives an announced call's processor to another
// thread, and wakes one for that (runtime.retake).

func accept4(fd int) (accepted int, from netip.AddrPort, err error) {
	var sa sockaddr
	size := uint32(len(sa))
	n, _, errno := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd),
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0, 0)
	accepted, err = result(n, errno)
	return accepted, sa.addrPort(), err
}

// connect is to be repeated while it returns EINPROGRESS or EALREADY.
func connect(fd int, to netip.AddrPort) error {
	var sa sockaddr
	size := sa.set(to)
	for {
		_, _, errno := syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), size)
		if errno != syscall.EINTR {
			return failure(errno)
		}
	}
}

func getsockname(fd int) (netip.AddrPort, error) {
	var sa sockaddr
	size := uint32(len(sa))
	_, _, errno := syscall.RawSyscall(syscall.SYS_GETSOCKNAME, uintptr(fd),
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	return sa.addrPort(), failure(errno)
}

// receive is to the race detector what syscall.Read is: what was sent before it was
// received happened before.
func receive(fd int, p []byte, flags int) (int, error) {
	if version.RaceDetector && flags&syscall.MSG_PEEK == 0 {
		return syscall.Read(fd, p)
	}
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(flags), 0, 0)
		if errno != syscall.EINTR {
			return result(n, errno)
		}
	}
}

// send is a write that passes by the file system's layer, as receive is a read.
func send(fd int, p []byte) (int, error) {
	if version.RaceDetector {
		return syscall.Write(fd, p)
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_NOSIGNAL, 0, 0)
	return result(n, errno)
}

func closeSocket(fd int) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
	return failure(errno)
}

func result(n uintptr, errno syscall.Errno) (int, error) { return int(n), failure(errno) }

func failure(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// A sockaddr is an address as the kernel has it, see ip(7) and ipv6(7).
type sockaddr [syscall.SizeofSockaddrInet6]byte

// set makes sa the address a, and returns how many bytes that takes. The address
// has no zone, and is no IPv4 address in the form of IPv6.
func (sa *sockaddr) set(a netip.AddrPort) (size uintptr) {
	binary.BigEndian.PutUint16(sa[2:], a.Port())
	if a.Addr().Is4() {
		binary.NativeEndian.PutUint16(sa[:], syscall.AF_INET)
		ip := a.Addr().As4()
		copy(sa[4:], ip[:])
		return syscall.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(sa[:], syscall.AF_INET6)
	ip := a.Addr().As16()
	copy(sa[8:], ip[:])
	return syscall.SizeofSockaddrInet6
}

// addrPort returns the address, or a zero one if it is of no kind that is known.
func (sa *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(sa[2:])
	switch binary.NativeEndian.Uint16(sa[:]) {
	case syscall.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), port)
	case syscall.AF_INET6:
		ip := netip.AddrFrom16([16]byte(sa[8:24])).Unmap()
		if zone := binary.NativeEndian.Uint32(sa[24:]); zone != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(zone), 10))
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}
