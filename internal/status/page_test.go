package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/stats"
)

// ask sends a request as it is written and returns the answer.
func (l *lab) ask(request string) string {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Error(err)
		return ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * enough))
	fmt.Fprintf(conn, "%s\n", request)
	answer, err := protocol.ReadAnswer(conn)
	if err != nil {
		l.t.Error(err)
	}
	return answer
}

// load asks with n clients at once until the returned function is called.
func (l *lab) load(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() {
			for k := i; ctx.Err() == nil; k++ {
				l.ask("AppID:" + []string{"Long", "Short", "Short"}[k%3] + ":" + []string{"least_connections", "round_robin"}[k%2])
			}
		})
	}
	stop = func() { cancel(); clients.Wait() }
	l.t.Cleanup(stop)
	return stop
}

// json returns /status.json.
func (l *lab) json() (s stats.Snapshot) {
	l.t.Helper()
	reply, err := http.Get(l.page + "/status.json")
	if err != nil {
		l.t.Fatal(err)
	}
	defer reply.Body.Close()
	if err := json.NewDecoder(reply.Body).Decode(&s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// barOf is a script that returns the width of a worker's bar.
const barOf = `parseFloat(document.querySelector('[data-worker="%s"] .flight .bar i').style.width)`

// TestPageMoves has a load run while the page is open. When the load is over, it
// compares the page with /status.json.
func TestPageMoves(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, 60*time.Millisecond, 20*time.Millisecond)
	b.visit(l.page)
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	if got := b.text("#none"); !strings.Contains(got, "None yet") {
		t.Errorf("an idle page says %q", got)
	}
	stop := l.load(9)
	for _, name := range []string{"Worker-1", "Worker-2", "Worker-3"} {
		b.await(fmt.Sprintf(barOf, name) + " > 0")
	}
	b.await(`document.querySelectorAll("#latest tbody tr").length === 15`)
	b.await(`parseFloat(document.querySelector("#rate").textContent) > 0`)
	b.await(`document.querySelector('[data-worker="Worker-1"] .plot path').getAttribute("d").length > 20`)
	stop()
	for _, name := range []string{"Worker-1", "Worker-2", "Worker-3"} {
		b.await(fmt.Sprintf(barOf, name) + " === 0")
	}

	// One of the two may be older, and still have a client whose answer is on its way.
	wrong := b.differences(l.json())
	for deadline := time.Now().Add(enough / 2); len(wrong) > 0 && time.Now().Before(deadline); {
		wrong = b.differences(l.json())
	}
	for _, what := range wrong {
		t.Error(what)
	}
	if l.json().Totals.Answered == 0 {
		t.Error("nothing was answered")
	}
}

// differences returns where the page and s do not agree, in words.
func (b *browser) differences(s stats.Snapshot) (all []string) {
	b.t.Helper()
	got := b.numbers()
	for name, want := range b.expected(s) {
		if got[name] != want {
			all = append(all, fmt.Sprintf("%s: the page says %q, /status.json %q", name, got[name], want))
		}
	}
	return all
}

// numbers returns the page's figures by name, without separators.
func (b *browser) numbers() (all map[string]string) {
	b.t.Helper()
	b.eval(`(() => {
		const all = {}, put = (name, e) => all[name] = e.textContent.replaceAll(",", "");
		for (const id of ["clients", "answered", "failed", "waiting"]) put(id, document.getElementById(id));
		document.querySelectorAll("#latency tbody tr").forEach((tr, i) => [...tr.children].forEach((e, j) => put("latency " + i + " " + j, e)));
		for (const tr of document.querySelectorAll("#workers tbody tr")) {
			for (const c of ["addr", "word", "weight", "rr", "lc", "failed"]) put(tr.dataset.worker + " " + c, tr.querySelector("." + c));
			put(tr.dataset.worker + " in flight", tr.querySelector(".flight .n"));
			put(tr.dataset.worker + " most", tr.querySelector(".flight small"));
		}
		for (const tr of document.querySelectorAll("#spread tbody tr")) {
			tr.querySelectorAll(".share .n").forEach((e, i) => put(tr.querySelector("b").textContent + " share " + i, e));
		}
		for (const c of ["type", "worker", "took"]) put("latest " + c, document.querySelector("#latest tbody ." + c));
		return all;
	})()`, &all)
	return all
}

// expected returns what numbers is to be. How times and shares are written is
// left to the page.
func (b *browser) expected(s stats.Snapshot) map[string]string {
	b.t.Helper()
	written := func(function string, x float64) (text string) {
		b.t.Helper()
		b.eval(fmt.Sprintf(`import("/text.js").then((m) => m.%s(%v))`, function, x), &text)
		return text
	}
	latest := s.Latest[0]
	all := map[string]string{
		"clients": fmt.Sprint(s.Clients), "answered": fmt.Sprint(s.Totals.Answered), "failed": fmt.Sprint(s.Totals.Refused), "waiting": "0",
		"latest type": latest.Type.String(), "latest worker": latest.Worker, "latest took": written("seconds", latest.Seconds),
	}
	for i, l := range s.LastMinute.Latency {
		row := []string{l.Type.String(), fmt.Sprint(l.Answered)}
		if l.Type == protocol.NoType {
			row[0] = map[protocol.Approach]string{protocol.RoundRobin: "Round robin", protocol.LeastConnections: "Least connections"}[l.Approach]
		}
		for _, took := range []float64{l.P50, l.P95, l.P99, l.Max} {
			row = append(row, written("seconds", took))
		}
		for j, text := range row {
			all[fmt.Sprintf("latency %d %d", i, j)] = text
		}
	}
	for i, w := range s.Workers {
		for name, value := range map[string]any{
			"addr": w.Addr, "word": w.State, "weight": w.Weight, "failed": w.Failed, "in flight": w.InFlight,
			"rr": w.Answered[protocol.RoundRobin], "lc": w.Answered[protocol.LeastConnections],
			"most": fmt.Sprintf("at most %d since the start", w.Peak),
		} {
			all[w.Name+" "+name] = fmt.Sprint(value)
		}
		for j, p := range s.Spread {
			all[fmt.Sprintf("%s share %d", w.Name, j)] = written("percent", p.Shares[i])
		}
	}
	return all
}

func TestPageSaysThatItLostTheBroker(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	l.ask("AppID:Short:round_robin")
	b.visit(l.page)
	b.await(`document.querySelector("#answered").textContent === "1"`)
	const notice = `document.querySelector("#lost")`
	b.await(notice + ".hidden")

	l.stops["page"]()
	b.await("!" + notice + ".hidden && " + notice + `.textContent.includes("does not answer")`)
	if said := b.text("#said"); !strings.Contains(said, "does not answer") {
		t.Errorf("a screen reader is told %q", said)
	}
	if got := b.text("#answered"); got != "1" {
		t.Errorf("the last figures are gone: %q", got)
	}
	l.ask("AppID:Short:round_robin")
	l.openPage()
	b.await(notice + `.hidden && document.querySelector("#answered").textContent === "2"`)
	if said := b.text("#said"); said != "The broker is back." {
		t.Errorf("a screen reader is told %q", said)
	}

	l.stops["page"]()
	b.await("!" + notice + ".hidden")
	l.recorder = stats.New(l.pool, console.Off{}) // as a broker has that was started anew
	l.openPage()
	b.await(notice + `.hidden && document.querySelectorAll("#latest tbody tr").length === 0`)
	if said := b.text("#said"); said != "The broker is back; it was started anew." {
		t.Errorf("a screen reader is told %q", said)
	}
}

// TestPageKeepsABrokerThatClosesConnections has every second answer break off in
// the middle, as the server does that needs the place. Not even a screen reader
// is told.
func TestPageKeepsABrokerThatClosesConnections(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	var looks atomic.Int32
	l.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/status.json" && looks.Add(1)%2 == 1 {
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, "{")
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
	l.stops["page"]()
	l.openPage()
	b.visit(l.page)
	for i := range 3 {
		l.ask("AppID:Short:round_robin")
		b.await(fmt.Sprintf(`document.querySelector("#answered").textContent === "%d"`, i+1))
	}
	if n := looks.Load(); n < 6 {
		t.Errorf("the page has looked %d times", n)
	}
	if said := b.text("#said"); said != "" {
		t.Errorf("a screen reader is told %q", said)
	}
}

func TestPageSaysThatLinesAreMissing(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.visit(l.page)
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	const notice = `document.querySelector("#unwritten")`
	b.await(notice + ".hidden")
	l.dropped.Store(1234)
	b.await("!" + notice + ".hidden && " + notice + `.textContent.endsWith("could not be written: 1,234")`)
}

// TestPageLosesABrokerThatHangs has the broker accept, and say nothing more.
func TestPageLosesABrokerThatHangs(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.visit(l.page)
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	l.hung.Lock()
	resume := sync.OnceFunc(l.hung.Unlock)
	defer resume()
	b.eval("patience = 0.1", nil)
	b.await(`!document.querySelector("#lost").hidden`)
	b.eval("patience = 20", nil)
	resume()
	b.await(`document.querySelector("#lost").hidden`)
}

func TestPageShowsHostileTextAsText(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	const evil = `<img src=x onerror=document.title="taken">`
	addr := l.json().Workers[0].Addr
	l.stops["Worker-1"]()
	l.serve("Worker-1", addr, func(_ context.Context, conn *server.Conn) server.Handler {
		_, _ = protocol.ReadJob(conn)
		_ = conn.Finish(evil)
		return nil
	})
	b.visit(l.page)
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	l.ask("AppID:" + evil + ":round_robin")
	b.await(`document.querySelector("#latest .outcome small").textContent.includes("<img src=x onerror=")`)
	if got := l.ask("AppID:Short:round_robin"); got != evil {
		t.Fatalf("the hostile worker answered %q", got)
	}
	b.await(`document.querySelector('#latest [data-outcome="answered"] .outcome small').textContent === ` + fmt.Sprintf("%q", evil))
	var images int
	b.eval(`document.images.length`, &images)
	if images != 0 {
		t.Error("text from the wire became an element")
	}
	var blocked bool
	b.eval(`new Promise((done) => {
		document.addEventListener("securitypolicyviolation", () => done(true));
		const s = document.createElement("script");
		s.textContent = "window.taken = true";
		document.head.append(s);
		setTimeout(() => done(false), `+fmt.Sprint(enough.Milliseconds())+`);
	})`, &blocked)
	if !blocked {
		t.Error("the policy lets a script run that is not the page's own")
	}
}

func TestPageShowsAWorkerDown(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector('[data-worker="Worker-2"]').dataset.state === "not asked yet"`)
	addr := l.json().Workers[1].Addr
	l.stops["Worker-2"]()
	stop := l.paced(20) // a page that is late sees a later cool-down, which is longer
	const row = `document.querySelector('[data-worker="Worker-2"]')`
	b.await(row + `.querySelector(".word").textContent === "cooling down" && ` +
		`/^for another \d+ s$/.test(` + row + `.querySelector(".state small").textContent)`)
	b.await(row + `.querySelector(".error").textContent.includes("connection refused")`)
	b.await(`document.querySelector("#happened").textContent.includes("Worker-2 is cooling down")`)
	stop()
	l.worker("Worker-2", addr, time.Millisecond, time.Millisecond)
	b.await(row + `.querySelector(".word").textContent === "due for a trial" && ` +
		row + `.querySelector(".state small").textContent === "the next request is its trial"`)
	for range 3 {
		l.ask("AppID:Short:round_robin")
	}
	b.await(row + `.querySelector(".word").textContent === "up" && ` +
		`/^answered \d+ s ago$/.test(` + row + `.querySelector(".state small").textContent)`)
	b.await(`document.querySelector("#happened").textContent.includes("Worker-2 is up again")`)
}

// TestLatestErrorIsTheReason: the advice that the client gets with it would
// fill the page.
func TestLatestErrorIsTheReason(t *testing.T) {
	l := startLab(t, time.Millisecond, time.Millisecond)
	addr := l.json().Workers[0].Addr
	l.stops["Worker-1"]()
	l.serve("Worker-1", addr, func(_ context.Context, conn *server.Conn) server.Handler {
		_, _ = protocol.ReadJob(conn)
		conn.Close()
		return nil
	})
	l.ask("AppID:Short:round_robin")
	if e := l.recorder.Snapshot().Workers[0].Error; e == nil || e.Text != "closed without an answer" {
		t.Errorf("the latest error is %+v", e)
	}
}

// TestPageFits looks at the page as a phone and as a screen reader do.
func TestPageFits(t *testing.T) {
	b := openBrowser(t)
	t.Run("without buttons", func(t *testing.T) { b.fits(t, noOrders, `cell "up answered `, `cell "not asked yet"`) })
	t.Run("with buttons", func(t *testing.T) {
		b.fits(t, fakedRuns, `button "Drain Worker-1"`, `spinbutton "Weight of Worker-1"`, `button "Compare"`)
	})
}

func (b *browser) fits(t *testing.T, takes orders, wants ...string) {
	l := startLabOf(t, 3, 0, takes, time.Millisecond, time.Millisecond)
	l.ask("AppID:Short:round_robin")
	l.ask("AppID:" + strings.Repeat("x", 60) + ":round_robin")
	b.visit(l.page)
	b.await(`document.querySelectorAll("#latest tbody tr").length === 2`)
	for _, width := range []int{320, 390, 700, 1200, 1920} {
		b.look(width, "light", "reduce")
		var outside []string
		b.eval(`(() => {
			for (const e of document.querySelectorAll("#latency td")) e.textContent = "29 min 59 s"; // as wide as a time gets
			return Array.from(document.querySelectorAll("main *")).filter((e) =>
				e.getBoundingClientRect().right > document.documentElement.clientWidth && !e.closest("thead")).map((e) => e.tagName + " " + e.className);
		})()`, &outside)
		if len(outside) > 0 {
			t.Errorf("at a width of %d these do not fit: %s", width, outside)
		}
		tree := b.tree()
		for _, want := range append([]string{
			`heading "Workers"`, `log "What happened"`, `list "Workers, with their requests in flight"`, `table "Workers"`, `table "How even is the spread?"`, `table "How long requests took, last minute"`, `table "Latest requests"`, `columnheader "State"`, `rowheader "Worker-1 127.0.0.1`,
		}, wants...) {
			if !strings.Contains(tree, want) {
				t.Errorf("at a width of %d a screen reader does not get %s:\n%s", width, want, tree)
			}
		}
	}
}

// TestPageContrast checks that all text can be told from its ground, as WCAG
// 2.2 has it (4.5 to 1), in light and dark, with a worker down, live and lost.
func TestPageContrast(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	l.stops["Worker-2"]()
	for range 9 {
		l.ask("AppID:Short:round_robin")
	}
	l.ask("AppID:Medium:round_robin")
	b.await(`document.querySelector('[data-worker="Worker-2"]').dataset.state.match(/cooling|trial/)`)
	check := func(when string) {
		for _, colours := range []string{"light", "dark"} {
			b.look(1000, colours, "reduce")
			var faint []string
			b.eval(contrast, &faint)
			for _, what := range faint {
				t.Errorf("%s, %s: %s", when, colours, what)
			}
		}
	}
	check("live")
	b.click("#burst")
	b.await(`!document.querySelector("#stop").disabled && document.querySelector("#happened").textContent !== ""`)
	check("running")
	l.stops["page"]()
	b.await(`!document.querySelector("#lost").hidden`)
	check("lost")
}

// contrast is a script that lists the elements whose own text is too faint.
const contrast = `(() => {
	const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const ground = (e) => {
		for (; e; e = e.parentElement) {
			const colour = parse(getComputedStyle(e).backgroundColor);
			if (colour.length === 3) return colour;
		}
	};
	const opacity = (e) => e ? getComputedStyle(e).opacity * opacity(e.parentElement) : 1;
	const faint = [];
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
		if (!own || !e.checkVisibility()) continue;
		const back = ground(e), part = opacity(e);
		const front = parse(getComputedStyle(e).color).map((c, i) => part * c + (1 - part) * back[i]);
		const [a, b] = [light(front), light(back)];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) faint.push(e.tagName + " " + e.id + e.className + " " + JSON.stringify(e.textContent) + ": " + ratio.toFixed(2));
	}
	return faint;
})()`

// TestManyPagesBesideRequests has a hundred pages ask twice a second, as the
// page does, and one that never reads, until a hundred requests were answered
// beside them. How long those take with and without the pages is logged only,
// because it also depends on what else the machine does.
func TestManyPagesBesideRequests(t *testing.T) {
	l := startLab(t, 0, 0)
	times := func(more func(n int) bool) (all []time.Duration) {
		for more(len(all)) {
			start := time.Now()
			l.ask("AppID:Short:least_connections")
			all = append(all, time.Since(start))
		}
		slices.Sort(all)
		return all
	}
	without := times(func(n int) bool { return n < 500 })

	const pages, looks, wanted = 100, 4, 100
	conn, err := net.Dial("tcp", l.pageAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for err == nil { // until nothing is taken any more
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = io.WriteString(conn, strings.Repeat("GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 100))
	}
	var looked atomic.Int32
	var over atomic.Bool // no request is sent any more
	var looking sync.WaitGroup
	for i := range pages {
		looking.Go(func() {
			client := http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			next := time.NewTimer(time.Duration(i) * 500 * time.Millisecond / pages)
			for n := 0; n < looks || !over.Load(); n++ {
				<-next.C
				next.Reset(500 * time.Millisecond)
				reply, err := client.Get(l.page + "/status.json")
				if err != nil {
					t.Error(err)
				} else {
					io.Copy(io.Discard, reply.Body)
					reply.Body.Close()
				}
				looked.Add(1)
			}
		})
	}
	end := time.Now().Add(enough)
	with := times(func(n int) bool { return (looked.Load() < pages*looks || n < wanted) && time.Now().Before(end) })
	over.Store(true)
	looking.Wait()
	t.Logf("95 of 100 requests took at most %v, and %v with %d pages; the slowest of %d then took %v",
		without[len(without)*95/100], with[len(with)*95/100], pages, len(with), with[len(with)-1])
	if len(with) < wanted {
		t.Errorf("%d requests were answered beside the pages within %v", len(with), enough)
	}
}

// The bar of a worker shows how much it has for its weight, or of its limit.
func TestBarsRespectWeightsAndLimits(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Minute, time.Minute)
	_, wrong := l.pool.SetWeight("Worker-2", 2)
	_, wrongToo := l.pool.SetLimit("Worker-3", 1)
	if wrong != nil || wrongToo != nil {
		t.Fatal(wrong, wrongToo)
	}
	b.visit(l.page)
	for range 3 {
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, "AppID:Long:least_connections") // in flight until the workers end
	}
	for name, part := range map[string]int{"Worker-1": 25, "Worker-2": 12, "Worker-3": 100} {
		b.await(fmt.Sprintf("Math.floor("+barOf+") === %d", name, part))
	}
}
