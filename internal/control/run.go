package control

import (
	"errors"
	"net/http"

	"balancelab/internal/runs"
)

// Runs takes orders for the requests that the broker makes itself: see package
// runs, whose [runs.Report] is every answer.
//
//	POST   /run  begins a run: a [runs.Order]
//	GET    /run  says how far it is, or what the latest one has come to
//	DELETE /run  stops it, and waits for its end
//
// 409 says that a run goes on already, and 503 that the broker is stopping.
func Runs(runner *runs.Runner) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		var order runs.Order
		if !read(w, r, &order) {
			return
		}
		report, err := runner.Start(order)
		switch {
		case err == nil:
			reply(w, http.StatusOK, report)
		case errors.Is(err, runs.ErrRunning):
			refuse(w, http.StatusConflict, err)
		case errors.Is(err, runs.ErrStopping):
			refuse(w, http.StatusServiceUnavailable, err)
		default:
			refuse(w, http.StatusBadRequest, err)
		}
	})
	mux.HandleFunc("GET /run", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, runner.Report()) })
	mux.HandleFunc("DELETE /run", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, runner.Stop()) })
	mux.HandleFunc("/run", wrongMethod("GET, POST, DELETE"))
	return protected(mux)
}
