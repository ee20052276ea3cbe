package main

import (
	"fmt"
	"io"
	"os"

	"balancelab/internal/load"
)

// standardOutput is the name of standard output for -csv.
const standardOutput = "-"

// rows are the rows of -csv.
type rows struct {
	*load.CSV
	name string
	file io.Closer // nil for standard output
}

// openRows returns the rows of -csv, or nil if there is no such flag. A file
// that is there is overwritten.
func (f flags) openRows(stdout io.Writer) (*rows, error) {
	switch f.csv {
	case "":
		return nil, nil
	case standardOutput:
		return &rows{load.NewCSV(stdout), "standard output", nil}, nil
	}
	file, err := os.Create(f.csv)
	if err != nil {
		return nil, fmt.Errorf("-csv: %w", err)
	}
	return &rows{load.NewCSV(file), "-csv", file}, nil
}

// close returns when all rows are written. The error is the first one that
// occurred. It does nothing if r is nil.
func (r *rows) close() error {
	if r == nil {
		return nil
	}
	err := r.Close()
	if r.file != nil {
		if closing := r.file.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		return fmt.Errorf("%s: not all rows were written: %w", r.name, err)
	}
	return nil
}
