package socket

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"balancelab/internal/neterr"
)

// A link is a connection with a peer that is package net's.
type link struct {
	peer *net.TCPConn
	conn Conn // this side
}

// onEach runs f with a connection of this package, and with one of package net.
func onEach(t *testing.T, f func(t *testing.T, l link)) {
	t.Run("accepted", func(t *testing.T) { f(t, linkTo(t, listen(t, "127.0.0.1:0"))) })
	t.Run("net's", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f(t, linkTo(t, l))
	})
}

// linkTo returns a connection that l has accepted.
func linkTo(t *testing.T, l net.Listener) link {
	t.Helper()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return link{peer: peer.(*net.TCPConn), conn: acceptedBy(t, l)}
}

func acceptedBy(t *testing.T, l net.Listener) Conn {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return Of(conn)
}

// peerSays writes text on the peer's side, and waits until it is there.
func (l link) peerSays(text string) {
	io.WriteString(l.peer, text)
	l.settle()
}

// settle waits for something to see.
func (l link) settle() {
	soon(func() bool { return l.conn.Peek() != Quiet })
}

// reset has the peer's system reset the connection.
func (l link) reset() {
	l.peer.SetLinger(0)
	l.peer.Close()
}

// registered has this side's connection wait, and so be registered with the
// poller.
func (l link) registered() {
	l.conn.SetReadDeadline(Interrupt.AddDate(1, 0, 0))
	l.conn.Read(make([]byte, 1))
	l.conn.SetReadDeadline(time.Time{})
}

// sees checks what a look sees, once and again.
func (l link) sees(t *testing.T, when string, want PeerState) {
	t.Helper()
	for range 2 {
		if got := l.conn.Peek(); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
		if quiet := l.conn.Quiet(); quiet != (want == Quiet) {
			t.Errorf("%s: quiet is %v", when, quiet)
		}
	}
}

// becomes waits until a look sees want, which it must see at once on Linux: there
// a write over the loopback returns when its answer is there.
func (l link) becomes(t *testing.T, when string, want PeerState) {
	t.Helper()
	if runtime.GOOS != "linux" {
		soon(func() bool { return l.conn.Peek() == want })
	}
	l.sees(t, when, want)
}

// answer writes, which must succeed.
func (l link) answer(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(l.conn, "answer"); err != nil {
		t.Fatalf("the answer could not be written: %v", err)
	}
}

// fails checks that a read or write failed since the peer left.
func fails(t *testing.T, what string, err error) {
	t.Helper()
	if kind := neterr.KindOf(err); kind != neterr.Reset && kind != neterr.BrokenPipe {
		t.Errorf("%s: %v", what, err)
	}
}

func TestPeekAtPeerThatStays(t *testing.T) {
	onEach(t, func(t *testing.T, l link) {
		l.sees(t, "at first", Quiet)
		l.answer(t)
		l.sees(t, "after an answer", Quiet)
		l.peerSays("more")
		l.sees(t, "with input", Input)
		io.ReadFull(l.conn, make([]byte, 4))
		l.sees(t, "with all read", Quiet)
		l.conn.Close()
		l.sees(t, "closed on this side", Unknown)
	})
}

// One that half-closed (nc -N) has not left: it still gets its answer.
func TestPeekAtPeerThatHalfClosed(t *testing.T) {
	onEach(t, func(t *testing.T, l link) {
		l.peer.CloseWrite()
		l.settle()
		l.sees(t, "half-closed", Ended)
		l.answer(t)
		l.sees(t, "after the answer", Ended)
		if text, err := bufio.NewReader(l.peer).Peek(6); string(text) != "answer" {
			t.Errorf("it got %q, %v", text, err)
		}
		l.sees(t, "with the answer read", Ended)
		if _, err := l.conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: %v", err)
		}
	})
}

// One that has closed looks the same, until something is written, which is
// answered by a reset.
func TestPeekAtPeerThatClosed(t *testing.T) {
	onEach(t, func(t *testing.T, l link) {
		l.peer.Close()
		l.settle()
		l.sees(t, "closed", Ended)
		l.answer(t)
		l.becomes(t, "after the answer", Reset)
		_, err := l.conn.Read(make([]byte, 1))
		fails(t, "read", err)
		_, err = l.conn.Write([]byte("x"))
		fails(t, "write", err)
		l.sees(t, "after both", Reset)
	})
}

func TestPeekAtPeerThatSaidMoreAndClosed(t *testing.T) {
	onEach(t, func(t *testing.T, l link) {
		io.WriteString(l.peer, "more")
		l.peer.Close()
		l.settle()
		l.sees(t, "closed", Input)
		l.answer(t)
		l.becomes(t, "after the answer", Reset)
		text, err := io.ReadAll(l.conn)
		fails(t, "read", err)
		if dropped := runtime.GOOS == "windows" && len(text) == 0; string(text) != "more" && !dropped { // a reset may drop it there
			t.Errorf("read %q: the look took something out", text)
		}
	})
}

// Its system resets the connection at once.
func TestPeekAtPeerThatClosedOverUnreadInput(t *testing.T) {
	onEach(t, func(t *testing.T, l link) {
		l.answer(t)
		l.peer.Read(make([]byte, 1)) // all of it has come
		l.peer.Close()
		l.settle()
		l.sees(t, "closed", Reset)
		_, err := l.conn.Write([]byte("x"))
		fails(t, "write", err)
	})
}

// The error of a reset is told to the look, and must not be lost for the reader.
func TestPeekAtPeerThatReset(t *testing.T) {
	for name, before := range map[string]func(l link){
		"at once":                    func(l link) {},
		"after more input":           func(l link) { l.peerSays("more") },
		"after it half-closed":       func(l link) { l.peer.CloseWrite() },
		"after both":                 func(l link) { l.peerSays("more"); l.peer.CloseWrite() },
		"after the reader's waiting": func(l link) { l.registered() },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, l link) {
				before(l)
				l.reset()
				soon(func() bool { return l.conn.Peek() == Reset })
				l.sees(t, "reset", Reset)
				for _, read := range []func([]byte) (int, error){l.conn.Read, l.conn.TryRead} {
					_, err := io.ReadAll(reader(read))
					fails(t, "read", err)
				}
				_, err := l.conn.Write([]byte("x"))
				fails(t, "write", err)
			})
		})
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// A peer whose program is killed has closed.
func TestPeekAtPeerThatWasKilled(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(exe, "-test.run=^TestBeAPeer$")
	program.Env = append(os.Environ(), "BE_A_PEER_OF="+l.Addr().String())
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Process.Kill()
	side := link{conn: acceptedBy(t, l)}
	if _, err := io.ReadFull(side.conn, make([]byte, len("request"))); err != nil {
		t.Fatal(err)
	}
	side.sees(t, "before", Quiet)
	program.Process.Kill()
	program.Wait()
	side.settle()
	side.sees(t, "killed", Ended)
	side.answer(t)
	side.becomes(t, "after the answer", Reset)
}

// TestBeAPeer is a peer in a process of its own, that waits for its answer.
func TestBeAPeer(t *testing.T) {
	addr := os.Getenv("BE_A_PEER_OF")
	if addr == "" {
		t.Skip("it is a part of another test")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "request")
	io.Copy(io.Discard, conn)
}

func TestPeerStatesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for s := Unknown; s <= Reset; s++ {
		seen[s.String()] = true
	}
	if len(seen) != 5 || seen[""] {
		t.Errorf("got %v", seen)
	}
}
