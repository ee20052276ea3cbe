package status

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"balancelab/internal/events"
)

// batch is how long events are gathered before they are written together.
const batch = 50 * time.Millisecond

// A stay is what lets a connection that is to stay open keep its place.
type stay struct {
	places *limit
	conn   net.Conn
}

type stayKey struct{}

// stream serves a feed's events as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): each one is a
// data line of its own. The first one is "hello", which says what time the feed
// has. A viewer that does not read is cut off at the write
// deadline. When there are too many viewers the answer is 503, and the page looks
// at /status.json instead.
func stream(feed *events.Feed) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, _ := r.Context().Value(stayKey{}).(stay)
		viewer, err := feed.Watch()
		if err == nil {
			defer viewer.Close()
			err = s.places.keep(s.conn)
		}
		if err != nil {
			w.Header().Set("Retry-After", "10")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		hello := fmt.Appendf(nil, `{"event":"hello","at":%.3f}`, feed.Age().Seconds())
		if control.SetReadDeadline(time.Time{}) != nil || writeEvents(w, control, hello) != nil {
			return
		}
		pause := time.NewTimer(batch)
		defer pause.Stop()
		for {
			all, more := viewer.Read()
			if len(all) > 0 && writeEvents(w, control, all...) != nil {
				return
			}
			pause.Reset(batch)
			next := pause.C
			if more != nil {
				next = nil
			}
			select {
			case <-more:
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// writeEvents writes events, within the write deadline.
func writeEvents(w http.ResponseWriter, control *http.ResponseController, all ...[]byte) error {
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	for _, text := range all {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return err
		}
	}
	return control.Flush()
}
