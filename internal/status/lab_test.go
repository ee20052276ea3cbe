package status_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/console"
	"balancelab/internal/control"
	"balancelab/internal/events"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/stats"
	"balancelab/internal/status"
	"balancelab/internal/worker"
)

// A lab is a broker with some workers, all of them in this process and on
// real sockets, and the status page.
type lab struct {
	t        *testing.T
	addr     string // the broker's
	page     string // the page's URL, without the last slash
	pageAddr string
	pool     *balance.Pool
	recorder *stats.Recorder
	feed     *events.Feed
	control  bool                            // the page takes orders; changed before openPage only
	runs     fakeRun                         // what takes orders for runs
	stops    map[string]func()               // workers and "page", by name
	wrap     func(http.Handler) http.Handler // what openPage puts around the page; may be nil
	hung     sync.Mutex                      // the page has no figures while it is held
	dropped  atomic.Int64                    // lines of the log
}

// startLab starts a lab of three workers without limits, and nobody may give
// orders.
func startLab(t *testing.T, long, short time.Duration) *lab {
	t.Helper()
	return startLabOf(t, 3, 0, false, long, short)
}

// startLabOf starts a lab of n workers, each of which gets limit requests at once
// at most, or as many as there are if it is 0.
func startLabOf(t *testing.T, n, limit int, control bool, long, short time.Duration) *lab {
	t.Helper()
	l := &lab{t: t, control: control, stops: map[string]func(){}}
	var workers []balance.Worker
	for i := range n {
		w := balance.Worker{Name: fmt.Sprintf("Worker-%d", i+1), Weight: 1, Limit: limit}
		w.Addr = l.worker(w.Name, "127.0.0.1:0", long, short)
		workers = append(workers, w)
	}
	l.pool = balance.NewPool(workers, nil, new(balance.RoundRobin), new(balance.LeastConnections))
	l.recorder = stats.New(l.pool, console.Off{})
	l.feed = events.New(l.recorder)
	l.pool.OnChange = l.feed.Changed
	b := broker.Broker{
		Pool: l.pool, Observer: l.feed, Dial: socket.Dial,
		RequestTimeout: 5 * time.Second, DialTimeout: 5 * time.Second, AnswerTimeout: time.Minute, QueueTimeout: time.Minute,
	}
	l.addr = l.serve("broker", "127.0.0.1:0", b.Handle)
	l.start("watch", l.recorder.Watch)
	l.pageAddr = "127.0.0.1:0"
	l.openPage()
	return l
}

// start runs f until stops[name] is called, or the test ends.
func (l *lab) start(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	stop := func() { cancel(); running.Wait() }
	l.stops[name] = stop
	l.t.Cleanup(stop)
}

func (l *lab) serve(name, addr string, handle server.Handler) string {
	l.t.Helper()
	listener, err := socket.Listen(context.Background(), addr)
	if err != nil {
		l.t.Fatal(err)
	}
	s := server.Server{Handle: handle}
	l.start(name, func(ctx context.Context) { _ = s.Serve(ctx, listener) })
	return listener.Addr().String()
}

func (l *lab) worker(name, addr string, long, short time.Duration) string {
	l.t.Helper()
	w := worker.Worker{Work: [protocol.NumTypes]time.Duration{protocol.Long: long, protocol.Short: short}, Observer: console.Off{}}
	return l.serve(name, addr, w.Handle)
}

// openPage serves the page where it was before, if it was closed.
func (l *lab) openPage() {
	l.t.Helper()
	listener, err := status.Listen(context.Background(), l.pageAddr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.pageAddr = listener.Addr().String()
	l.page = "http://" + l.pageAddr
	recorder := l.recorder
	orders := control.Off()
	if l.control {
		orders = control.Handler(l.pool, 0)
	}
	handler := status.HandlerWithOrders(func() stats.Snapshot {
		l.hung.Lock()
		defer l.hung.Unlock()
		s := recorder.Snapshot()
		s.Listen = l.addr
		s.Totals.LinesDropped = int(l.dropped.Load())
		return s
	}, orders)
	handler = l.wired(handler)
	if l.wrap != nil {
		handler = l.wrap(handler)
	}
	l.start("page", func(ctx context.Context) {
		s := status.Server{Handler: handler, MaxStreams: events.MaxViewers}
		if err := s.Serve(ctx, listener); err != nil {
			l.t.Error(err)
		}
	})
}

// wired puts the stream of events and the runs around the page, and what
// /status.json says of both.
func (l *lab) wired(page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("GET /events", status.Stream(l.feed))
	if l.control {
		mux.Handle("/run", &l.runs)
	}
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		page.ServeHTTP(recorded, r)
		maps.Copy(w.Header(), recorded.Header())
		w.Header().Del("Content-Length")
		var all map[string]any
		if json.Unmarshal(recorded.Body.Bytes(), &all) != nil {
			w.WriteHeader(recorded.Code)
			w.Write(recorded.Body.Bytes())
			return
		}
		all["control"], all["run"] = l.control, l.runs.state()
		_ = json.NewEncoder(w).Encode(all)
	})
	return mux
}

// A fakeRun takes the orders for runs and runs nothing: it keeps what was
// ordered.
type fakeRun struct {
	mu      sync.Mutex
	orders  []map[string]any // the bodies of POST /run
	stops   int              // how often DELETE /run came
	running bool
	results []map[string]any
}

// state is "run" in /status.json.
func (f *fakeRun) state() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.orders) == 0 {
		return nil
	}
	return map[string]any{"id": len(f.orders), "running": f.running, "part": "round_robin"}
}

func (f *fakeRun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.Method {
	case http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		var order map[string]any
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&order); err != nil || f.running {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"error":"a run is going on"}`)
			return
		}
		f.orders = append(f.orders, order)
		f.running, f.results = true, nil
	case http.MethodDelete:
		f.stops++
		f.running = false
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"running": f.running, "id": len(f.orders), "part": "round_robin", "command": "client -n 30 -c 30 Short round_robin",
		"planned": 30, "sent": 12, "answered": 10, "failed": 0, "seconds": 3.2, "results": f.results,
		"sentence": "Least connections was <b>faster</b>.", "error": "",
	})
}

// ordered returns the latest order, and how many there were.
func (f *fakeRun) ordered() (map[string]any, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.orders) == 0 {
		return nil, 0
	}
	return f.orders[len(f.orders)-1], len(f.orders)
}
