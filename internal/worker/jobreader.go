package worker

import (
	"errors"
	"os"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
)

// errLeft says that the peer went away while its job waited.
var errLeft = errors.New("left while it waited")

// A jobReader reads the jobs of one connection. What a watch has read ahead
// comes first, so that nothing is lost for the next job.
type jobReader struct {
	conn *server.Conn
	// idle says that no byte of the next job of a kept connection has come. It
	// may stay so for ever.
	idle   bool
	inPart bool   // one has come, and the rest has no deadline yet
	early  []byte // read ahead by a watch
}

// Read reads from a job. Most are whole with the first Read, and need no deadline.
func (in *jobReader) Read(p []byte) (n int, err error) {
	if in.inPart {
		in.inPart = false
		in.conn.ReadRest(JobTimeout)
	}
	if len(in.early) > 0 {
		n = copy(p, in.early)
		in.early = in.early[n:]
	} else {
		n, err = in.conn.Read(p)
	}
	if n > 0 && in.idle {
		in.idle, in.inPart = false, true
	}
	return n, err
}

// A disconnectWatch notices that the peer goes away, by reading ahead. It
// stops reading after a whole message's length: a peer that goes on sending must
// not fill the memory.
type disconnectWatch struct {
	in   *jobReader    // its conn and early belong to the watch until over is closed
	gone chan struct{} // closed by run: the peer has gone
	over chan struct{} // closed by run: it has returned
}

// watch begins to watch. The caller calls end, and does not read before that.
func (in *jobReader) watch() *disconnectWatch {
	in.conn.SetReadDeadline(time.Time{})
	w := &disconnectWatch{in: in, gone: make(chan struct{}), over: make(chan struct{})}
	go w.run()
	return w
}

func (w *disconnectWatch) run() {
	defer close(w.over)
	var b [64]byte
	for len(w.in.early) < protocol.MaxLen {
		n, err := w.in.conn.Read(b[:])
		w.in.early = append(w.in.early, b[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return // by end
		case err != nil:
			close(w.gone)
			return
		}
	}
}

// end ends the watch and reports whether the peer has gone. The connection is
// left without a deadline for reading.
func (w *disconnectWatch) end() (gone bool) {
	w.in.conn.SetReadDeadline(socket.Interrupt)
	<-w.over
	w.in.conn.SetReadDeadline(time.Time{})
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}
