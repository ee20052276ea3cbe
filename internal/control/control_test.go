package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/memnet"
)

// newPool returns a pool of Worker-1 and Worker-2.
func newPool() *balance.Pool {
	return balance.NewPool([]balance.Worker{
		{Name: "Worker-1", Addr: "127.0.0.1:9002", Weight: 1}, {Name: "Worker-2", Addr: "127.0.0.1:9003", Weight: 1, Limit: 5},
	}, new(balance.RoundRobin))
}

func ask(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

// Each order is answered with the worker as it is then, in the order in which the
// test gives them.
func TestOrders(t *testing.T) {
	h := Handler(newPool(), 7)
	for _, test := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/workers", "", 200, `{"workers":[` +
			`{"name":"Worker-1","addr":"127.0.0.1:9002","state":"up","weight":1,"limit":0,"in_flight":0,"assigned":0},` +
			`{"name":"Worker-2","addr":"127.0.0.1:9003","state":"up","weight":1,"limit":5,"in_flight":0,"assigned":0}]}`},
		{"POST", "/workers", `{"addr":"127.0.0.1:09004"}`, 201,
			`{"name":"Worker-3","addr":"127.0.0.1:9004","state":"up","weight":1,"limit":7,"in_flight":0,"assigned":0}`},
		{"POST", "/workers", `{"addr":"[::1]:9005","weight":2,"limit":0}`, 201,
			`{"name":"Worker-4","addr":"[::1]:9005","state":"up","weight":2,"limit":0,"in_flight":0,"assigned":0}`},
		{"PATCH", "/workers/Worker-2", `{"state":"draining"}`, 200,
			`{"name":"Worker-2","addr":"127.0.0.1:9003","state":"drained","weight":1,"limit":5,"in_flight":0,"assigned":0}`},
		{"PATCH", "/workers/Worker-2", `{"state":"up","weight":3,"limit":0}`, 200,
			`{"name":"Worker-2","addr":"127.0.0.1:9003","state":"up","weight":3,"limit":0,"in_flight":0,"assigned":0}`},
		{"DELETE", "/workers/Worker-4", "", 200,
			`{"name":"Worker-4","addr":"[::1]:9005","state":"removed","weight":2,"limit":0,"in_flight":0,"assigned":0}`},
		{"DELETE", "/workers/Worker-4", "", 404, `{"error":"no such worker: Worker-4; there are Worker-1, Worker-2, Worker-3"}`},
		{"POST", "/workers", `{"addr":"localhost:9005"}`, 201,
			`{"name":"Worker-5","addr":"localhost:9005","state":"up","weight":1,"limit":7,"in_flight":0,"assigned":0}`},
	} {
		w := ask(h, test.method, test.path, test.body)
		if w.Code != test.code || w.Body.String() != test.want+"\n" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", test.method, test.path, test.body, w.Code, w.Body, test.code, test.want)
		}
	}
}

// What is refused changes nothing, and is refused in words.
func TestRefusals(t *testing.T) {
	pool := newPool()
	h := Handler(pool, 0)
	before := fmt.Sprint(pool.Snapshot())
	for _, test := range []struct {
		method, path, body string
		code               int
		reason             string
	}{
		{"POST", "/workers", `{"addr":"127.0.0.1:9002"}`, 409, "there is a worker with this address: Worker-1"},
		{"POST", "/workers", `{"addr":"[::ffff:127.0.0.1]:9002"}`, 409, "there is a worker with this address: Worker-1"},
		{"POST", "/workers", `{}`, 400, "a worker is missing: want host:port"},
		{"POST", "/workers", `{"addr":":9005"}`, 400, "is no address"},
		{"POST", "/workers", `{"addr":"a:0"}`, 400, "has no port from 1 to 65535"},
		{"POST", "/workers", `{"addr":"a:1","weight":0}`, 400, "a weight must be from 1 to 1000: 0"},
		{"POST", "/workers", `{"addr":"a:1","weight":1001}`, 400, "a weight must be from 1 to 1000: 1001"},
		{"POST", "/workers", `{"addr":"a:1","limit":-1}`, 400, "a limit must be from 0, which means none, to 1000000: -1"},
		{"POST", "/workers", `{"addr":"a:1","limit":1000001}`, 400, "a limit must be from 0"},
		{"POST", "/workers", `{"addr":"a:1","name":"Worker-9"}`, 400, `this is no order: unknown field "name"`},
		{"POST", "/workers", `{"addr":1}`, 400, "this is no order: addr is of the type number, want a string"},
		{"POST", "/workers", `{"addr":"a:1","weight":"2"}`, 400, "this is no order: weight is of the type string, want a whole number"},
		{"POST", "/workers", `{"addr":"a:1","weight":1.5}`, 400, "this is no order: weight is of the type number 1.5, want a whole number"},
		{"POST", "/workers", `["a:1"]`, 400, "this is no order: it is of the type array, want an object"},
		{"POST", "/workers", `{"addr":"a:1"}{}`, 400, "this is no order: there is something behind it"},
		{"POST", "/workers", `{"addr"`, 400, "this is no order: it breaks off"},
		{"POST", "/workers", "", 400, "the order is empty: want a JSON object"},
		{"POST", "/workers", `{"addr":"` + strings.Repeat("a", maxBody) + `:1"}`, 413, "an order has at most 4096 bytes"},
		{"PATCH", "/workers/Worker-1", `{}`, 400, "nothing is to be changed: want weight, limit or state"},
		{"PATCH", "/workers/Worker-1", `{"state":"cooling down"}`, 400, `state is "cooling down", want draining or up`},
		{"PATCH", "/workers/Worker-1", `{"state":"draining","weight":0}`, 400, "a weight must be from 1 to 1000: 0"},
		{"PATCH", "/workers/Worker-1", `{"limit":-1}`, 400, "a limit must be from 0"},
		{"PATCH", "/workers/worker-1", `{"weight":2}`, 404, "no such worker: worker-1; there are Worker-1, Worker-2"},
		{"PATCH", "/workers/worker-1", `{"limit":2}`, 404, "no such worker: worker-1"},
		{"PATCH", "/workers/worker-1", `{"state":"up"}`, 404, "no such worker: worker-1"},
		{"DELETE", "/workers/Worker-3", "", 404, "no such worker: Worker-3"},
		{"PUT", "/workers/Worker-1", "{}", 405, "PUT is not done with /workers/Worker-1: want PATCH, DELETE"},
		{"DELETE", "/workers", "", 405, "DELETE is not done with /workers: want GET, POST"},
		{"GET", "/workers/", "", 404, "there is no /workers/: want /workers or /workers/{name}"},
	} {
		w := ask(h, test.method, test.path, test.body)
		if w.Code != test.code || !strings.HasPrefix(w.Body.String(), `{"error":"`) || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), test.reason) {
			t.Errorf("%s %s %.60s: %d %s\nwant %d %s", test.method, test.path, test.body, w.Code, w.Body, test.code, test.reason)
		}
	}
	if after := fmt.Sprint(pool.Snapshot()); after != before {
		t.Errorf("the refusals made\n%s of\n%s", after, before)
	}
}

// A page of another site can't give orders through a browser on this machine. A
// program that is no browser can.
func TestOtherSites(t *testing.T) {
	pool := newPool()
	h := Handler(pool, 0)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.example"}, {"Origin", "null"},
		{"Origin", "http://127.0.0.1:8081"},
	} {
		for _, order := range [][]string{{"PATCH", "/workers/Worker-1", `{"state":"draining"}`}, {"DELETE", "/workers/Worker-1", ""}, {"POST", "/workers", `{"addr":"a:1"}`}} {
			w := ask(h, order[0], order[1], order[2], headers...)
			if want := `{"error":"orders of another site's page are not taken"}` + "\n"; w.Code != 403 || w.Body.String() != want {
				t.Errorf("%v with %v: %d %s", order, headers, w.Code, w.Body)
			}
		}
	}
	if n := len(pool.Snapshot().Workers); n != 2 || pool.Snapshot().Workers[0].State != balance.Up {
		t.Errorf("an order was obeyed: %+v", pool.Snapshot().Workers)
	}
	for _, headers := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "http://127.0.0.1:8080"}, {}} {
		if w := ask(h, "PATCH", "/workers/Worker-1", `{"weight":2}`, headers...); w.Code != 200 {
			t.Errorf("%v: %d %s", headers, w.Code, w.Body)
		}
	}
}

// Without -control nothing is taken, and the flag is named.
func TestOff(t *testing.T) {
	for _, order := range [][2]string{{"GET", "/workers"}, {"POST", "/workers"}, {"PATCH", "/workers/Worker-1"}, {"DELETE", "/workers/Worker-1"}} {
		w := ask(Off(), order[0], order[1], "{}")
		if w.Code != 403 || w.Body.String() != `{"error":"this broker takes no orders: start it with -control"}`+"\n" {
			t.Errorf("%v: %d %s", order, w.Code, w.Body)
		}
	}
}

// A room is a broker's status page in a network in memory, and a client of it.
type room struct {
	*Client
	pool *balance.Pool
}

// newRoom is for a test in a bubble.
func newRoom(t *testing.T, h func(*balance.Pool) http.Handler) *room {
	var network memnet.Net
	r := &room{pool: newPool()}
	r.Client = &Client{Addr: "page:1", Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) }}
	server := &http.Server{Handler: h(r.pool)}
	l := network.Listen("page:1")
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return r
}

func orders(pool *balance.Pool) http.Handler { return Handler(pool, 0) }

// Drained returns as soon as nothing is in flight, and for a removal when the
// worker is gone.
func TestDrained(t *testing.T) {
	for _, remove := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, orders)
			lease, _ := r.pool.Assign(0, new(balance.Request))
			w, err := r.Change(t.Context(), "Worker-1", Change{State: Draining})
			if remove {
				w, err = r.Remove(t.Context(), "Worker-1")
			}
			if err != nil || w.State != "draining" || w.InFlight != 1 || w.Assigned != 1 {
				t.Errorf("%+v, %v", w, err)
			}
			start := time.Now()
			time.AfterFunc(10*time.Second+time.Millisecond, func() { lease.Release(balance.Answered) })
			if err := r.Drained(t.Context(), "Worker-1", remove); err != nil || time.Since(start) != 10*time.Second+pause {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

// A drain that somebody has ended is not waited for; nor is one for longer than
// the caller wants.
func TestDrainedGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, orders)
		lease, _ := r.pool.Assign(0, new(balance.Request))
		r.pool.Drain("Worker-1")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := r.Drained(ctx, "Worker-1", false)
		if err == nil || err.Error() != "Worker-1 goes on draining, and is not waited for any longer" {
			t.Errorf("given up with %v", err)
		}
		time.AfterFunc(time.Second, func() { r.pool.Up("Worker-1") })
		err = r.Drained(t.Context(), "Worker-1", false)
		if want := "Worker-1 drains no longer: somebody has ordered it up again"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		lease.Release(balance.Answered)
	})
}

// What a client can't do it says in words that name the cure.
func TestClientFails(t *testing.T) {
	for name, test := range map[string]struct {
		addr string
		h    http.HandlerFunc
		want string
	}{
		"a refusal": {"page:1", Off().ServeHTTP, "this broker takes no orders: start it with -control"},
		"nobody":    {"page:2", nil, "no status page on page:2: start the broker with -status page:2 -control, or name another address with -status"},
		"no broker": {"page:1", http.NotFound, "what answers on page:1 takes no orders (404 Not Found): is it the status page of a broker?"},
		"no JSON":   {"page:1", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "what answers on page:1 takes no orders (200 OK): is it the status page of a broker?"},
		"an object": {"page:1", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, "what answers on page:1 takes no orders (200 OK): is it the status page of a broker?"},
		"no answer": {"page:1", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer from the status page on page:1 within 10s"},
		"an end":    {"page:1", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "ask the status page on page:1: EOF"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, func(*balance.Pool) http.Handler { return test.h })
			r.Addr = test.addr
			if all, err := r.Workers(t.Context()); err == nil || err.Error() != test.want || all != nil {
				t.Errorf("%s: %v, %v, want %s", name, all, err, test.want)
			}
		})
	}
}

// A program that is no broker may answer with JSON. Nor has a worker a name that a
// path can't end with.
func TestClientIsNotDeceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, func(*balance.Pool) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"status":"ok"}`) })
		})
		for name, want := range map[string]string{
			"a":  "what answers on page:1 takes no orders (200 OK): is it the status page of a broker?",
			"":   `no such worker: ""`,
			".":  `no such worker: "."`,
			"..": `no such worker: ".."`,
		} {
			_, changed := r.Change(t.Context(), name, Change{State: Draining})
			_, removed := r.Remove(t.Context(), name)
			for _, err := range []error{changed, removed} {
				if err == nil || err.Error() != want {
					t.Errorf("%q: %v, want %s", name, err, want)
				}
			}
		}
	})
}

// What answers may be no web server at all.
func TestClientOfAnotherProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		l := network.Listen("page:1")
		go func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "SSH-2.0-other\r\n")
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
		c := Client{Addr: "page:1", Dial: func(ctx context.Context, _, addr string) (net.Conn, error) { return network.Dial(ctx, addr) }}
		_, err := c.Workers(t.Context())
		if want := "what answers on page:1 speaks no HTTP: is it the status page of a broker?"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

// An order that is too large is refused before the rest of it has come, whatever
// the handler is wrapped in.
func TestTooLargeWithoutItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network memnet.Net
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			Handler(newPool(), 0).ServeHTTP(struct{ http.ResponseWriter }{w}, r)
		})}
		l := network.Listen("page:1")
		go server.Serve(l)
		defer server.Close()
		c, err := network.Dial(t.Context(), "page:1")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		fmt.Fprintf(c, "POST /workers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n%5000s", "")
		c.SetReadDeadline(start.Add(time.Minute))
		text := make([]byte, len("HTTP/1.1 413"))
		if _, err := io.ReadFull(c, text); string(text) != "HTTP/1.1 413" || time.Since(start) > 0 {
			t.Errorf("%q, %v, after %v", text, err, time.Since(start))
		}
		c.Close()
	})
}
