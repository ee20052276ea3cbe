// Package status shows a [stats.Snapshot] of the broker: to people as a live
// page, and to programs as JSON and as Prometheus metrics. It counts nothing.
//
//	/             the page; it asks for /status.json twice a second
//	/status.json  the whole snapshot
//	/metrics      most of it, in the Prometheus text format, version 0.0.4, and
//	              what is known of the process
//	/healthz      200 ok, or 503 once the broker is stopping
//	/events       the steps of requests, as server-sent events: package events
//	/workers      orders: package control
//	/run          an order for requests that the broker makes itself: package runs
//
// A [Site] has a function that returns a snapshot, so that no package below this
// one needs net/http.
//
// # What it costs the broker
//
// However many pages are open, a snapshot is taken at most four times a second
// ([Fresh]), and all pages get the same bytes. A page that does not read is
// disconnected at a deadline. [Server.MaxConns] bounds how many connections are
// open, so that pages never use up the broker's file descriptors.
// [Server.Serve] does not wait for a page: when it is told to stop, it closes
// all connections.
//
// # Which viewers get a connection
//
// Probes of /healthz and /metrics come to the same address as viewers, and must
// not wait for them. So when all places are taken, a new connection gets the
// place of the one that has been idle longest: between two requests, or with no
// whole request yet. If none is idle, it gets that of one that has been busy for
// 250 ms: its viewer does not read. A page whose connection was closed opens
// another one for its next look.
//
// # Access
//
// There is no password: everybody who can connect to the address sees the page.
// So it is off by default and meant for a loopback address. A web site could
// still reach a loopback address through the browser of a visitor, by a host
// name of its own that resolves to 127.0.0.1. Therefore a request that comes in
// on a loopback address must name localhost or a numeric address as its host.
// This also refuses a reverse proxy on the same machine that passes its own host
// name on. On any other address every host name is accepted.
//
// Text from the network (an unknown type, an answer) goes to the page as JSON
// and is inserted as text, never as HTML. The Content-Security-Policy allows
// only the page's own files and its data.
package status

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"balancelab/internal/events"
	"balancelab/internal/socket"
	"balancelab/internal/stats"
)

// Fresh is how long a snapshot is shown before another one is taken.
const Fresh = 250 * time.Millisecond

//go:embed page.html page.css icon.svg *.js
var files embed.FS

// A Site is what there is to see at the address of the page.
type Site struct {
	// Snapshot returns what is shown. One call of it is made at a time, and one in
	// each period of [Fresh] at most. What it has returned must not be changed
	// afterwards.
	Snapshot func() stats.Snapshot
	// Orders, if not nil, takes what comes to /run, and to /workers and below it.
	// What is answered there is in the next snapshot that is shown. It calls
	// WriteHeader for each answer.
	Orders http.Handler
	// Events, if not nil, is streamed at /events.
	Events *events.Feed
}

// Handler serves a site.
func Handler(site Site) http.Handler {
	c := &cache{take: site.Snapshot}
	mux := http.NewServeMux()
	if site.Orders != nil {
		mux.Handle("/workers", c.forgetting(site.Orders))
		mux.Handle("/workers/", c.forgetting(site.Orders))
		mux.Handle("/run", c.forgetting(site.Orders))
	}
	if site.Events != nil {
		mux.Handle("GET /events", stream(site.Events))
	}
	mux.Handle("GET /{$}", file("page.html", "text/html; charset=utf-8"))
	mux.Handle("GET /page.css", file("page.css", "text/css; charset=utf-8"))
	scripts, err := files.ReadDir(".")
	if err != nil {
		panic(err) // they were embedded
	}
	for _, f := range scripts {
		if name := f.Name(); path.Ext(name) == ".js" {
			mux.Handle("GET /"+name, file(name, "text/javascript; charset=utf-8"))
		}
	}
	mux.Handle("GET /icon.svg", file("icon.svg", "image/svg+xml"))
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) {
		_, text := c.get()
		reply(w, http.StatusOK, "application/json", text)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		s, _ := c.get()
		reply(w, http.StatusOK, MetricsType, append(Metrics(s), programMetrics()...))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		const plain = "text/plain; charset=utf-8"
		if s, _ := c.get(); s.Stopping {
			reply(w, http.StatusServiceUnavailable, plain, []byte("stopping\n"))
			return
		}
		reply(w, http.StatusOK, plain, []byte("ok\n"))
	})
	return guard(mux)
}

// A cache keeps the latest snapshot and its JSON.
type cache struct {
	take func() stats.Snapshot

	mu   sync.Mutex // guards what follows, and is held while a snapshot is taken
	at   time.Time
	last stats.Snapshot
	text []byte // never changed, only replaced
}

func (c *cache) get() (stats.Snapshot, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text != nil && time.Since(c.at) < Fresh {
		return c.last, c.text
	}
	c.last, c.at = c.take(), time.Now()
	text, err := json.Marshal(c.last)
	if err != nil {
		panic(fmt.Sprintf("status: a snapshot that has no JSON form: %v", err))
	}
	c.text = append(text, '\n')
	return c.last, c.text
}

// forget has a snapshot taken for the next get. One that is being taken just now
// is forgotten too.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = nil
}

// forgetting returns orders, before whose answers the cache is forgotten.
func (c *cache) forgetting(orders http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		orders.ServeHTTP(&forgetter{w, c}, r)
	})
}

// A forgetter forgets the cache before a byte of an answer is written, unless it
// is a refusal: those that may give no orders may take no snapshots either.
type forgetter struct {
	http.ResponseWriter
	cache *cache
}

func (f *forgetter) WriteHeader(code int) {
	if code < http.StatusMultipleChoices {
		f.cache.forget()
	}
	f.ResponseWriter.WriteHeader(code)
}

func file(name, contentType string) http.Handler {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it was embedded
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, contentType, text)
	})
}

func reply(w http.ResponseWriter, code int, contentType string, text []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(code)
	_, _ = w.Write(text) // fails if the page has disconnected: then no reply is needed
}

// policy allows the page to load its own files and data, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard sets the headers that keep other sites out, and refuses requests that
// another site may have made a browser send. See Access in the package comment.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if onLoopback(local) && !resolvedHere(r.Host) {
			refuseHost(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseHost refuses a request for a foreign host: as JSON if it is an order.
func refuseHost(w http.ResponseWriter, r *http.Request) {
	reason := fmt.Sprintf("host %q is not this machine: ask for localhost", r.Host)
	if path := r.URL.Path; path != "/run" && path != "/workers" && !strings.HasPrefix(path, "/workers/") {
		http.Error(w, reason, http.StatusForbidden)
		return
	}
	text, _ := json.Marshal(map[string]string{"error": reason}) // a string can't fail
	reply(w, http.StatusForbidden, "application/json", append(text, '\n'))
}

func onLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// resolvedHere reports whether a browser finds the host of a Host header without
// asking a name server, where another site may have put any address.
func resolvedHere(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err = netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Listen returns a listener for [Server.Serve] at a TCP address. Serve closes
// it; a caller that does not get that far must. An address that is in use is tried
// for a second: the program that has it may be stopping. The error names the
// address and says what to do.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := socket.ListenTCP(ctx, net.ListenConfig{}, addr, "-status")
	if err != nil {
		return nil, fmt.Errorf("status page: %w", err)
	}
	return l, nil
}

// Exposed reports whether a page at addr can be reached from other machines.
func Exposed(addr net.Addr) bool { return !onLoopback(addr) }

// URL returns what to type into a browser on this machine for a page at addr.
func URL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String() + "/"
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// How long each step of a request may take, and how long a connection may be
// idle.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	idleTimeout  = 30 * time.Second
)

// DefaultMaxConns is how many connections a [Server] has open at once if its
// MaxConns is 0.
const DefaultMaxConns = 128

// A Server serves the page. Its fields are not changed while it does.
type Server struct {
	// Handler is what [Handler] returns. If it panics, that costs the connection
	// of its request and no more.
	Handler http.Handler
	// MaxConns is how many connections are open at once, besides streams of
	// events. Another one is open while it waits for the place of one of them. 0
	// means [DefaultMaxConns].
	MaxConns int
	// MaxStreams is how many streams of events are open at once. 0 means none.
	MaxStreams int
	// Panicked, if not nil, is told a panic of the handler and its stack.
	Panicked func(value any, stack []byte)
}

// Serve serves on l until ctx is done, closes l and every connection, and
// returns nil. When it returns, nothing that it started is running. The error
// says why serving became impossible.
//
// Whatever net/http would log is thrown away: viewers can make it log as much
// as they like, and its own standard error might hold it up.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	places := newLimit(l, cmp.Or(s.MaxConns, DefaultMaxConns), s.MaxStreams, ctx.Done())
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, stayKey{}, stay{places, conn})
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			places.setState(conn, state)
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		},
	}
	closed := make(chan struct{})
	cancelClose := context.AfterFunc(ctx, func() {
		defer close(closed)
		server.Close()
	})
	err := server.Serve(places)
	if !cancelClose() {
		<-closed
	}
	server.Close()
	open.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("status page: %w", err)
}

// serve is the handler, whose panics are told to the one that is to know of
// them.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if s.Panicked != nil && value != http.ErrAbortHandler {
			s.Panicked(value, debug.Stack())
		}
		panic(http.ErrAbortHandler) // closes the connection
	}()
	s.Handler.ServeHTTP(w, r)
}
