package programs

import (
	"fmt"
	"io"
	"sync"
)

// A Listing shows what several programs print, with the name of its program in
// front of each line.
type Listing struct {
	W io.Writer

	mu sync.Mutex // guards W: a line is never cut by another one
}

// Show shows a line. The mark says what it is: a $ what was run, a | what it
// printed.
func (l *Listing) Show(name string, mark rune, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.W, "%-8s %c %s\n", name, mark, line)
}
