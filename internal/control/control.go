// Package control lets workers come and go while the broker runs. [Handler]
// takes orders over HTTP, as JSON, next to the live page; a [Client] gives them,
// so that nobody needs curl. What an order does is in package balance: see
// [balance.Pool.Drain] and its neighbours.
//
//	GET    /workers         lists the workers
//	POST   /workers         adds one: {"addr": "127.0.0.1:9005", "weight": 2, "limit": 10}
//	PATCH  /workers/{name}  changes one: any of {"weight": 3, "limit": 0, "state": "draining"}
//	DELETE /workers/{name}  drains one, and removes it when nothing is in flight there
//
// An order is answered with the worker as it is then, a [Worker]: 201 for a new
// one, otherwise 200. It holds for every choice that is made after the answer.
// The answer does not wait for what is in flight. A program that wants to know when
// a worker has drained asks again, as [Client.Drained] does.
//
// What is refused has a 4xx status and the reason in words: {"error": "…"}. 404
// is for a name that no worker has, 409 for an address that one has already.
//
// # What may give orders
//
// Every program that can connect to the address. The broker takes orders on
// loopback addresses only, so that is every program on this machine. A page in a
// browser on this machine may not, unless it is the broker's own: package status refuses hosts that are names of
// others, and [http.CrossOriginProtection] what another site has sent.
package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"balancelab/internal/balance"
)

// A Worker is a worker as the answer to an order shows it.
type Worker struct {
	Name     string `json:"name"`
	Addr     string `json:"addr"`
	State    string `json:"state"` // as [balance.State] has it
	Weight   int    `json:"weight"`
	Limit    int    `json:"limit"` // 0 for none
	InFlight int    `json:"in_flight"`
	Assigned int    `json:"assigned"` // requests since it came, those in flight included
}

// A New says which worker is to be added.
type New struct {
	Addr   string `json:"addr"`             // host:port
	Weight *int   `json:"weight,omitempty"` // nil means 1
	Limit  *int   `json:"limit,omitempty"`  // 0 for none; nil means the broker's own
}

// A Change says what of a worker is to be another than it is. What is nil, or "",
// stays.
type Change struct {
	Weight *int   `json:"weight,omitempty"`
	Limit  *int   `json:"limit,omitempty"` // 0 for none
	State  string `json:"state,omitempty"` // Draining or Up
}

// The states that a Change may name.
const (
	Draining = "draining"
	Up       = "up"
)

// A list is the answer to GET /workers.
type list struct {
	Workers []Worker `json:"workers"`
}

// A refusal is the answer to what is refused.
type refusal struct {
	Error string `json:"error"`
}

// maxBody is how many bytes an order may have.
const maxBody = 4096

// maxNames is how many names a refusal lists.
const maxNames = 20

// Handler takes orders for a pool. An added worker gets limit if its order has
// none.
func Handler(pool *balance.Pool, limit int) http.Handler {
	h := &handler{pool, limit}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /workers", h.list)
	mux.HandleFunc("POST /workers", h.add)
	mux.HandleFunc("PATCH /workers/{name}", h.change)
	mux.HandleFunc("DELETE /workers/{name}", h.remove)
	mux.HandleFunc("/workers", wrongMethod("GET, POST"))
	mux.HandleFunc("/workers/{name}", wrongMethod("PATCH, DELETE"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s: want /workers or /workers/{name}", r.URL.Path))
	})
	return protected(mux)
}

// protected returns orders, without those that another site's page sends.
func protected(orders http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, errors.New("orders of another site's page are not taken"))
	}))
	return foreign.Handler(orders)
}

// Off refuses all that [Handler] and [Runs] take, and says what is missing.
func Off() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, errors.New("this broker takes no orders: start it with -control"))
	})
}

type handler struct {
	pool  *balance.Pool
	limit int // of an added worker that has none of its own
}

func (h *handler) list(w http.ResponseWriter, _ *http.Request) {
	all := list{Workers: []Worker{}}
	for _, s := range h.pool.Snapshot().Workers {
		all.Workers = append(all.Workers, shown(s))
	}
	reply(w, http.StatusOK, all)
}

func (h *handler) add(w http.ResponseWriter, r *http.Request) {
	var order New
	if !read(w, r, &order) {
		return
	}
	worker, err := h.ordered(order)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	s, err := h.pool.Add(worker)
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	reply(w, http.StatusCreated, shown(s))
}

func (h *handler) ordered(order New) (balance.Worker, error) {
	w := balance.Worker{Weight: 1, Limit: h.limit}
	var err error
	if w.Addr, err = parseAddr(order.Addr); err != nil {
		return balance.Worker{}, err
	}
	if order.Weight != nil {
		w.Weight = *order.Weight
	}
	if order.Limit != nil {
		w.Limit = *order.Limit
	}
	return w, cmp.Or(CheckWeight(w.Weight), CheckLimit(w.Limit))
}

func (h *handler) change(w http.ResponseWriter, r *http.Request) {
	var order Change
	if !read(w, r, &order) {
		return
	}
	if err := order.check(); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	h.answer(w, h.obey(r.PathValue("name"), order))
}

// check returns what is wrong with c, before any of it is done.
func (c Change) check() error {
	switch {
	case c.Weight == nil && c.Limit == nil && c.State == "":
		return errors.New("nothing is to be changed: want weight, limit or state")
	case c.Weight != nil && CheckWeight(*c.Weight) != nil:
		return CheckWeight(*c.Weight)
	case c.Limit != nil && CheckLimit(*c.Limit) != nil:
		return CheckLimit(*c.Limit)
	case c.State != "" && c.State != Draining && c.State != Up:
		return fmt.Errorf("state is %q, want %s or %s", c.State, Draining, Up)
	}
	return nil
}

// An outcome is what an order has come to.
type outcome struct {
	balance.Status
	err error
}

// obey does one thing after another. If the worker is removed meanwhile, the rest
// is not done.
func (h *handler) obey(name string, c Change) (o outcome) {
	if c.Weight != nil {
		o.Status, o.err = h.pool.SetWeight(name, *c.Weight)
	}
	if c.Limit != nil && o.err == nil {
		o.Status, o.err = h.pool.SetLimit(name, *c.Limit)
	}
	switch {
	case o.err != nil:
	case c.State == Draining:
		o.Status, o.err = h.pool.Drain(name)
	case c.State == Up:
		o.Status, o.err = h.pool.Up(name)
	}
	return o
}

func (h *handler) remove(w http.ResponseWriter, r *http.Request) {
	var o outcome
	o.Status, o.err = h.pool.Remove(r.PathValue("name"))
	if o.InFlight == 0 {
		o.State = balance.Removed
	}
	h.answer(w, o)
}

func (h *handler) answer(w http.ResponseWriter, o outcome) {
	if o.err != nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("%w; %s", o.err, h.known()))
		return
	}
	reply(w, http.StatusOK, shown(o.Status))
}

// known says which workers there are.
func (h *handler) known() string {
	var names []string
	for _, s := range h.pool.Snapshot().Workers {
		names = append(names, s.Name)
	}
	switch {
	case len(names) == 0:
		return "all were removed"
	case len(names) > maxNames:
		return fmt.Sprintf("there are %d others", len(names))
	}
	return "there are " + strings.Join(names, ", ")
}

func shown(s balance.Status) Worker {
	return Worker{
		Name: s.Name, Addr: s.Addr, State: s.State.String(), Weight: s.Weight, Limit: s.Limit,
		InFlight: s.InFlight, Assigned: s.Assigned,
	}
}

// read reads an order into to, or refuses it and reports false.
func read(w http.ResponseWriter, r *http.Request, to any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is something behind it")
		}
	}
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		w.Header().Set("Connection", "close") // or the answer waits for the rest
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("an order has at most %d bytes", maxBody))
	case err == io.EOF:
		refuse(w, http.StatusBadRequest, errors.New("the order is empty: want a JSON object"))
	default:
		refuse(w, http.StatusBadRequest, fmt.Errorf("this is no order: %s", inJSON(err)))
	}
	return false
}

// inJSON says what is wrong with an order in the words of JSON, and not of Go.
func inJSON(err error) string {
	wrong := (*json.UnmarshalTypeError)(nil)
	switch {
	case err == io.ErrUnexpectedEOF:
		return "it breaks off"
	case !errors.As(err, &wrong):
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.Int:
		want = "a whole number"
	case reflect.Float64:
		want = "a number"
	case reflect.String:
		want = "a string"
	case reflect.Slice:
		want = "an array"
	}
	return fmt.Sprintf("%s is of the type %s, want %s", cmp.Or(wrong.Field, "it"), wrong.Value, want)
}

func wrongMethod(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s is not done with %s: want %s", r.Method, r.URL.Path, allowed))
	}
}

func refuse(w http.ResponseWriter, code int, err error) { reply(w, code, refusal{err.Error()}) }

func reply(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // fails if nobody reads it: then no answer is needed
}
