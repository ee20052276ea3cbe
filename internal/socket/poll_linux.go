//go:build !386 && !s390x

package socket

import (
	"os"
	"sync"
	"syscall"
)

// epollET (EPOLLET) has the kernel tell of each change once, and not for as long
// as there is input or the peer has half-closed. Package syscall has it negative.
const epollET = 1 << 31

// A poller has the kernel watch connections. It is opened for the first one: a
// file that is waited for would stop a fake clock.
type poller struct {
	watch   *Watch   // is told
	file    *os.File // the epoll instance; nil until there is one
	fd      int      // that of file
	reading sync.WaitGroup
}

// add has the kernel watch a connection, and returns its file descriptor. If the
// kernel can't, ok is false.
func (p *poller) add(c Conn, generation int32) (fd int, ok bool) {
	tcp, ok := c.(*conn)
	if !ok || p.file == nil && p.open() != nil {
		return 0, false
	}
	event := syscall.EpollEvent{Events: epollET, Pad: generation} // errors are always told
	if p.watch.EndIsGone {
		event.Events |= syscall.EPOLLRDHUP
	}
	fd, err := tcp.addTo(p.fd, event)
	return fd, err == nil
}

// addTo adds c to an epoll instance, or changes its event there. Removing a
// connection does not take it out again, which would cost a system call for each:
// closing it does, and until then its events are of no generation that is known.
//
// A Close at the same time comes before or after it, so that no other connection
// with the same descriptor is added.
func (c *conn) addTo(epoll int, event syscall.EpollEvent) (fd int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	event.Fd = int32(c.fd)
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, c.fd, &event)
	if err == syscall.EEXIST {
		err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_MOD, c.fd, &event)
	}
	return c.fd, err
}

// open makes the epoll instance, and starts reading it.
func (p *poller) open() error {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	syscall.SetNonblock(fd, true) // for os.NewFile: it is to be waited for
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := pollable(file)
	if err != nil {
		file.Close()
		return err
	}
	p.file, p.fd = file, fd
	p.reading.Go(func() { p.read(raw) })
	return nil
}

// read tells the watch of events until the file is closed. An epoll instance can
// be waited for as any file, so that no thread waits in EpollWait.
func (p *poller) read(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, 64)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, event := range events[:n] {
			p.watch.event(int(event.Fd), event.Pad, stateOf(event.Events))
		}
	}
}

// stateOf returns what an event tells of the peer.
func stateOf(events uint32) PeerState {
	switch {
	case events&(syscall.EPOLLERR|syscall.EPOLLHUP) != 0:
		return Reset
	case events&syscall.EPOLLRDHUP != 0:
		return Ended
	}
	return Unknown
}

// close returns when nothing is read any more.
func (p *poller) close() {
	if p.file != nil {
		p.file.Close()
		p.reading.Wait()
	}
}
