package control

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"balancelab/internal/balance"
	"balancelab/internal/console"
	"balancelab/internal/runs"
)

// A run that waits for ever.
const waiting = `{"n":2,"c":2,"types":["Long"],"approaches":["round_robin"]}`

// newRunner returns a Runner whose requests get no answer.
func newRunner(t *testing.T) *runs.Runner {
	r := runs.New(runs.Config{
		Pool: balance.NewPool(nil), Addr: "127.0.0.1:8000", Observer: console.Off{},
		Dial: func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	})
	t.Cleanup(r.Close)
	return r
}

// give gives an order to h, as the browser of a page of site would, or as
// another program if site is "".
func give(h http.Handler, method, body, site string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080/run", strings.NewReader(body))
	if site != "" {
		r.Header.Set("Origin", site)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// reported checks the code of an answer, and returns the report in it.
func reported(t *testing.T, what string, w *httptest.ResponseRecorder) (r runs.Report) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK {
		t.Errorf("%s: %d %s: %v", what, w.Code, w.Body, err)
	}
	return r
}

// refused checks that an order was refused in words.
func refused(t *testing.T, what string, w *httptest.ResponseRecorder, code int, want string) {
	t.Helper()
	var no refusal
	if err := json.Unmarshal(w.Body.Bytes(), &no); err != nil || w.Code != code || !strings.Contains(no.Error, want) {
		t.Errorf("%s: %d %q, want %d and %q: %v", what, w.Code, w.Body, code, want, err)
	}
}

// A run is begun, watched and stopped.
func TestRun(t *testing.T) {
	runner := newRunner(t)
	h := Runs(runner)
	if r := reported(t, "before", give(h, "GET", "", "")); r.ID != 0 || r.Running {
		t.Errorf("before: %+v", r)
	}
	if r := reported(t, "DELETE before", give(h, "DELETE", "", "")); r.ID != 0 {
		t.Errorf("stopped before: %+v", r)
	}
	if r := reported(t, "POST", give(h, "POST", waiting, "http://127.0.0.1:8080")); !r.Running || r.ID != 1 || r.Command != "client -n 2 -c 2 Long round_robin" {
		t.Errorf("begun: %+v", r)
	}
	refused(t, "a second", give(h, "POST", waiting, ""), http.StatusConflict, "a run goes on")
	if r := reported(t, "GET", give(h, "GET", "", "")); !r.Running {
		t.Errorf("meanwhile: %+v", r)
	}
	if r := reported(t, "DELETE", give(h, "DELETE", "", "")); r.Running || r.ID != 1 || !strings.HasPrefix(r.Sentence, "It was stopped: 0 of 2 requests") {
		t.Errorf("stopped: %+v", r)
	}
	runner.Close()
	refused(t, "after Close", give(h, "POST", waiting, ""), http.StatusServiceUnavailable, "stopping")
}

// What is refused begins nothing.
func TestRefusedRuns(t *testing.T) {
	h := Runs(newRunner(t))
	for _, test := range []struct {
		name, method, body, site string
		code                     int
		want                     string
	}{
		{"no order", "POST", "", "", 400, "the order is empty"},
		{"an unknown field", "POST", `{"speed":1}`, "", 400, `unknown field "speed"`},
		{"an unknown type", "POST", `{"types":["Medium"]}`, "", 400, "Medium"},
		{"something behind it", "POST", waiting + "{}", "", 400, "something behind it"},
		{"too much", "POST", `{"types":["` + strings.Repeat("Long", maxBody), "", 413, "at most 4096 bytes"},
		{"out of bounds", "POST", `{"n":100001,"types":["Long"],"approaches":["round_robin"]}`, "", 400, "n must be from 0 to 100000"},
		{"another method", "PUT", waiting, "", 405, "want GET, POST, DELETE"},
		{"another site's page", "POST", waiting, "http://example.com", 403, "another site's page"},
		{"another site's stop", "DELETE", "", "http://example.com", 403, "another site's page"},
	} {
		refused(t, test.name, give(h, test.method, test.body, test.site), test.code, test.want)
		if r := reported(t, "GET", give(h, "GET", "", "")); r.ID != 0 {
			t.Fatalf("%s began a run: %+v", test.name, r)
		}
	}
	refused(t, "without -control", give(Off(), "POST", waiting, ""), 403, "start it with -control")
}
