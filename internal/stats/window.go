package stats

import (
	"time"

	"balancelab/internal/histogram"
	"balancelab/internal/protocol"
)

// A window remembers the last minute, in slots of one second. The slots are
// used again and again; they are summed up only when somebody looks.
type window struct {
	now   int // the current second, counted from the start
	slots [slots]slot
}

const slots = 60

// A slot is one second: second n is at n % slots.
type slot struct {
	answered times // how long the answered requests took
	failed   int
}

// times has a histogram for each approach and type, nil as long as it is not
// needed.
type times [protocol.NumApproaches][protocol.NumTypes]*histogram.Histogram

// newSlotHistogram returns a histogram that is small, because there are so many
// slots. Its percentiles are exact where all jobs take equally long: a page that
// shows 4.97 s for a job of 5 seconds would raise a question.
func newSlotHistogram() *histogram.Histogram { return histogram.NewWithSums(3) }

// of returns the histogram of an approach and a type, and makes it if need be.
func (t *times) of(a protocol.Approach, y protocol.Type) *histogram.Histogram {
	h := &t[a][y]
	if *h == nil {
		*h = newSlotHistogram()
	}
	return *h
}

// all calls do for each histogram that there is.
func (t *times) all(do func(protocol.Approach, protocol.Type, *histogram.Histogram)) {
	for a := range t {
		for y, h := range t[a] {
			if h != nil {
				do(protocol.Approach(a), protocol.Type(y), h)
			}
		}
	}
}

// advance forgets what is older than a minute, age after the start.
func (w *window) advance(age time.Duration) {
	second := int(age / time.Second)
	w.now = max(w.now, second-slots) // no slot has to be emptied twice
	for w.now < second {
		w.now++
		w.current().reset()
	}
}

func (w *window) current() *slot { return &w.slots[w.now%slots] }

func (s *slot) reset() {
	s.failed = 0
	s.answered.all(func(_ protocol.Approach, _ protocol.Type, h *histogram.Histogram) {
		if h.Count() > 0 {
			h.Reset()
		}
	})
}

func (w *window) addAnswered(r protocol.Request, took time.Duration) {
	w.current().answered.of(r.Approach, r.Type).Add(took)
}

func (w *window) addFailed() { w.current().failed++ }

// recent is the sum of all slots.
type recent struct {
	answered  times
	failed    int
	perSecond []int // how many were answered in each slot, oldest first; the last is not over
}

func (w *window) recent() recent {
	r := recent{perSecond: make([]int, slots)}
	for i := range r.perSecond {
		s := &w.slots[(w.now+1+i)%slots]
		r.failed += s.failed
		s.answered.all(func(a protocol.Approach, y protocol.Type, h *histogram.Histogram) {
			if h.Count() > 0 {
				r.answered.of(a, y).Merge(h)
				r.perSecond[i] += int(h.Count())
			}
		})
	}
	return r
}

// minute returns what is shown of r, age after the start. It is about the time
// since the oldest slot began.
func (r *recent) minute(age time.Duration) Minute {
	length := max(min(age, (slots-1)*time.Second+age%time.Second), time.Second)
	m := Minute{Seconds: length.Seconds(), Failed: r.failed, PerSecond: r.perSecond}
	for _, n := range r.perSecond {
		m.Answered += n
	}
	m.Rate = float64(m.Answered) / m.Seconds
	for _, a := range protocol.Approaches() {
		m.Latency = append(m.Latency, r.latencies(a)...)
	}
	return m
}

// latencies returns those of an approach: of all its types, and of each type.
func (r *recent) latencies(a protocol.Approach) []Latency {
	total := newSlotHistogram()
	rows := []Latency{{}}
	for y := protocol.NoType + 1; y < protocol.NumTypes; y++ {
		row := Latency{Approach: a, Type: y}
		if h := r.answered[a][y]; h != nil {
			total.Merge(h)
			row.fill(h)
		}
		rows = append(rows, row)
	}
	rows[0].Approach = a
	rows[0].fill(total)
	return rows
}

func (l *Latency) fill(h *histogram.Histogram) {
	l.Answered, l.Max = int(h.Count()), h.Max().Seconds()
	l.P50, l.P95, l.P99 = h.Percentile(50).Seconds(), h.Percentile(95).Seconds(), h.Percentile(99).Seconds()
}
