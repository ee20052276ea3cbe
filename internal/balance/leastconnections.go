package balance

import "container/heap"

// LeastConnections chooses the worker with the fewest requests in flight,
// divided by its weight; among equals, the one that it chose longest ago; at
// first, the first of the list. One request after another then goes 1, 2, 3,
// 1, … as with the original, whose counts never fall; many at once are spread
// as the course notes promise. HAProxy's leastconn rotates among equals too.
//
// The workers are in a heap: a tree in a slice, in which each worker comes
// before the two below it. So the best one is always the first. When something
// of a worker changes, heap.Fix moves that worker up or down until the rule
// holds again. Among 10,000 workers it moves at most 13 times.
//
// The zero value is ready for [NewPool].
type LeastConnections struct {
	heap    byLoad
	choices uint64 // how many it has made
}

func (l *LeastConnections) add(m *member) { heap.Push(&l.heap, m) }

func (l *LeastConnections) remove(m *member) { heap.Remove(&l.heap, m.heapAt) }

func (l *LeastConnections) first(*Request) *member {
	if len(l.heap) == 0 || l.heap[0].grade == unusable {
		return nil
	}
	return l.heap[0]
}

func (l *LeastConnections) compares() int { return 1 }

// assigned needs no heap.Fix: the pool calls changed next.
func (l *LeastConnections) assigned(m *member, _ bool) {
	l.choices++
	m.lastChosen = l.choices
}

func (l *LeastConnections) changed(m *member) { heap.Fix(&l.heap, m.heapAt) }

// before is the whole rule. It is strict: of two workers one is before the
// other, never neither.
func (l *LeastConnections) before(a, b *member) bool { return lessLoaded(a, b) }

func lessLoaded(a, b *member) bool {
	if a.grade != b.grade {
		return a.grade < b.grade
	}
	// a.inFlight/a.weight < b.inFlight/b.weight, without a division's rounding.
	if x, y := a.inFlight*b.weight, b.inFlight*a.weight; x != y {
		return x < y
	}
	if a.lastChosen != b.lastChosen {
		return a.lastChosen < b.lastChosen
	}
	return a.index < b.index
}

// byLoad implements [heap.Interface]. Each member knows its place in the heap.
type byLoad []*member

func (h byLoad) Len() int           { return len(h) }
func (h byLoad) Less(i, j int) bool { return lessLoaded(h[i], h[j]) }

func (h byLoad) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (h *byLoad) Push(x any) {
	m := x.(*member)
	m.heapAt = len(*h)
	*h = append(*h, m)
}

func (h *byLoad) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	*h = (*h)[:last]
	return m
}
