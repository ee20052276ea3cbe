package status_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/stats"
)

// controls is a selector of all that gives orders.
const controls = "#control, .starts, .drain, #workers input"

// click clicks the first element that a selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.querySelector(%q).click()", selector), nil)
}

// press presses a key and lets it go.
func (b *browser) press(key string) {
	b.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13, "ArrowRight": 39}[key]
	down := args{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if key == "Enter" {
		down["text"] = "\r"
	}
	b.call("Input.dispatchKeyEvent", down, nil)
	b.call("Input.dispatchKeyEvent", args{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
}

func TestNoButtonsWithoutControl(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	b.watching(l)
	var n int
	b.eval(fmt.Sprintf("document.querySelectorAll(%q).length", controls), &n)
	if n > 0 {
		t.Errorf("without control there are %d things to press", n)
	}
}

// Each button orders what it says, and only one run goes on at a time.
func TestButtonsOrderRuns(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#one")`)
	b.eval(`document.querySelector("#type").value = "Long"; document.querySelector("#approach").value = "least_connections"`, nil)
	least, turn := []any{"least_connections"}, []any{"Long", "Short", "Short"}
	for i, c := range []struct {
		prepare, button string
		want            map[string]any
	}{
		{"", "#one", map[string]any{"n": 1.0, "c": 1.0, "types": []any{"Long"}, "approaches": least}},
		{"", "#burst", map[string]any{"n": 30.0, "c": 30.0, "types": []any{"Long"}, "approaches": least}},
		{
			`const e = document.querySelector("#rate-of"); e.value = 4.5; e.dispatchEvent(new Event("input"))`, "#stream",
			map[string]any{"rate": 4.5, "types": turn, "approaches": least},
		},
		{`document.querySelector("#mix").value = "short"`, "#stream", map[string]any{"rate": 4.5, "types": []any{"Short"}, "approaches": least}},
		{`document.querySelector("#mix").value = "long"`, "#stream", map[string]any{"rate": 4.5, "types": []any{"Long"}, "approaches": least}},
		{
			`document.querySelector("#mix").value = "random"`, "#compare",
			map[string]any{"n": 30.0, "rate": 4.5, "mix": map[string]any{"Long": 1.0, "Short": 2.0}, "seed": 1.0, "compare": true},
		},
	} {
		b.eval("{"+c.prepare+"}", nil)
		b.click(c.button)
		b.await(`!document.querySelector("#stop").disabled && document.querySelector("#one").disabled`)
		if got, n := l.faked.ordered(); n != i+1 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s has ordered %v, the %d. order; want %v", c.button, got, n, c.want)
		}
		if got := b.text("#command"); got != "client -n 30 -c 30 Short round_robin" {
			t.Errorf("the command line is %q", got)
		}
		b.click("#stop")
		b.await(`document.querySelector("#stop").disabled && !document.querySelector("#one").disabled`)
		if l.faked.stops != i+1 {
			t.Errorf("%d runs were stopped, want %d", l.faked.stops, i+1)
		}
	}
	const rate = `["#rate-is", "#rate-of"].map((e) => document.querySelector(e).value)`
	var got []string
	if b.eval(rate, &got); !slices.Equal(got, []string{"4.5", "4.5"}) {
		t.Errorf("the rate is written as %q", got)
	}
	b.eval(`document.querySelector("#rate-is").focus()`, nil)
	for _, c := range []struct{ typed, want string }{{"7.5", "7.5"}, {"400", "40"}, {"", "40"}} {
		b.eval(fmt.Sprintf(`document.querySelector("#rate-is").select(); document.execCommand(%[1]q ? "insertText" : "delete", false, %[1]q)`, c.typed), nil)
		b.press("Enter")
		if b.eval(rate, &got); !slices.Equal(got, []string{c.want, c.want}) {
			t.Errorf("after %q and Enter the rate is %q, want %s", c.typed, got, c.want)
		}
	}
}

// The result of a comparison stands side by side until the viewer starts afresh, or
// another run has begun.
func TestComparisonStandsSideBySide(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#compare")`)
	b.click("#compare")
	b.await(`!document.querySelector("#stop").disabled`)
	const afresh = `document.querySelector("#afresh").disabled`
	l.faked.mu.Lock()
	l.faked.results = []map[string]any{{"name": "round_robin", "histogram": []any{}}, {"name": "least_connections", "histogram": []any{}}}
	l.faked.mu.Unlock()
	b.await(afresh) // what has not ended can't be put away
	l.faked.mu.Lock()
	l.faked.running, l.faked.results = false, nil
	for i, name := range []string{"round_robin", "least_connections", "one queue"} {
		l.faked.results = append(l.faked.results, map[string]any{
			"name": name, "answered": 30, "failed": i, "p50_seconds": 1.5, "p95_seconds": 2.5, "p99_seconds": 3.5, "max_seconds": 4.5, "most_in_flight": 7 - i,
			"histogram": []map[string]any{{"from": 1.25, "le": 1.6, "count": 10}, {"from": 1.6, "le": 2, "count": 0}, {"from": 4, "le": 5, "count": 20}},
		})
	}
	l.faked.mu.Unlock()
	b.await(`document.querySelectorAll(".side").length === 3`)
	if got := b.text("#beside-says"); got != "Least connections was <b>faster</b>." {
		t.Errorf("the sentence is %q", got)
	}
	var got [][]string
	b.eval(`[...document.querySelectorAll(".side")].map((e) => [e.querySelector("h3"), e.querySelector(".how-many"), ...e.querySelectorAll("dd")].map((e) => e.textContent))`, &got)
	want := [][]string{
		{"Round robin", "30 answered", "1.50 s", "2.50 s", "3.50 s", "4.50 s", "7"},
		{"Least connections", "30 answered, 1 failed", "1.50 s", "2.50 s", "3.50 s", "4.50 s", "6"},
		{"One queue", "30 answered, 2 failed", "1.50 s", "2.50 s", "3.50 s", "4.50 s", "5"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("side by side stand %q, want %q", got, want)
	}
	b.await("!" + afresh)
	l.faked.mu.Lock()
	l.faked.refuses = true
	l.faked.mu.Unlock()
	b.click("#compare")
	b.await(`!document.querySelector("#refusal").hidden`)
	var sides int
	if b.eval(`document.querySelectorAll(".side").length`, &sides); sides != 3 {
		t.Errorf("after a refusal %d parts stand side by side, want 3 still", sides)
	}
	b.click("#afresh")
	b.await(`document.querySelectorAll(".side").length === 2 && document.querySelector("#beside-says").textContent.startsWith("Since ")`)
}

// "Start afresh" is this viewer's zero: what was before it does not count.
func TestStartAfresh(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, 40*time.Millisecond, 10*time.Millisecond)
	b.watching(l)
	l.askAll(6, "AppID:Long:round_robin")
	var axis []string
	const says = `document.querySelector(".side .how-many").textContent`
	b.await(says + ` === "6 answered"`)
	b.click("#afresh")
	b.await(says + ` === "0 answered"`)
	b.eval(`[...document.querySelectorAll(".side")[0].querySelectorAll(".axis span")].map((e) => e.textContent)`, &axis)
	if want := []string{"100 ms", "320 ms", "1.00 s"}; !slices.Equal(axis, want) {
		t.Errorf("without an answer the axis has %q, want %q", axis, want)
	}
	l.askAll(2, "AppID:Short:round_robin")
	b.await(says + ` === "2 answered"`)
	var got []string
	b.eval(`[...document.querySelectorAll(".side")].map((e) => e.querySelector(".long").getAttribute("d"))`, &got)
	if !slices.Equal(got, []string{"", ""}) {
		t.Errorf("Longs from before the zero are drawn: %q", got)
	}
	const most = `document.querySelector(".side dl div:last-child dd").textContent`
	b.await(most + ` === "1"`)
}

// The time of a single request is the same here as among the figures of the last
// minute, and it is remembered when the minute is over.
func TestLongestTimeIsExact(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, 101*time.Millisecond) // not the middle of its bucket
	b.watching(l)
	l.ask("AppID:Short:round_robin")
	b.await(`document.querySelector(".side .how-many").textContent === "1 answered"`)
	const took = `[...document.querySelectorAll(".side dd")].slice(0, 4).map((e) => e.textContent)`
	var got, want, later []string
	b.eval(took, &got)
	b.eval(`[...document.querySelectorAll("#latency tbody tr:first-child td")].slice(1).map((e) => e.textContent)`, &want)
	b.eval(`(async () => {
		const s = await (await fetch("status.json")).json(), beside = await import("/beside.js");
		for (const row of s.last_minute.latency) row.max_seconds = 0;
		beside.show(s, false);
		return `+took+`;
	})()`, &later)
	if !slices.Equal(got, want) || !slices.Equal(later, want) {
		t.Errorf("side by side are %q, and %q after a minute; the table has %q", got, later, want)
	}

	bounds, err := json.Marshal(stats.Bounds())
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	b.eval(fmt.Sprintf(atEachBound, bounds), &wrong)
	for _, what := range wrong {
		t.Error(what)
	}
}

// atEachBound is a script that has a single request take just more than each bound
// of the buckets, and lists where that is not the longest time side by side.
const atEachBound = `(async () => {
	const s = await (await fetch("status.json")).json(), bounds = %s, wrong = [];
	const beside = await import("/beside.js"), { seconds } = await import("/text.js");
	const of = s.durations.find((h) => h.count === 1);
	const minute = s.last_minute.latency.find((l) => l.approach === of.approach && !l.type);
	for (let i = 1; i < bounds.length; i++) {
		of.buckets = [{ le: bounds[i], count: 1 }];
		minute.max_seconds = 1.00001 * bounds[i - 1];
		beside.show(s, true);
		const shown = document.querySelectorAll(".side dd")[3].textContent;
		if (shown !== seconds(minute.max_seconds)) wrong.push(minute.max_seconds + " s is shown as " + shown);
	}
	return wrong;
})()`

// Two runs stand side by side; a comparison starts afresh.
func TestRunsAddUp(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, realRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#burst")`)
	b.await(`[...document.querySelectorAll(".axis")].every((e) => e.textContent === "100 ms320 ms1.00 s")`)
	const over = `document.querySelector("#stop").disabled && document.querySelector("#progress").textContent.startsWith("Over")`
	b.click("#burst")
	b.await(over)
	b.await(`document.querySelectorAll(".side .how-many")[0].textContent === "30 answered"`)
	b.eval(`document.querySelector("#approach").value = "least_connections"`, nil)
	b.click("#burst")
	b.await(`[...document.querySelectorAll(".side .how-many")].every((e) => e.textContent === "30 answered")`)
	if got := b.text("#beside-says"); got != "Since the broker’s start." {
		t.Errorf("after two runs the page says %q", got)
	}
	b.await(over)
	b.eval(`document.querySelector("#rate-of").value = 40`, nil)
	b.click("#compare")
	b.await(`document.querySelector("#beside-says").textContent !== "Since the broker’s start."`)
	b.click("#stop")
}

// The command line is that of the latest press, also while a run goes on.
func TestCommandOfTheLatestPress(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#stream")`)
	b.click("#stream")
	b.await(`document.querySelector("#command").textContent.startsWith("client ") && !document.querySelector("#stop").disabled`)
	b.click(`#workers [data-worker="Worker-2"] .drain`)
	b.await(`document.querySelector("#command").textContent === "broker workers drain Worker-2"`)
	looks := l.faked.asked()
	b.await(`document.querySelector('#workers [data-worker="Worker-2"] .drain').textContent === "Up"`)
	for l.faked.asked() < looks+2 {
		b.eval(`new Promise((done) => setTimeout(done, 50))`, nil)
	}
	if got := b.text("#command"); got != "broker workers drain Worker-2" {
		t.Errorf("the run goes on, and the command line is %q", got)
	}
}

// When requests come that are not followed, the page does not make up how many were
// in flight at once.
func TestMostOfACrowdIsNotKnown(t *testing.T) {
	b := openBrowser(t)
	l := startLab(t, time.Millisecond, time.Millisecond)
	const assigned = `{"event":"assigned","at":1,"id":%d,"n":%d,"type":"Short","approach":"round_robin","worker":"Worker-1","attempt":1}`
	l.streaming([]string{`{"event":"crowded","at":1}`, fmt.Sprintf(assigned, 1, 1), fmt.Sprintf(assigned, 2, 1)})
	b.watching(l)
	b.await(`drawn.tally().Short.at["Worker-1"] === 2`)
	const most = `document.querySelector(".side dl div:last-child dd").textContent`
	b.await(most + ` === "–"`)
	b.click("#afresh")
	b.await(most + ` === "2"`)
}

// A double click is one order, and no refusal.
func TestDoubleClickIsOneOrder(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#one")`)
	b.eval(`{ const one = document.querySelector("#one"); one.click(); one.click(); }`, nil)
	b.await(`!document.querySelector("#stop").disabled`)
	if _, n := l.faked.ordered(); n != 1 || b.text("#refusal") != "" {
		t.Errorf("%d runs were ordered, and the page says %q", n, b.text("#refusal"))
	}
}

// An order that gets no answer says so in words of the page, not of the browser.
func TestOrderWithoutAnswer(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#one")`)
	l.stops["page"]()
	b.click("#one")
	b.await(`document.querySelector("#refusal").textContent.startsWith("The broker did not answer.")`)
	l.openPage()
	b.await(`document.querySelector("#lost").hidden && !document.querySelector("#one").disabled`)
	b.click("#one")
	b.await(`document.querySelector("#refusal").hidden && document.querySelector("#one").disabled`)
}

// A worker is drained, comes up, and gets another weight, by the buttons in its
// row; what is refused is said.
func TestButtonsOrderWorkers(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	const row = `#workers [data-worker="Worker-2"] `
	state := func() balance.State { return l.pool.Snapshot().Workers[1].State }
	b.await(fmt.Sprintf("document.querySelector(%q)", row+".drain"))
	b.click(row + ".drain")
	b.await(fmt.Sprintf(`document.querySelector(%q).textContent === "drained" && document.querySelector(%q).textContent === "Up"`, row+".word", row+".drain"))
	if got := b.text("#command"); state() != balance.Drained || got != "broker workers drain Worker-2" {
		t.Errorf("Worker-2 is %v, the command line %q", state(), got)
	}
	b.await(`document.querySelector("#happened").textContent.includes("Worker-2 has drained")`)
	b.click(row + ".drain")
	b.await(fmt.Sprintf(`document.querySelector(%q).textContent === "Drain"`, row+".drain"))
	if got := b.text("#command"); state() != balance.Up || got != "broker workers up Worker-2" {
		t.Errorf("Worker-2 is %v, the command line %q", state(), got)
	}
	weigh := func(n int) {
		b.eval(fmt.Sprintf(`{ const e = document.querySelector(%q); e.value = %d; e.dispatchEvent(new Event("change")); }`, row+"input", n), nil)
	}
	weigh(3)
	b.await(`document.querySelector("#command").textContent === "broker workers weight Worker-2 3"`)
	if got := l.pool.Snapshot().Workers[1].Weight; got != 3 {
		t.Errorf("the weight is %d, want 3", got)
	}
	weigh(1_000_000) // the browser says why not, and orders nothing

	l.faked.mu.Lock()
	l.faked.running = true // another viewer's run, of which this page does not know yet
	l.faked.mu.Unlock()
	b.click("#burst")
	b.await(`!document.querySelector("#refusal").hidden && document.querySelector("#refusal").textContent === "a run is going on"`)
	if got := l.pool.Snapshot().Workers[1].Weight; got != 3 {
		t.Errorf("the weight is %d, want 3 still", got)
	}
}

// All that can be pressed is reached by the Tab key, is seen to have the focus,
// and is pressed with Enter.
func TestPageByKeyboard(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, fakedRuns, time.Millisecond, time.Millisecond)
	b.watching(l)
	l.ask("AppID:" + strings.Repeat("x", 200) + ":round_robin")
	b.await(`document.querySelector("#one") && document.querySelector(".cut")`)
	var want, got []string
	const name = `(e.id || e.getAttribute("aria-label") || e.tagName + e.className)`
	b.eval(`[...document.querySelectorAll("a, button, input, select, summary")].filter((e) => e.checkVisibility() && !e.disabled).map((e) => `+name+`)`, &want)
	for range len(want) + 2 {
		b.press("Tab")
		var at struct {
			Name string
			Seen bool
		}
		b.eval(`(() => { const e = document.activeElement; return { Name: `+name+`, Seen: getComputedStyle(e).outlineStyle !== "none" }; })()`, &at)
		got = append(got, at.Name)
		if !at.Seen && at.Name != "BODY" { // past the last one
			t.Errorf("%s has the focus, and it is not seen", at.Name)
		}
		if at.Name == "burst" || at.Name == "SUMMARY" {
			b.press("Enter")
		}
		if at.Name == "burst" {
			b.await(`!document.querySelector("#stop").disabled && document.querySelector("#one").disabled`) // it runs
			if body, n := l.faked.ordered(); n != 1 || body["n"] != 30.0 {
				t.Errorf("Enter has ordered %v", body)
			}
			l.faked.mu.Lock()
			l.faked.running = false
			l.faked.mu.Unlock()
			b.await(`!document.querySelector("#one").disabled`)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("the Tab key does not come to %s, but to %q", name, got)
		}
	}
	b.await(`document.querySelector(".cut").open`)
}

// A hundred workers are a grid; the table has the one that was chosen, by the
// keyboard too, or all on demand.
func TestPageOfACrowd(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 100, 0, noOrders, time.Millisecond, time.Millisecond)
	b.watching(l)
	l.ask("AppID:Short:round_robin")
	b.await(`document.querySelectorAll("#stops .pick").length === 100 && document.querySelector('[data-at="Worker-1"]').dataset.state === "up"`)
	var height float64
	b.eval(`document.querySelector("#figures-title").getBoundingClientRect().bottom + scrollY`, &height)
	if height > 1800 {
		t.Errorf("what matters ends at %.0f pixels, want two screens", height)
	}
	listed := func() (n int) {
		b.eval(`[...document.querySelectorAll("#workers tbody tr")].filter((e) => e.checkVisibility()).length`, &n)
		return n
	}
	if n := listed(); n != 0 {
		t.Errorf("%d workers are in the table before one is chosen", n)
	}
	b.eval(`document.querySelector('[data-at="Worker-42"] button').focus()`, nil)
	b.press("Enter")
	b.await(`document.querySelector('#workers [data-worker="Worker-42"]').checkVisibility()`)
	if n := listed(); n != 1 {
		t.Errorf("%d workers are in the table, want the one that was chosen", n)
	}
	b.click("#show-all")
	b.await(`document.querySelectorAll("#workers tbody tr").length === 100`)
}

// A real comparison: the page shows what GET /run says, as the broker counted it,
// and its dots are those of the run.
func TestComparisonOfTheBroker(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 1, realRuns, 30*time.Millisecond, 10*time.Millisecond)
	b.watching(l)
	b.await(`document.querySelector("#compare")`)
	b.eval(`document.querySelector("#rate-of").value = 40`, nil)
	b.click("#compare")
	b.await(`document.querySelectorAll(".side").length === 3 && document.querySelector("#progress").textContent.startsWith("Over")`)
	report := l.runner.Report()
	if got := b.text("#beside-says"); got != report.Sentence || got == "" {
		t.Errorf("the sentence is %q, GET /run has %q", got, report.Sentence)
	}
	for i, r := range report.Results {
		var got []string
		b.eval(fmt.Sprintf(`[...document.querySelectorAll(".side")[%d].querySelectorAll(".how-many, dd")].map((e) => e.textContent)`, i), &got)
		if got[0] != "30 answered" || got[5] != fmt.Sprint(r.Most) {
			t.Errorf("%s is shown as %q, GET /run has %+v", r.Name, got, r)
		}
	}
	b.await(`Object.values(drawn.tally()).reduce((n, t) => n + t.answers, 0) === 90 && drawn.now().length === 0`)
	b.await(`document.querySelector("#happened").textContent.includes("A comparison begins")`)
}
