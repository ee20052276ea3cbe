package status_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"balancelab/internal/balance"
)

// foreignOrders is what a page tries to send to one at another URL: without a
// preflight, as a form could too, and with one. It returns what it could read.
const foreignOrders = `(async () => {
	const read = [];
	const send = async (path, options) => {
		try { if ((await fetch(%q + path, options)).type !== "opaque") read.push(path); } catch {}
	};
	const run = JSON.stringify({ n: 1, c: 1, types: ["Long"], approaches: ["round_robin"] });
	const json = { "Content-Type": "application/json" };
	await send("/run", { method: "POST", mode: "no-cors", body: run });
	await send("/workers", { method: "POST", mode: "no-cors", body: '{"addr":"127.0.0.1:9"}' });
	await send("/run", { method: "POST", headers: json, body: run });
	await send("/run", { method: "DELETE" });
	await send("/workers/Worker-1", { method: "PATCH", headers: json, body: '{"state":"draining"}' });
	await send("/run");
	await send("/status.json");
	return read;
})()`

// A page of another origin, in a browser on this machine, gives no orders and
// reads no answers: neither from another site nor from another port of this one.
func TestForeignPageGivesNoOrders(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, realRuns, time.Millisecond, time.Millisecond)
	answers := l.noting()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Another page</title><form method=post target=answer></form><iframe name=answer></iframe>")
	}))
	defer foreign.Close()
	for _, url := range []string{foreign.URL, strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1)} {
		b.visit(url)
		b.await(`document.forms.length === 1`)
		var read []string
		b.eval(fmt.Sprintf(foreignOrders, l.page), &read)
		if len(read) > 0 {
			t.Errorf("a page of %s reads the answers of %q", url, read)
		}
		b.eval(fmt.Sprintf(`new Promise((done) => {
			const form = document.forms[0];
			form.action = %q;
			document.querySelector("iframe").onload = done;
			form.submit();
		}).then(() => 0)`, l.page+"/run"), nil)
	}
	if r := l.runner.Report(); r.ID != 0 {
		t.Errorf("another page has begun a run: %+v", r)
	}
	if w := l.pool.Snapshot().Workers; len(w) != 3 || w[0].State != balance.Up {
		t.Errorf("another page has changed the workers: %+v", w)
	}
	got, want := answers(), []string{"POST /run 403", "POST /workers 403"}
	for _, answer := range want {
		if !slices.Contains(got, answer) {
			t.Errorf("the answers were %q, want %s", got, answer)
		}
	}
	for _, answer := range got {
		if strings.HasPrefix(answer, "POST") && !slices.Contains(want, answer) {
			t.Errorf("another page's order was answered: %s", answer)
		}
	}
}

// noting opens the page anew, and returns what says how it has answered since.
func (l *lab) noting() func() []string {
	l.t.Helper()
	var mu sync.Mutex
	var answers []string
	l.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			noted := &codeNoter{ResponseWriter: w}
			next.ServeHTTP(noted, r)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, noted.code))
		})
	}
	l.stops["page"]()
	l.openPage()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(answers)
	}
}

// A codeNoter keeps the code of an answer.
type codeNoter struct {
	http.ResponseWriter
	code int
}

func (n *codeNoter) WriteHeader(code int) {
	n.code = code
	n.ResponseWriter.WriteHeader(code)
}
