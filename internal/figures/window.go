package figures

import (
	"math/bits"
	"time"
)

// bounds are the upper ends of a histogram's buckets. The two jobs of the lab
// take 1 and 5 seconds and a little more, so there are bounds close above.
var bounds = [...]time.Duration{
	1 * time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 1250 * time.Millisecond, 2500 * time.Millisecond,
	5 * time.Second, 6 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second,
}

// A histogram counts durations since the start.
type histogram struct {
	counts [len(bounds) + 1]int // for each bound alone; the last is for the rest
	count  int
	sum    time.Duration
}

func (h *histogram) add(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i]++
	h.count++
	h.sum += d
}

// A window remembers a minute, as slots of one second.
type window struct {
	now   int // the current second since the start
	slots [slots]slot
	all   buckets // of all slots together
	fails int
}

const slots = 60

type slot struct {
	buckets
	count int
	fails int
}

// buckets count durations between powers of two, each octave cut into
// 1<<fine equal parts. Each also has the sum of its durations, so that what it
// reports is their mean: where all jobs take 5.003 seconds, that is the median.
type buckets struct {
	counts [nBuckets]uint32
	sums   [nBuckets]time.Duration
}

const (
	fine     = 3  // 8 buckets an octave: an error of a few percent at most
	lowest   = 13 // durations below 1<<13 ns, 8 µs, are in the first bucket
	highest  = 42 // above 1<<42 ns, 73 minutes, in the last
	nBuckets = (highest - lowest) << fine
)

// bucket returns the place of d.
func bucket(d time.Duration) int {
	if d < 1<<lowest {
		return 0
	}
	octave := bits.Len64(uint64(d)) - 1
	part := int(d>>(octave-fine)) & (1<<fine - 1)
	return min((octave-lowest)<<fine+part, nBuckets-1)
}

// advance forgets what is older than a minute, age after the start.
func (w *window) advance(age time.Duration) {
	second := int(age / time.Second)
	if second >= w.now+slots {
		clear(w.slots[:])
		w.now, w.all, w.fails = second, buckets{}, 0
		return
	}
	for w.now < second {
		w.now++
		w.drop(&w.slots[w.now%slots])
	}
}

func (w *window) drop(s *slot) {
	if s.count > 0 {
		for i, n := range s.counts {
			w.all.counts[i] -= n
			w.all.sums[i] -= s.sums[i]
		}
	}
	w.fails -= s.fails
	*s = slot{}
}

func (w *window) answered(took time.Duration) {
	i := bucket(took)
	s := &w.slots[w.now%slots]
	s.count++
	s.counts[i]++
	s.sums[i] += took
	w.all.counts[i]++
	w.all.sums[i] += took
}

func (w *window) failed() {
	w.slots[w.now%slots].fails++
	w.fails++
}

// perSecond returns the answers of each second, oldest first. The last one is
// not over.
func (w *window) perSecond() []int {
	n := make([]int, slots)
	for i := range n {
		n[i] = w.slots[(w.now+1+i)%slots].count
	}
	return n
}

func (b *buckets) total() (n int) {
	for _, c := range b.counts {
		n += int(c)
	}
	return n
}

// quantile returns the time that the part q of all stay within, 0 if there are
// none.
func (b *buckets) quantile(q float64) time.Duration {
	rank := int(q*float64(b.total()) + 0.999999)
	for i, c := range b.counts {
		rank -= int(c)
		if rank <= 0 && c > 0 {
			return b.sums[i] / time.Duration(c)
		}
	}
	return 0
}
