package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes remembers each write and when it came.
type writes struct {
	start time.Time
	texts []string
	at    []time.Duration
}

func (w *writes) Write(p []byte) (int, error) {
	w.texts = append(w.texts, string(p))
	w.at = append(w.at, time.Since(w.start))
	return len(p), nil
}

// A line that comes alone is written at once, and what comes soon after a write
// is written together.
func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{start: time.Now()}
		l := NewWriter(w, nil)
		l.print("alone")
		synctest.Wait()
		for range 1000 {
			l.print("at once")
		}
		time.Sleep(time.Second)
		l.print("alone", " again")
		synctest.Wait()
		l.print("last")
		l.Close()
		many := strings.Repeat("at once\n", 1000)
		want := []string{"alone\n", many, "alone again\n", "last\n"}
		if len(w.texts) != len(want) {
			t.Fatalf("%d writes: %q", len(w.texts), w.texts)
		}
		for i, at := range []time.Duration{0, gather, time.Second, time.Second} {
			if w.texts[i] != want[i] || w.at[i] != at {
				t.Errorf("write %d: %.30q after %v, want %.30q after %v", i, w.texts[i], w.at[i], want[i], at)
			}
		}
	})
}

// Output that is not read delays no caller. What is more than a bound is dropped,
// and a line in its place says how much when reading goes on.
func TestUnreadOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewWriter(pipe, nil)
		line := strings.Repeat("x", 1023)
		start := time.Now()
		w.print("first")
		synctest.Wait() // it is being written, and is not read
		for range bufferBytes/1024 + 1234 {
			w.print(line)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the caller waited %v", took)
		}
		if n := w.NotShown(); n != 1234 {
			t.Errorf("%d lines are dropped", n)
		}
		time.Sleep(time.Hour)
		text := read(r, pipe, w)
		if got := strings.Count(text, line+"\n"); got != bufferBytes/1024 {
			t.Errorf("%d lines were kept, want %d", got, bufferBytes/1024)
		}
		if !strings.HasPrefix(text, "first\n") || !strings.HasSuffix(text, "x\n… 1,234 lines were not shown\n") {
			t.Errorf("it begins with %.20q and ends with %q", text, text[len(text)-80:])
		}
	})
}

// read returns all that w writes to a pipe within some seconds.
func read(r io.Reader, pipe io.Closer, w *Writer) string {
	go func() {
		time.Sleep(5 * time.Second)
		w.Close()
		pipe.Close()
	}()
	text, _ := io.ReadAll(r)
	return string(text)
}

// The notice stands where the lines are missing, and what follows is shown.
func TestNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewWriter(pipe, nil)
		w.print("first")
		synctest.Wait()
		w.print(strings.Repeat("x", bufferBytes-1))
		for range 1_234_567 {
			w.Write([]byte("not shown\n"))
		}
		go func() {
			time.Sleep(time.Second)
			w.print("last")
		}()
		got := read(r, pipe, w)
		want := "first\n" + strings.Repeat("x", bufferBytes-1) + "\n… 1,234,567 lines were not shown\nlast\n"
		if got != want {
			t.Errorf("it ends with %q", got[max(0, len(got)-80):])
		}
	})
}

// Once a line is missing the next ones are too, even those that are shorter, so
// that the notice stands in the place of all of them. A write of several lines
// counts each of them.
func TestNothingOvertakesTheNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewWriter(pipe, nil)
		w.print("first")
		synctest.Wait()
		kept := strings.Repeat("x", bufferBytes-100)
		w.print(kept)
		w.Write([]byte(strings.Repeat("y", 200) + "\n" + "z\n"))
		w.print("short")
		if n := w.NotShown(); n != 3 {
			t.Errorf("%d lines are dropped, want 3", n)
		}
		if got, want := read(r, pipe, w), "first\n"+kept+"\n… 3 lines were not shown\n"; got != want {
			t.Errorf("it ends with %q", got[max(0, len(got)-80):])
		}
	})
}

// A line that is longer than what may wait is missing, like any other, and what
// follows is shown.
func TestLineThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &writes{start: time.Now()}
		w := NewWriter(out, nil)
		w.print("first")
		synctest.Wait()
		w.print(strings.Repeat("x", bufferBytes))
		time.Sleep(time.Second)
		w.print("last")
		w.Close()
		if got := strings.Join(out.texts, ""); got != "first\n… 1 line was not shown\nlast\n" {
			t.Errorf("got %.80q", got)
		}
	})
}

// Nor does it silence a Writer that has nothing else to write.
func TestLineThatIsTooLongAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out writes
		w := NewWriter(&out, nil)
		w.print(strings.Repeat("x", bufferBytes))
		synctest.Wait()
		time.Sleep(gather)
		w.print("last")
		w.Close()
		if got := strings.Join(out.texts, ""); got != "… 1 line was not shown\nlast\n" {
			t.Errorf("%.100q", got)
		}
	})
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1005: "1,005", 123456: "123,456", 1_000_000: "1,000,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// A Writer whose output was stuck when it was closed goes on when that is read
// again: nothing is written twice, torn, or by two at once.
func TestUseAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewWriter(pipe, nil)
		w.print("first")
		synctest.Wait()
		w.print(strings.Repeat("x", bufferBytes-1))
		w.print("missing")
		w.Close()
		w.print("after")
		w.Close() // now "after" is dropped too
		w.print("again")
		if got := read(r, pipe, w); got != "first\nagain\n" {
			t.Errorf("got %.80q", got)
		}
		if n := w.NotShown(); n != 3 {
			t.Errorf("%d lines are dropped, want 3", n)
		}
	})
}

// A Writer whose disk was full when it was closed goes on when that has room.
func TestUseAfterAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		w := NewWriter(d, nil)
		w.print("lost")
		synctest.Wait()
		w.Close()
		d.grow(1000)
		w.print("kept")
		w.Close()
		if d.text.String() != "kept\n" || w.NotShown() != 1 {
			t.Errorf("got %q, %d dropped", d.text.String(), w.NotShown())
		}
	})
}

// stubborn is an output that fails at every write, and says more of it than is
// so.
type stubborn struct{ writes int }

func (s *stubborn) Write(p []byte) (int, error) {
	s.writes++
	return len(p) + 1, errors.New("broken")
}

// Output that fails is tried again a few times a second.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stubborn{}
		w := NewWriter(s, nil)
		w.print("one")
		time.Sleep(10*time.Second - 1)
		synctest.Wait()
		if s.writes != 40 {
			t.Errorf("%d writes in 10 s, want 40", s.writes)
		}
		w.Close()
	})
}

// A stop waits for output that is not read, for a bounded time.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		w := NewWriter(pipe, nil)
		w.print("first")
		synctest.Wait()
		w.print("second")
		for range 2 {
			start := time.Now()
			w.Close()
			if took := time.Since(start); took != time.Second {
				t.Errorf("closed after %v", took)
			}
		}
		if n := w.NotShown(); n != 1 {
			t.Errorf("%d lines are dropped, want 1", n)
		}
		r.Close()
	})
}

// A disk has room for a number of bytes.
type disk struct {
	mu   sync.Mutex // guards all below
	room int
	text bytes.Buffer
}

func (d *disk) grow(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room += room
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.text.Write(p[:n])
	d.room -= n
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// A disk that was full and has room again has no torn line.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: 25}
		w := NewWriter(d, nil)
		var want strings.Builder
		for i := range 10 {
			fmt.Fprintf(&want, "line %d\n", i)
			w.print(fmt.Sprintf("line %d", i))
			time.Sleep(time.Second)
		}
		d.grow(1000)
		time.Sleep(time.Second)
		w.Close()
		if d.text.String() != want.String() || w.NotShown() != 0 {
			t.Errorf("got %q, %d dropped", d.text.String(), w.NotShown())
		}
	})
}

// Output that can't be written any more is counted, and holds up no stop.
func TestBrokenOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(&disk{}, nil)
		w.print("one")
		synctest.Wait()
		w.Write([]byte("two\nthree\n"))
		start := time.Now()
		w.Close()
		if took := time.Since(start); took != 0 || w.NotShown() != 3 {
			t.Errorf("closed after %v, %d dropped, want 3", took, w.NotShown())
		}
		w.Close()
	})
}

// As JSON the notice is an event.
func TestNoticeAsJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pipe := io.Pipe()
		b := NewBrokerJSON(pipe)
		for range bufferBytes / 64 {
			b.Unreachable("Worker-1", errors.New("refused"))
		}
		all := events(t, read(r, pipe, b.Writer))
		last := all[len(all)-1]
		if last["msg"] != "not shown" || last["level"] != "WARN" || last["lines"] != float64(b.NotShown()) || b.NotShown() == 0 {
			t.Errorf("the last event is %v, and %d lines are dropped", last, b.NotShown())
		}
	})
}

func TestIsTerminal(t *testing.T) {
	file, err := os.Open(os.Args[0]) // wine 8 does not remove what is in a TempDir
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if IsTerminal(file) || IsTerminal(NewWriter(file, nil)) {
		t.Error("a file is taken for a terminal")
	}
	if IsTerminal(new(bytes.Buffer)) {
		t.Error("a buffer is taken for a terminal")
	}
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no character device here: ", err)
	}
	defer device.Close()
	if !IsTerminal(device) || !IsTerminal(NewWriter(device, nil)) {
		t.Error("a character device is not taken for a terminal")
	}
}
