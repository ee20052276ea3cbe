//go:build !linux || 386 || s390x

package socket

// A poller has no kernel to ask: connections are looked at.
type poller struct{ watch *Watch }

func (*poller) add(Conn, int32) (fd int, ok bool) { return 0, false }

func (*poller) close() {}
