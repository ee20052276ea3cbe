package balance

import (
	"container/heap"
	"fmt"
	"slices"
	"testing"
	"time"
)

var names = []string{rr: "round_robin", lc: "least_connections"}

func benchPool(n int, weighted bool) *Pool {
	workers := make([]Worker, n)
	for i := range workers {
		workers[i] = Worker{Name: fmt.Sprint(i), Weight: 1}
		if weighted {
			workers[i].Weight = 1 + i%10
		}
	}
	return NewPool(workers, newSelectors()...)
}

func BenchmarkAssign(b *testing.B) {
	for _, s := range []int{rr, lc} {
		for _, weights := range []string{"equal", "weighted"} {
			for _, n := range []int{3, 100, 10_000} {
				run := func(kind string, bench func(*testing.B, *Pool, int)) {
					b.Run(fmt.Sprintf("%s/%s/%s/%d", names[s], weights, kind, n), func(b *testing.B) {
						p := benchPool(n, weights == "weighted")
						b.ReportAllocs()
						bench(b, p, s)
					})
				}
				run("serial", benchSerial)
				run("parallel", benchParallel)
			}
		}
	}
}

// benchSerial keeps 64 requests in flight, as a broker does.
func benchSerial(b *testing.B, p *Pool, s int) {
	var held [64]Lease
	for i := range held {
		held[i], _ = p.Assign(s, new(Request))
	}
	i := 0
	tried := new(Request)
	for b.Loop() {
		l := &held[i%len(held)]
		l.Release(Answered)
		*tried = Request{}
		*l, _ = p.Assign(s, tried)
		i++
	}
}

func benchParallel(b *testing.B, p *Pool, s int) {
	b.RunParallel(func(pb *testing.PB) {
		tried := new(Request)
		for pb.Next() {
			*tried = Request{}
			l, _ := p.Assign(s, tried)
			l.Release(Answered)
		}
	})
}

// BenchmarkAllFail is one request that all of its workers fail, in a pool whose
// workers cool down.
func BenchmarkAllFail(b *testing.B) {
	for _, s := range []int{rr, lc} {
		for _, n := range []int{3, 100, 6000} {
			b.Run(fmt.Sprintf("%s/%d", names[s], n), func(b *testing.B) {
				p := benchPool(n, false)
				b.ReportAllocs()
				for b.Loop() {
					var tried Request
					for {
						l, ok := p.Assign(s, &tried)
						if !ok {
							break
						}
						l.Release(Failed)
					}
				}
			})
		}
	}
}

// BenchmarkOneLeft is a pool in which only the last worker does not cool down.
func BenchmarkOneLeft(b *testing.B) {
	for _, s := range []int{rr, lc} {
		for _, n := range []int{3, 100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", names[s], n), func(b *testing.B) {
				p := benchPool(n, false)
				p.coolFirst(n - 1)
				request := new(Request)
				for b.Loop() {
					*request = Request{}
					l, _ := p.Assign(s, request)
					l.Release(Answered)
				}
			})
		}
	}
}

// coolFirst lets the first n workers cool down for longer than a test takes.
func (p *Pool) coolFirst(n int) {
	for _, m := range p.members[:n] {
		m.state, m.until = Cooling, time.Now().Add(time.Hour)
		heap.Push(&p.cooling, m)
		p.changed(m)
	}
}

// BenchmarkSort is the dearest further attempt: the order has to be taken.
func BenchmarkSort(b *testing.B) {
	for _, s := range []int{rr, lc} {
		for _, n := range []int{3, 100, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", names[s], n), func(b *testing.B) {
				p := benchPool(n, true)
				for range n {
					p.Assign(s, new(Request))
				}
				for b.Loop() {
					sorted(p.selectors[s], slices.Clone(p.members))
				}
			})
		}
	}
}
