package console

import (
	"strings"
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

func TestLinesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{start: time.Now()}
		l := newLines(w)
		l.print("alone")
		for range 1000 {
			l.print("at once")
		}
		time.Sleep(time.Second)
		l.print("alone", " again")
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

func TestLinesWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{start: time.Now()}
		l := newLines(w)
		l.print("first")
		l.print(strings.Repeat("x", mostBytes))
		if len(w.texts) != 2 {
			t.Errorf("%d writes", len(w.texts))
		}
		l.Close()
	})
}
