// Package console is what the broker and the worker show of themselves: the
// lines of the course notes ([Broker], [Worker]), or the same events as JSON,
// one a line ([BrokerJSON], [WorkerJSON]).
//
// The lines on standard output are the original's, byte for byte, the peer's
// address as Python prints a tuple included. Where the original died there is
// no line to be faithful to: those begin with the program's name too, and say
// "Refused" or "left".
//
// Text that came over the network is shown as it is if all of it is printable,
// and quoted otherwise, so that nobody can write to the terminal of somebody
// else.
//
// A line that comes alone is written at once. Under load, what comes within a
// few milliseconds of a write is written together, so Close has to be called
// before the program ends.
package console

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/protocol"
)

// A Broker prints the broker's lines. It is a [broker.Journal].
type Broker struct{ *lines }

// NewBroker returns a Broker that prints to w.
func NewBroker(w io.Writer) *Broker { return &Broker{newLines(w)} }

// Listening says where the broker listens.
func (b *Broker) Listening(at net.Addr) {
	b.print("[Broker] Listening on port ", port(at), "...")
}

// Connected is for [broker.Journal].
func (b *Broker) Connected(client net.Addr) {
	b.print("[Broker] Connected with ", tuple(client))
}

// Unreachable is for [broker.Journal].
func (b *Broker) Unreachable(worker string, _ error) {
	b.print("[Broker] Failed to connect to ", worker)
}

// HandedOn is for [broker.Journal].
func (b *Broker) HandedOn(worker string, err error) {
	b.print("[Broker] No answer from ", worker, ", asking the next one: ", Shown(err.Error()))
}

// Done is for [broker.Journal].
func (b *Broker) Done(v *broker.Visit) {
	if v.Err != nil {
		b.print("[Broker] Refused ", tuple(v.Client), ": ", Shown(v.Err.Error()))
		return
	}
	b.print("[Broker] Response from ", v.Worker, ": ", Shown(v.Answer))
}

// Left is for [broker.Journal].
func (b *Broker) Left(v *broker.Visit, _ error) {
	b.print("[Broker] ", tuple(v.Client), " left before its answer")
}

// Paused says that accepting failed for now.
func (b *Broker) Paused(err error, pause fmt.Stringer) {
	b.print("[Broker] Waiting ", pause.String(), " before the next client: ", err.Error())
}

// Summary prints a line for each worker. approaches name what
// [balance.Status].Answered counts.
func (b *Broker) Summary(workers []balance.Status, approaches []protocol.Approach) {
	for _, w := range workers {
		var answered []string
		for i, a := range approaches {
			answered = append(answered, fmt.Sprintf("%d by %s", w.Answered[i], a))
		}
		b.print(fmt.Sprintf("[Broker] %s: answered %s; failed %d; at most %d at once",
			w.Name, strings.Join(answered, ", "), w.Failed, w.Most))
	}
}

// A Worker prints a worker's lines. It is a worker.Journal.
type Worker struct{ *lines }

// NewWorker returns a Worker that prints to w.
func NewWorker(w io.Writer) *Worker { return &Worker{newLines(w)} }

// Listening says where the worker listens.
func (w *Worker) Listening(id int, at net.Addr) {
	w.print("[Worker-", strconv.Itoa(id), "] Listening on port ", port(at), "...")
}

// Processing is for worker.Journal.
func (w *Worker) Processing(job protocol.Job, peer net.Addr) {
	w.print("[Worker] Processing ", strings.ToLower(string(job.Type)), " request from ", tuple(peer))
}

// Refused is for worker.Journal.
func (w *Worker) Refused(peer net.Addr, reason string) {
	w.print("[Worker] Refused ", tuple(peer), ": ", Shown(reason))
}

// Dropped is for worker.Journal.
func (w *Worker) Dropped(peer net.Addr) {
	w.print("[Worker] Dropped ", tuple(peer), ": left while it waited")
}

// Paused says that accepting failed for now.
func (w *Worker) Paused(err error, pause fmt.Stringer) {
	w.print("[Worker] Waiting ", pause.String(), " before the next job: ", err.Error())
}

// A BrokerJSON writes the broker's events as JSON. It is a [broker.Journal].
type BrokerJSON struct {
	*lines
	log *slog.Logger
}

// NewBrokerJSON returns a BrokerJSON that writes to w.
func NewBrokerJSON(w io.Writer) *BrokerJSON {
	l := newLines(w)
	return &BrokerJSON{l, newJSON(l)}
}

func newJSON(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

// Listening says where the broker listens.
func (b *BrokerJSON) Listening(at net.Addr) { b.log.Info("listening", "address", at.String()) }

// Connected is for [broker.Journal]. One event a request is enough: Done's.
func (b *BrokerJSON) Connected(net.Addr) {}

// Unreachable is for [broker.Journal].
func (b *BrokerJSON) Unreachable(worker string, err error) {
	b.log.Warn("unreachable", "worker", worker, "error", err.Error())
}

// HandedOn is for [broker.Journal].
func (b *BrokerJSON) HandedOn(worker string, err error) {
	b.log.Warn("handed on", "worker", worker, "error", err.Error())
}

// Done is for [broker.Journal]. The event is named for how the visit ended:
// answered by a worker, failed because no worker answered, or refused because
// it was no request.
func (b *BrokerJSON) Done(v *broker.Visit) {
	switch {
	case v.Err == nil:
		b.log.Info("answered", attributes(v, "answer", v.Answer)...)
	case v.Attempts > 0:
		b.log.Warn("failed", attributes(v, "error", v.Err.Error())...)
	default:
		b.log.Warn("refused", attributes(v, "error", v.Err.Error())...)
	}
}

// Left is for [broker.Journal]. The event follows the one of Done and is about
// the same visit: what it ended in did not arrive.
func (b *BrokerJSON) Left(v *broker.Visit, err error) {
	b.log.Warn("left", attributes(v, "error", err.Error())...)
}

// attributes returns what every event of a visit has, and more.
func attributes(v *broker.Visit, more ...any) []any {
	return append([]any{
		"client", v.Client.String(), "type", v.Request.Type, "approach", v.Request.Approach,
		"worker", v.Worker, "attempts", v.Attempts,
		"waiting_seconds", v.Reading.Seconds(),
		"connecting_seconds", v.Connecting.Seconds(),
		"serving_seconds", v.Serving.Seconds(),
	}, more...)
}

// Paused says that accepting failed for now.
func (b *BrokerJSON) Paused(err error, pause fmt.Stringer) {
	b.log.Warn("paused", "pause", pause.String(), "error", err.Error())
}

// Summary writes an event for each worker.
func (b *BrokerJSON) Summary(workers []balance.Status, approaches []protocol.Approach) {
	for _, w := range workers {
		attrs := []any{"worker", w.Name, "failed", w.Failed, "most", w.Most}
		for i, a := range approaches {
			attrs = append(attrs, "answered_"+string(a), w.Answered[i])
		}
		b.log.Info("summary", attrs...)
	}
}

// A WorkerJSON writes a worker's events as JSON. It is a worker.Journal.
type WorkerJSON struct {
	*lines
	log *slog.Logger
}

// NewWorkerJSON returns a WorkerJSON that writes to w.
func NewWorkerJSON(w io.Writer) *WorkerJSON {
	l := newLines(w)
	return &WorkerJSON{l, newJSON(l)}
}

// Listening says where the worker listens.
func (w *WorkerJSON) Listening(id int, at net.Addr) {
	w.log.Info("listening", "worker", id, "address", at.String())
}

// Processing is for worker.Journal.
func (w *WorkerJSON) Processing(job protocol.Job, peer net.Addr) {
	w.log.Info("processing", "type", job.Type, "peer", peer.String())
}

// Refused is for worker.Journal.
func (w *WorkerJSON) Refused(peer net.Addr, reason string) {
	w.log.Warn("refused", "peer", peer.String(), "error", reason)
}

// Dropped is for worker.Journal.
func (w *WorkerJSON) Dropped(peer net.Addr) {
	w.log.Warn("dropped", "peer", peer.String())
}

// Paused says that accepting failed for now.
func (w *WorkerJSON) Paused(err error, pause fmt.Stringer) {
	w.log.Warn("paused", "pause", pause.String(), "error", err.Error())
}

// tuple returns an address as Python prints it: ('127.0.0.1', 57730), and with
// flow and scope for IPv6.
func tuple(a net.Addr) string {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "('" + a.String() + "', 0)"
	}
	s := "('" + p.Addr().String() + "', " + strconv.Itoa(int(p.Port()))
	if p.Addr().Is6() {
		s += ", 0, 0"
	}
	return s + ")"
}

func port(a net.Addr) string {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return p
}

// Shown returns text from the network as it may be printed on a terminal: as it
// is, or quoted.
func Shown(text string) string {
	for _, r := range text {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return strconv.Quote(text)
		}
	}
	return text
}

// Off shows nothing. It is a [broker.Journal] and a worker.Journal.
type Off struct{}

func (Off) Close()                                        {}
func (Off) Connected(net.Addr)                            {}
func (Off) Unreachable(string, error)                     {}
func (Off) HandedOn(string, error)                        {}
func (Off) Done(*broker.Visit)                            {}
func (Off) Left(*broker.Visit, error)                     {}
func (Off) Paused(error, fmt.Stringer)                    {}
func (Off) Summary([]balance.Status, []protocol.Approach) {}
func (Off) Processing(protocol.Job, net.Addr)             {}
func (Off) Refused(net.Addr, string)                      {}
func (Off) Dropped(net.Addr)                              {}
