package load

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"io"
	"strconv"
	"time"
)

// csvHeader is the first line that a CSV writes.
var csvHeader = []string{"planned", "started", "ended", "type", "approach", "outcome", "cause"}

// waitingRows is how many rows wait at most while writing is slow.
const waitingRows = 1 << 12

// A CSV writes a row for each request as it ends, under a header:
//
//	planned,started,ended,type,approach,outcome,cause
//
// The times are in seconds from the start of the run. planned is empty without a
// rate, and cause if the request did not fail. Rows are written together when
// they come fast, and at once when they do not. If the disk or the pipe is slow,
// a number of them waits in memory; beyond that, the senders wait.
type CSV struct {
	rows    chan Done
	written chan error
}

// NewCSV returns a CSV that writes to w. [CSV.Close] ends it.
func NewCSV(w io.Writer) *CSV {
	c := &CSV{make(chan Done, waitingRows), make(chan error, 1)}
	go func() { c.written <- c.write(w) }()
	return c
}

// Add adds the row of a request, as [Config].Ended. It does not wait for its
// writing, unless very many rows wait.
func (c *CSV) Add(d Done) { c.rows <- d }

// Close returns when all rows are written, or with the first error. Add must not
// be called after it. It does not close the writer.
func (c *CSV) Close() error {
	close(c.rows)
	return <-c.written
}

// write writes all rows. After an error it goes on to take them: senders must
// not wait for ever.
func (c *CSV) write(w io.Writer) error {
	out := csv.NewWriter(bufio.NewWriterSize(w, 1<<16)) // which is the buffer of out, then
	err := out.Write(csvHeader)
	row := make([]string, len(csvHeader))
	for d := range c.rows {
		if err != nil {
			continue
		}
		row = append(row[:0], "", offset(d.Began), offset(d.Ended), d.Type.String(), d.Approach.String(), d.Outcome.String(), d.Cause)
		if d.Paced {
			row[0] = offset(d.Start)
		}
		if err = out.Write(row); err == nil && len(c.rows) == 0 {
			out.Flush()
			err = out.Error()
		}
	}
	out.Flush()
	return cmp.Or(err, out.Error())
}

// offset returns d in seconds, to the microsecond.
func offset(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 6, 64) }
