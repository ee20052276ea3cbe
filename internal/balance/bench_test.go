package balance

import (
	"fmt"
	"testing"
)

func benchPool(n int, weighted bool) (*Pool, []Selector) {
	workers := make([]Worker, n)
	for i := range workers {
		workers[i] = Worker{Name: fmt.Sprint(i), Weight: 1}
		if weighted {
			workers[i].Weight = 1 + i%10
		}
	}
	selectors := []Selector{new(RoundRobin), new(LeastConnections)}
	return NewPool(workers, selectors...), selectors
}

func BenchmarkAssign(b *testing.B) {
	for i, name := range []string{"round_robin", "least_connections"} {
		for _, weights := range []string{"equal", "weighted"} {
			for _, n := range []int{3, 100, 10_000} {
				run := func(kind string, bench func(*testing.B, *Pool, Selector)) {
					b.Run(fmt.Sprintf("%s/%s/%s/%d", name, weights, kind, n), func(b *testing.B) {
						p, selectors := benchPool(n, weights == "weighted")
						b.ReportAllocs()
						bench(b, p, selectors[i])
					})
				}
				run("serial", benchSerial)
				run("parallel", benchParallel)
			}
		}
	}
}

// benchSerial keeps 64 requests in flight, as a broker does.
func benchSerial(b *testing.B, p *Pool, s Selector) {
	var held [64]Lease
	for i := range held {
		held[i], _ = p.Assign(s, new(Tried))
	}
	i := 0
	tried := new(Tried)
	for b.Loop() {
		l := &held[i%len(held)]
		l.Release(Answered)
		*tried = Tried{}
		*l, _ = p.Assign(s, tried)
		i++
	}
}

func benchParallel(b *testing.B, p *Pool, s Selector) {
	b.RunParallel(func(pb *testing.PB) {
		tried := new(Tried)
		for pb.Next() {
			*tried = Tried{}
			l, _ := p.Assign(s, tried)
			l.Release(Answered)
		}
	})
}
