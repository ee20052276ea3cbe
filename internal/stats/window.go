package stats

import (
	"time"

	"balancelab/internal/histogram"
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
	answered *histogram.Histogram // how long the answered requests took
	failed   int
}

func newWindow() (w window) {
	for i := range w.slots {
		w.slots[i].answered = newSlotHistogram()
	}
	return w
}

// newSlotHistogram returns a histogram that is small, because there are so many
// slots. Its percentiles are exact where all jobs take equally long: a page that
// shows 4.97 s for a job of 5 seconds would raise a question.
func newSlotHistogram() *histogram.Histogram { return histogram.NewWithSums(3) }

// advance forgets what is older than a minute, age after the start.
func (w *window) advance(age time.Duration) {
	second := int(age / time.Second)
	w.now = max(w.now, second-slots) // no slot has to be emptied twice
	for w.now < second {
		w.now++
		s := w.current()
		s.answered.Reset()
		s.failed = 0
	}
}

func (w *window) current() *slot { return &w.slots[w.now%slots] }

func (w *window) addAnswered(took time.Duration) { w.current().answered.Add(took) }

func (w *window) addFailed() { w.current().failed++ }

// recent is the sum of all slots.
type recent struct {
	answered  *histogram.Histogram
	failed    int
	perSecond []int // how many were answered in each slot, oldest first; the last is not over
}

func (w *window) recent() recent {
	r := recent{answered: newSlotHistogram(), perSecond: make([]int, slots)}
	for i := range r.perSecond {
		s := &w.slots[(w.now+1+i)%slots]
		r.answered.Merge(s.answered)
		r.failed += s.failed
		r.perSecond[i] = int(s.answered.Count())
	}
	return r
}

// minute returns what is shown of r, age after the start. It is about the time
// since the oldest slot began.
func (r *recent) minute(age time.Duration) Minute {
	length := max(min(age, (slots-1)*time.Second+age%time.Second), time.Second)
	percentile := func(percent float64) float64 { return r.answered.Percentile(percent).Seconds() }
	m := Minute{
		Seconds: length.Seconds(), Answered: int(r.answered.Count()), Failed: r.failed,
		P50: percentile(50), P95: percentile(95), P99: percentile(99), PerSecond: r.perSecond,
	}
	m.Rate = float64(m.Answered) / m.Seconds
	return m
}
