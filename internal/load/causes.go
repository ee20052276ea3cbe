package load

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// Limits of the table of causes.
const (
	maxCauses   = 16  // rows
	maxCauseLen = 160 // runes of one cause
)

// otherCauses is the row of all causes that came when the table was full.
const otherCauses = "other causes"

// A Cause is a reason why requests failed, and how many failed for it.
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

// add counts a failure, and returns its cause in the words of the table, or in
// those that it would have there if the table were longer.
func (c *causes) add(text string) (cause string) {
	cause = generalize(text)
	row := cause
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.counts[row]; !known && len(c.counts) >= maxCauses {
		row = otherCauses
	}
	c.counts[row]++
	return cause
}

// table returns the causes, the most frequent ones first, and otherCauses last.
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

// generalize returns text in a form that is the same for all failures of one
// cause and safe for a terminal. Four or more digits, such as a port, become N,
// and so does a number that is a word of its own, a count; what is counted is then
// plural. The number of a worker stays. A rune that cannot be printed becomes a question mark. A long text is
// cut.
func generalize(text string) string {
	text = oneWaits.Replace(text)
	text = count.ReplaceAllString(longNumber.ReplaceAllLiteralString(text, "N"), "${1}N ")
	text = strings.Map(printable, text)
	if r := []rune(text); len(r) > maxCauseLen {
		return string(r[:maxCauseLen]) + "..."
	}
	return text
}

var (
	longNumber = regexp.MustCompile(`[0-9]{4,}`)
	count      = regexp.MustCompile(`([ (])[0-9]+ `)
)

// oneWaits is for the one count of the broker's refusals that may be singular.
var oneWaits = strings.NewReplacer("(1 request waits)", "(2 requests wait)")

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}
