package status_test

import (
	"flag"
	"sync"
	"testing"
	"time"

	"balancelab/internal/version"
)

var cost = flag.Duration("cost", 0, "have TestPageCost look at each page for so `long`")

// spent returns the processor time, in seconds, that the browser has used for the
// page and for its pictures, so far.
func (b *browser) spent() (all map[string]float64) {
	b.t.Helper()
	var reply struct {
		ProcessInfo []struct {
			Type    string
			CPUTime float64
		}
	}
	session := b.session
	b.session = "" // the browser's own
	b.call("SystemInfo.getProcessInfo", args{}, &reply)
	b.session = session
	all = map[string]float64{}
	for _, p := range reply.ProcessInfo {
		all[p.Type] += p.CPUTime
	}
	return all
}

// paced asks this many times a second until the returned function is called.
func (l *lab) paced(rate int) (stop func()) {
	end := make(chan struct{})
	var clients sync.WaitGroup
	clients.Go(func() {
		next := time.NewTicker(time.Second / time.Duration(rate))
		defer next.Stop()
		for k := 0; ; k++ {
			select {
			case <-next.C:
				request := "AppID:" + []string{"Long", "Short", "Short"}[k%3] + ":" + []string{"least_connections", "round_robin"}[k%2]
				clients.Go(func() { l.ask(request) })
			case <-end:
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { close(end); clients.Wait() })
	l.t.Cleanup(stop)
	return stop
}

// TestPageCost prints how much of a core the page takes in the browser, idle and
// with 20 requests a second. It is printed only, because it depends on the
// machine, and only if -cost says for how long to look: 20s gives exact figures.
func TestPageCost(t *testing.T) {
	if *cost == 0 || version.RaceDetector {
		t.Skip("needs -cost, and no race detector")
	}
	for _, c := range []struct {
		name          string
		workers, rate int
	}{
		{"idle, 3 workers", 3, 0},
		{"20 requests a second, 3 workers", 3, 20},
		{"20 requests a second, 100 workers", 100, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openBrowser(t)
			l := startLabOf(t, c.workers, 0, noOrders, 500*time.Millisecond, 100*time.Millisecond)
			b.look(1200, "light", "no-preference")
			b.visit(l.page)
			b.await(`document.readyState === "complete" && drawn.hears() && document.querySelector("#link-text").textContent === "live"`)
			if c.rate > 0 {
				l.paced(c.rate)
				b.await(`document.querySelectorAll("#latest tbody tr").length === 15`)
			}
			before, start := b.spent(), time.Now()
			var frames [2]int
			b.eval("drawn.frames()", &frames[0])
			time.Sleep(*cost)
			b.eval("drawn.frames()", &frames[1])
			after, took := b.spent(), time.Since(start).Seconds()
			part := func(kind string) float64 { return 100 * (after[kind] - before[kind]) / took }
			t.Logf("%.1f %% of a core: %.1f the page, %.1f its pictures; %.1f frames a second",
				part("renderer")+part("GPU"), part("renderer"), part("GPU"), float64(frames[1]-frames[0])/took)
		})
	}
}
