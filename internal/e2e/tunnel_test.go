package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A tunnel stands for the way to a machine. When the machine vanishes the
// connections that there are stay open and carry nothing any more, in either
// direction; new ones work, as if it were back at once.
type tunnel struct {
	*fake
	to string

	mu     sync.Mutex    // guards living
	living chan struct{} // closed when the machine vanishes, and replaced
}

func newTunnel(t *testing.T, to string) *tunnel {
	t.Helper()
	tn := &tunnel{to: to, living: make(chan struct{})}
	end := make(chan struct{})
	tn.fake = newFake(t, func(_ *fake, near *net.TCPConn) { tn.carry(near, end) })
	t.Cleanup(func() { close(end) })
	return tn
}

// vanish has every connection that there is carry nothing any more.
func (tn *tunnel) vanish() {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	close(tn.living)
	tn.living = make(chan struct{})
}

func (tn *tunnel) life() <-chan struct{} {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return tn.living
}

// carry relays between near and the machine until one of them closes, or the
// test ends.
func (tn *tunnel) carry(near *net.TCPConn, end <-chan struct{}) {
	vanished := tn.life()
	conn, err := net.Dial("tcp", tn.to)
	if err != nil {
		near.SetLinger(0)
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	over := make(chan struct{})
	var both, watch sync.WaitGroup
	both.Go(func() { relay(far, near, vanished, end) })
	both.Go(func() { relay(near, far, vanished, end) })
	watch.Go(func() {
		select {
		case <-end:
			near.Close()
			far.Close()
		case <-over:
		}
	})
	both.Wait()
	close(over)
	watch.Wait()
}

// relay copies from one end to the other, and the end of the stream too. Once
// vanished is closed it does nothing, until end.
func relay(to, from *net.TCPConn, vanished, end <-chan struct{}) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-vanished:
			<-end
			return
		default:
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				from.SetLinger(0) // the peer is told by a reset
				from.Close()
				return
			}
		}
		switch err {
		case nil:
		case io.EOF:
			to.CloseWrite()
			return
		default:
			to.SetLinger(0)
			to.Close()
			return
		}
	}
}
