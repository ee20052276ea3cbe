package load

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/protocol"
)

func TestCSV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(9500*time.Millisecond, cancel)
		g := aim(func(ctx context.Context, i int) (string, error) {
			if i == 1 {
				return "Error: no \"worker\", none at 127.0.0.1:40001\x1b", nil
			}
			return protocol.Response, pause(ctx, time.Duration(i+1)*1500*time.Millisecond)
		})
		var b bytes.Buffer
		rows := NewCSV(&b)
		g.run(ctx, Config{
			Plan: Plan{N: 9, Rate: 1, Types: []protocol.Type{long, short}, Approaches: []protocol.Approach{roundRobin, least}},
			C:    1, Ended: rows.Add,
		})
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		const want = `planned,started,ended,type,approach,outcome,cause
0.000000,0.000000,1.500000,Long,round_robin,ok,
1.000000,1.500000,1.500000,Long,least_connections,failed,"no ""worker"", none at 127.0.0.1:N?"
2.000000,2.000000,6.500000,Short,round_robin,ok,
3.000000,6.500000,9.500000,Short,least_connections,interrupted,
`
		expect(t, "rows", b.String(), want)
	})
}

// Without a rate there is no planned start.
func TestCSVWithoutARate(t *testing.T) {
	var b bytes.Buffer
	rows := NewCSV(&b)
	taking(0).run(t.Context(), Config{Plan: Plan{N: 1000}, C: 10, Ended: rows.Add})
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(table) != 1001 {
		t.Fatalf("%d rows, %v", len(table), err)
	}
	for _, row := range table[1:] {
		expect(t, "planned", row[0], "")
	}
}

// A row is written when the request has ended, and not at the end of the run.
func TestCSVIsWrittenAsRequestsEnd(t *testing.T) {
	from, to := io.Pipe()
	rows := NewCSV(to)
	read := func() string {
		buf := make([]byte, 1000)
		n, _ := from.Read(buf)
		return string(buf[:n])
	}
	for range 3 {
		rows.Add(Done{Planned: Planned{Request: protocol.Request{Type: short, Approach: least}}})
		if text := read(); !strings.HasSuffix(text, "0.000000,0.000000,Short,least_connections,ok,\n") {
			t.Errorf("got %q", text)
		}
	}
	from.Close()
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
}

// What can't be written is an error, and the run goes on to its end.
func TestCSVThatCannotBeWritten(t *testing.T) {
	full := errors.New("no space left on device")
	for _, room := range []int{0, 10_000, 99_999} {
		synctest.Test(t, func(t *testing.T) {
			rows := NewCSV(&disk{room, full})
			r := taking(time.Millisecond).run(t.Context(), Config{Plan: Plan{N: 3 * waitingRows, Rate: 1e6}, C: 100, Ended: rows.Add})
			if err := rows.Close(); err != full {
				t.Errorf("room for %d bytes: %v, want %v", room, err, full)
			}
			expect(t, "ok", r.Requests.OK, 3*waitingRows)
		})
	}
}

// The header alone can fail too.
func TestCSVOfNothingThatCannotBeWritten(t *testing.T) {
	full := errors.New("no space left on device")
	if err := NewCSV(&disk{5, full}).Close(); err != full {
		t.Errorf("%v, want %v", err, full)
	}
}

// A disk has room for a number of bytes.
type disk struct {
	room int
	full error
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	if n < len(p) {
		return n, d.full
	}
	return n, nil
}

func TestCSVOnAFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /dev/full here")
	}
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows := NewCSV(file)
	taking(0).run(t.Context(), Config{Plan: Plan{N: 10}, Ended: rows.Add})
	if rows.Close() == nil {
		t.Error("no error")
	}
}

// A writer that takes nothing holds up the senders when many rows wait, and not
// before: memory is bounded.
func TestCSVIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := &stuck{release: make(chan struct{})}
		rows := NewCSV(screen)
		ended := false
		go func() {
			taking(0).run(t.Context(), Config{Plan: Plan{N: 2 * waitingRows}, C: 10, Ended: rows.Add})
			ended = true
		}()
		synctest.Wait()
		expect(t, "ended", ended, false)
		if n := len(rows.rows); n != waitingRows {
			t.Errorf("%d rows wait", n)
		}
		close(screen.release)
		synctest.Wait()
		expect(t, "ended after all", ended, true)
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
		expect(t, "lines", strings.Count(screen.text.String(), "\n"), 2*waitingRows+1)
	})
}
