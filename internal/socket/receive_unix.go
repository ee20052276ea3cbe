//go:build unix && (!linux || 386 || s390x)

package socket

import "syscall"

func receive(fd int, p []byte, flags int) (int, error) {
	n, _, err := syscall.Recvfrom(fd, p, flags)
	return n, err
}
