package status_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balancelab/internal/protocol"
	"balancelab/internal/server"
)

// A tally is what the page has drawn of the requests of one type: see dots.js.
type tally struct {
	Shape                          string
	Sent, Queued, Answers, Crosses int
	At                             map[string]int
}

// drawn returns the tally for each type.
func (b *browser) drawn() (all map[string]tally) {
	b.t.Helper()
	b.eval("drawn.tally()", &all)
	return all
}

// watching opens the page and waits until it hears of events.
func (b *browser) watching(l *lab) {
	b.t.Helper()
	b.look(1200, "light", "no-preference")
	b.visit(l.page)
	b.await(`drawn.hears() && document.querySelector("#link-text").textContent === "live"`)
}

// askAll sends requests one after another.
func (l *lab) askAll(n int, request string) {
	l.t.Helper()
	for range n {
		l.ask(request)
	}
}

// Every request of a plan is drawn: as many dots as /status.json counts, in the
// shapes of their types, at the workers that had them, and back as what they
// became. When all is over the page draws nothing.
func TestDotsFollowRequests(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, 30*time.Millisecond, 10*time.Millisecond)
	b.watching(l)
	l.askAll(5, "AppID:Long:round_robin")
	l.askAll(7, "AppID:Short:least_connections")
	l.stops["Worker-2"]()
	l.askAll(4, "AppID:Short:round_robin") // one of them is tried again
	l.ask("AppID:Medium:round_robin")
	l.stops["Worker-1"]()
	l.stops["Worker-3"]()
	l.ask("AppID:Long:round_robin")
	b.await(`Object.values(drawn.tally()).reduce((n, t) => n + t.answers + t.crosses, 0) === 18 && drawn.now().length === 0`)

	s, got := l.json(), b.drawn()
	at := map[string]int{}
	for _, d := range got {
		for worker, n := range d.At {
			at[worker] += n
		}
	}
	want := map[string]int{}
	for _, w := range s.Workers {
		want[w.Name] = w.Assigned
	}
	if !maps.Equal(at, want) {
		t.Errorf("dots came to workers %v, /status.json says %v", at, want)
	}
	long, short, refused := got["Long"], got["Short"], got["?"]
	if long.Shape != "circle" || long.Sent != 6 || long.Answers != 5 || long.Crosses != 1 {
		t.Errorf("Longs were drawn as %+v", long)
	}
	if short.Shape != "square" || short.Sent != 11 || short.Answers != 11 || short.Crosses != 0 {
		t.Errorf("Shorts were drawn as %+v", short)
	}
	if refused.Sent != 1 || refused.Crosses != 1 || len(refused.At) > 0 {
		t.Errorf("what was refused was drawn as %+v", refused)
	}
	if n := long.Answers + short.Answers; n != s.Totals.Answered {
		t.Errorf("%d answers were drawn, /status.json has %d", n, s.Totals.Answered)
	}
	b.await(`document.querySelector("#latest").textContent.includes("2 attempts")`)
	b.sleeps()
}

// sleeps checks that the page draws no more frames some time.
func (b *browser) sleeps() {
	b.t.Helper()
	var sleeps bool
	b.eval(`(async () => {
		for (const end = Date.now() + `+fmt.Sprint(enough.Milliseconds())+`; Date.now() < end;) {
			const n = drawn.frames();
			await new Promise((done) => setTimeout(done, 300)); // of six frames, if any are drawn
			if (drawn.frames() === n) return true;
		}
		return false;
	})()`, &sleeps)
	if !sleeps {
		b.t.Error("frames are drawn while nothing moves")
	}
}

// Dots wait where their requests wait: at the worker, and in the queue.
func TestDotsWait(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 1, 1, noOrders, 0, 0)
	addr := l.json().Workers[0].Addr
	l.stops["Worker-1"]()
	ends := make(chan struct{})
	l.serve("Worker-1", addr, func(ctx context.Context, conn *server.Conn) server.Handler {
		_, _ = protocol.ReadJob(conn)
		select {
		case <-ends:
		case <-ctx.Done():
		}
		_ = conn.Finish("Response from Worker")
		return nil
	})
	b.watching(l)
	var clients sync.WaitGroup
	clients.Go(func() { l.ask("AppID:Long:round_robin") })
	b.await(`drawn.now().length === 1 && drawn.now().every((d) => d.place === "at Worker-1" && d.type === "Long" && d.as === "request" && !d.moves)`)
	clients.Go(func() { l.ask("AppID:Short:round_robin") })
	b.await(`drawn.now().length === 2 && drawn.now().some((d) => d.place === "queue" && d.type === "Short" && !d.moves)`)
	b.await(`document.querySelector("#queue-now").textContent === "1"`)
	b.await(`document.querySelector("#stops .of").textContent === "L\u00a01 S\u00a00"`)
	b.sleeps()
	ends <- struct{}{}
	b.await(`drawn.tally().Long.answers === 1 && drawn.now().length === 1 && drawn.now()[0].place === "at Worker-1"`)
	ends <- struct{}{}
	b.await(`drawn.tally().Short.answers === 1 && drawn.now().length === 0`)
	clients.Wait()
	if got := b.drawn()["Short"].Queued; got != 1 {
		t.Errorf("%d Shorts were drawn in the queue, want 1", got)
	}
}

// Who wants less motion gets the numbers and no dots.
func TestNoDotsWithReducedMotion(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.look(1200, "light", "reduce")
	b.visit(l.page)
	b.await(`drawn.hears()`)
	l.askAll(3, "AppID:Short:round_robin")
	b.await(`document.querySelector("#answered").textContent === "3"`)
	if got := b.drawn(); len(got) > 0 {
		t.Errorf("the page has drawn %v", got)
	}
	b.sleeps()
}

// A hidden page keeps no stream, and one that gets none shows the numbers.
func TestPageWithoutStream(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	var streams atomic.Int32
	var refuses atomic.Bool
	l.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" && refuses.Load() {
				w.Header().Set("Retry-After", "10")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if r.URL.Path == "/events" {
				streams.Add(1)
				defer streams.Add(-1)
			}
			next.ServeHTTP(w, r)
		})
	}
	l.stops["page"]()
	l.openPage()
	b.watching(l)
	hide := func(hidden bool) {
		b.eval(fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %v, configurable: true }); document.dispatchEvent(new Event("visibilitychange"))`, hidden), nil)
	}
	hide(true)
	b.await("!drawn.hears()")
	for streams.Load() > 0 {
		l.ask("AppID:Short:round_robin") // until the server has seen that it has left
	}
	hide(false)
	b.await("drawn.hears()")
	if n := streams.Load(); n != 1 {
		t.Errorf("a page that is seen has %d streams", n)
	}
	hide(true)
	refuses.Store(true)
	hide(false)
	b.await(`!document.querySelector("#no-stream").hidden`)
	before := l.json().Totals.Answered
	l.ask("AppID:Short:round_robin")
	b.await(fmt.Sprintf(`document.querySelector("#answered").textContent === "%d"`, before+1))
}

// streaming has a lab's page hear these events, and none of the lab's.
func (l *lab) streaming(all []string) {
	l.t.Helper()
	l.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/events" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for _, text := range append([]string{`{"event":"hello","at":0}`}, all...) {
				fmt.Fprintf(w, "data: %s\n\n", text)
			}
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
	}
	l.stops["page"]()
	l.openPage()
}

// A dot that stands for several requests counts as many. A viewer that was too
// slow is told how much it has missed, and old dots go.
func TestDotsOfManyRequests(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	l.streaming([]string{
		`{"event":"assigned","at":1,"id":1,"n":1,"type":"Short","worker":"Worker-1","attempt":1}`,
		`{"event":"lost","at":2,"n":1234}`,
		`{"event":"answered","at":3,"id":1,"n":1,"type":"Short"}`,
		`{"event":"assigned","at":3,"id":2,"n":7,"type":"Long","worker":"Worker-2","attempt":1}`,
	})
	b.watching(l)
	b.await(`drawn.tally().Long.at["Worker-2"] === 7`)
	b.await(`document.querySelector("#happened").textContent.includes("missed 1,234 steps")`)
	var now []struct {
		ID, N int
		Place string
	}
	b.eval("drawn.now()", &now)
	if len(now) != 1 || now[0].ID != 2 || now[0].N != 7 || now[0].Place != "at Worker-2" {
		t.Errorf("drawn is %+v, want one dot for seven", now)
	}
}

// Words of the stream stay text, and the list of them is bounded.
func TestHappenedShowsHostileTextAsText(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf(`{"event":"note","at":1,"text":"<img src=x> %d"}`, i),
			fmt.Sprintf(`{"event":"assigned","at":1,"id":%d,"n":1,"type":"<b>","worker":"__proto__","attempt":1}`, i))
	}
	l.streaming(all)
	b.watching(l)
	b.await(`document.querySelector("#happened li span").textContent === "<img src=x> 39"`)
	var got struct{ Images, Lines int }
	b.eval(`({ Images: document.images.length, Lines: document.querySelectorAll("#happened li").length })`, &got)
	if got.Images != 0 || got.Lines > 20 {
		t.Errorf("the list has %d lines and %d images", got.Lines, got.Images)
	}
}

// When the broker is lost nothing moves; when it is found again, without a reload,
// dots move again.
func TestDotsOfALostBroker(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.watching(l)
	go l.ask("AppID:Short:round_robin")
	l.stops["page"]()
	b.await(`!document.querySelector("#lost").hidden && !drawn.hears() && drawn.now().length === 0`)
	b.sleeps()
	_, _ = l.pool.Drain("Worker-3")
	_, _ = l.pool.Remove("Worker-2")
	l.openPage()
	b.await(`document.querySelector("#lost").hidden && drawn.hears()`)
	for _, want := range []string{"Worker-3 has drained", "Worker-2 was removed"} { // while nobody heard of it
		b.await(fmt.Sprintf(`document.querySelector("#happened").textContent.includes(%q)`, want))
	}
	l.ask("AppID:Long:round_robin")
	b.await(`drawn.tally().Long?.answers === 1`)
}
