package load

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Bounds of the table of causes: how many, and how long each one's text is, in
// runes.
const (
	maxCauses   = 16
	maxCauseLen = 160
)

// otherCauses is what failures count under whose cause came when the table was
// full.
const otherCauses = "other causes"

// A Cause is why requests failed, and how many.
type Cause struct {
	Cause string `json:"cause"`
	Count int64  `json:"count"`
}

// causes counts failures by cause.
type causes struct {
	mu     sync.Mutex // guards counts
	counts map[string]int64
}

func newCauses() *causes { return &causes{counts: map[string]int64{}} }

func (c *causes) add(text string) {
	text = generalize(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.counts[text]; !known && len(c.counts) >= maxCauses {
		text = otherCauses
	}
	c.counts[text]++
}

// table returns the causes, the most frequent ones first, and the others last.
func (c *causes) table() []Cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := make([]Cause, 0, len(c.counts))
	for text, n := range c.counts {
		table = append(table, Cause{text, n})
	}
	slices.SortFunc(table, func(a, b Cause) int {
		switch {
		case a.Cause == otherCauses:
			return 1
		case b.Cause == otherCauses:
			return -1
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return table
}

// generalize returns text without what tells failures of one cause apart, and
// fit for a terminal: four or more digits (a port or a count; the number of a
// worker stays) become N, what cannot be printed becomes a question mark, and
// a long text is cut.
func generalize(text string) string {
	text = strings.Map(printable, longNumber.ReplaceAllLiteralString(text, "N"))
	if r := []rune(text); len(r) > maxCauseLen {
		return string(r[:maxCauseLen]) + "..."
	}
	return text
}

var longNumber = regexp.MustCompile(`[0-9]{4,}`)

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}
