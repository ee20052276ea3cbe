package status_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	"balancelab/internal/runs"
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
	takes    orders
	faked    fakeRun                         // takes the orders for runs with fakedRuns
	runner   *runs.Runner                    // and this one with realRuns
	stops    map[string]func()               // workers and "page", by name
	wrap     func(http.Handler) http.Handler // what openPage puts around the page; may be nil
	hung     sync.Mutex                      // the page has no figures while it is held
	dropped  atomic.Int64                    // lines of the log
}

// The orders that a lab takes.
type orders int

const (
	noOrders  orders = iota // as without -control
	fakedRuns               // runs are ordered, and nothing runs
	realRuns
)

// startLab starts a lab of three workers without limits, which takes no orders.
func startLab(t *testing.T, long, short time.Duration) *lab {
	t.Helper()
	return startLabOf(t, 3, 0, noOrders, long, short)
}

// startLabOf starts a lab of n workers, each of which gets limit requests at once
// at most, or as many as there are if it is 0.
func startLabOf(t *testing.T, n, limit int, takes orders, long, short time.Duration) *lab {
	t.Helper()
	l := &lab{t: t, takes: takes, stops: map[string]func(){}}
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
		RequestTimeout: enough, DialTimeout: enough, AnswerTimeout: enough, QueueTimeout: enough,
	}
	listener := l.listen("127.0.0.1:0")
	l.addr = listener.Addr().String()
	if takes == realRuns {
		l.runner = runs.New(runs.Config{Pool: l.pool, Addr: l.addr, Dial: runs.Dial(l.addr), Observer: l.feed, Note: l.feed.Note})
		b.Observer = l.runner
	}
	l.serveOn("broker", listener, b.Handle)
	if takes == realRuns {
		t.Cleanup(l.runner.Close)
	}
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

func (l *lab) listen(addr string) socket.Listener {
	l.t.Helper()
	listener, err := socket.Listen(context.Background(), addr)
	if err != nil {
		l.t.Fatal(err)
	}
	return listener
}

func (l *lab) serveOn(name string, listener socket.Listener, handle server.Handler) {
	s := server.Server{Handle: handle}
	l.start(name, func(ctx context.Context) { _ = s.Serve(ctx, listener) })
}

func (l *lab) serve(name, addr string, handle server.Handler) string {
	l.t.Helper()
	listener := l.listen(addr)
	l.serveOn(name, listener, handle)
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
	handler := status.Handler(status.Site{Orders: l.handler(), Events: l.feed, Snapshot: func() stats.Snapshot {
		l.hung.Lock()
		defer l.hung.Unlock()
		s := recorder.Snapshot()
		s.Listen, s.Control, s.Run = l.addr, l.takes != noOrders, l.run()
		s.Totals.LinesDropped = int(l.dropped.Load())
		return s
	}})
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

// handler returns what takes orders.
func (l *lab) handler() http.Handler {
	if l.takes == noOrders {
		return control.Off()
	}
	mux := http.NewServeMux()
	mux.Handle("/", control.Handler(l.pool, 0))
	if l.runner != nil {
		mux.Handle("/run", control.Runs(l.runner))
	} else {
		mux.Handle("/run", &l.faked)
	}
	return mux
}

// run is "run" in /status.json.
func (l *lab) run() *stats.Run {
	id, part, running := l.faked.latest()
	if l.runner != nil {
		id, part, running = l.runner.Latest()
	}
	if id == 0 {
		return nil
	}
	return &stats.Run{ID: id, Part: part, Running: running}
}

// A fakeRun takes the orders for runs and runs nothing: it keeps what was
// ordered.
type fakeRun struct {
	mu      sync.Mutex
	orders  []map[string]any // the bodies that were posted
	stops   int              // how often DELETE /run came
	looks   int              // how often GET /run came
	running bool
	refuses bool
	results []map[string]any
}

func (f *fakeRun) latest() (id int, part string, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.orders), "round_robin", f.running
}

func (f *fakeRun) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.Method {
	case http.MethodGet:
		f.looks++
	case http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		var order map[string]any
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&order); err != nil || f.running || f.refuses {
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

// asked returns how often a page has asked how the run goes.
func (f *fakeRun) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
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
