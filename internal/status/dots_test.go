package status_test

import (
	"context"
	"fmt"
	"io"
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

// sleeps checks that the page soon draws no more frames.
func (b *browser) sleeps() {
	b.t.Helper()
	var sleeps bool
	b.eval(`(async () => {
		for (const end = Date.now() + 10000; Date.now() < end;) {
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

// A hostile worker's error stays text in the list of what happened, as do words
// of the stream.
func TestHappenedShowsHostileTextAsText(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	l.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/events" {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, `data: {"event":"hello","at":0}`+"\n\n")
			for i := range 40 {
				fmt.Fprintf(w, `data: {"event":"note","at":1,"text":"<img src=x> %d"}`+"\n\n", i)
				fmt.Fprintf(w, `data: {"event":"assigned","at":1,"id":%d,"n":1,"type":"<b>","worker":"__proto__","attempt":1}`+"\n\n", i)
			}
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
	}
	l.stops["page"]()
	l.openPage()
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
	l.openPage()
	b.await(`document.querySelector("#lost").hidden && drawn.hears()`)
	l.ask("AppID:Long:round_robin")
	b.await(`drawn.tally().Long?.answers === 1`)
}
