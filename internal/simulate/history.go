package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A history is what happened in a run, for a person.
type history []event

// An event is one line of a history. It is worded only if it is read.
type event struct {
	at           time.Duration
	who          *request // nil: what says it
	what, detail string
}

func (h *history) add(at time.Duration, who *request, what, detail string) {
	*h = append(*h, event{at, who, what, detail})
}

// String returns a line for each event. Those of one nanosecond have no order, but
// for the events of one request.
func (h history) String() string {
	sorted := slices.Clone(h)
	slices.SortStableFunc(sorted, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.who.place(), b.who.place()))
	})
	var b strings.Builder
	for _, e := range sorted {
		who := ""
		if e.who != nil {
			who = e.who.String()
		}
		fmt.Fprintf(&b, "%14.6f  %-14s %s %s\n", e.at.Seconds(), who, e.what, strings.TrimSpace(e.detail))
	}
	return b.String()
}
