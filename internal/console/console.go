// Package console is what the broker and the worker show of themselves: the
// lines of the course notes ([Broker], [Worker]), or the same events as JSON,
// one a line ([BrokerJSON], [WorkerJSON]).
//
// The lines on standard output are the original's, byte for byte, the peer's
// address as Python prints a tuple included. Where the original died there is
// no line to be faithful to: those begin with the program's name too, and say
// "Refused" or "left".
//
// Text that came over the network is shown as [protocol.Printable] has it.
//
// Everything is written by a [Writer], which never holds up its caller: work
// goes on whether or not somebody reads the output. Close has to be called
// before the program ends.
package console

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"balancelab/internal/balance"
	"balancelab/internal/broker"
	"balancelab/internal/neterr"
	"balancelab/internal/protocol"
)

// A Broker prints the broker's lines. It is a [broker.Observer].
type Broker struct{ *Writer }

// NewBroker returns a Broker that prints to w.
func NewBroker(w io.Writer) *Broker { return &Broker{NewWriter(w, nil)} }

// Listening says where the broker listens.
func (b *Broker) Listening(at net.Addr) {
	b.print("[Broker] Listening on port ", port(at), "...")
}

// StatusPage says where the live page is.
func (b *Broker) StatusPage(url string) { b.print("[Broker] Status page on ", url) }

// Connected implements [broker.Observer].
func (b *Broker) Connected(client net.Addr) {
	b.print("[Broker] Connected with ", tuple(client))
}

// Unreachable implements [broker.Observer].
func (b *Broker) Unreachable(worker string, _ error) {
	b.print("[Broker] Failed to connect to ", worker)
}

// Redispatched implements [broker.Observer].
func (b *Broker) Redispatched(worker string, err error) {
	b.print("[Broker] No answer from ", worker, ", asking the next one: ", protocol.Printable(neterr.InWords(err).Error()))
}

// Done implements [broker.Observer]. A client that leaves without a byte has no
// line: such a connection is a probe.
func (b *Broker) Done(x *broker.Exchange) {
	f := x.Failure
	switch {
	case f == nil || f.Reason == broker.Refused:
		b.print("[Broker] Response from ", x.Worker, ": ", protocol.Printable(x.Answer))
	case f.Reason == broker.NoRequest:
	case f.Reason == broker.ClientLeft: // ClientGone follows
	case f.Unread():
		b.print("[Broker] Refused ", tuple(x.Client), ": ", protocol.Printable(f.Error()))
	default:
		b.print("[Broker] Failed ", tuple(x.Client), ": ", protocol.Printable(f.Error()))
	}
}

// Step implements [broker.Observer]. No line is about it.
func (b *Broker) Step(*broker.Exchange, broker.Step) {}

// ClientGone implements [broker.Observer].
func (b *Broker) ClientGone(x *broker.Exchange, _ error) {
	b.print("[Broker] ", tuple(x.Client), " left before its answer")
}

// Paused says that accepting failed for now.
func (b *Broker) Paused(err error, pause time.Duration) {
	b.print("[Broker] Waiting ", pause.String(), " before the next client: ", neterr.InWords(err).Error())
}

// Changed says that a worker cools down or is up again, comes or goes.
func (b *Broker) Changed(c balance.Change) {
	b.print("[Broker] ", c.Name, " ", changed(c))
}

func changed(c balance.Change) string {
	switch {
	case c.Cause == balance.Ordered && (c.State == balance.Cooling || c.State == balance.DueForTrial || c.State == balance.OnTrial):
		return "drains no longer: it is " + c.State.String()
	case c.State == balance.Cooling:
		return "cools down for " + c.Cooling.String() + ": " + c.Cause.String()
	case c.State == balance.Draining:
		return "drains: it gets nothing new"
	case c.State == balance.Drained:
		return "has drained: nothing is in flight there"
	case c.State == balance.Removed:
		return "is removed"
	case c.Cause == balance.Added:
		return "is added: " + c.Addr
	}
	return "is up again: " + c.Cause.String()
}

// Summary prints a line for each worker, one for those that were removed, and one
// for the queue if there was one.
func (b *Broker) Summary(s balance.Snapshot) {
	for _, w := range s.Workers {
		b.print(fmt.Sprintf("[Broker] %s: %s; at most %d at once", w.Name, outcomes(w), w.Peak))
	}
	if s.Removed.Assigned > 0 {
		b.print("[Broker] Removed workers: ", outcomes(s.Removed))
	}
	if most := s.Queue.Most; most > 0 {
		b.print(fmt.Sprintf("[Broker] Queue: at most %d waited", most))
	}
}

// outcomes says how the requests ended that were assigned.
func outcomes(w balance.Status) string {
	var answered []string
	for _, a := range protocol.Approaches() {
		answered = append(answered, fmt.Sprintf("%d by %v", w.Answered[a], a))
	}
	text := fmt.Sprintf("answered %s; failed %d", strings.Join(answered, ", "), w.Failed)
	if w.Withdrawn > 0 {
		text += fmt.Sprintf("; withdrawn %d", w.Withdrawn)
	}
	return text
}

// A Worker prints a worker's lines. It is a worker.Observer.
type Worker struct{ *Writer }

// NewWorker returns a Worker that prints to w.
func NewWorker(w io.Writer) *Worker { return &Worker{NewWriter(w, nil)} }

// Listening says where the worker listens.
func (w *Worker) Listening(id int, at net.Addr) {
	w.print("[Worker-", strconv.Itoa(id), "] Listening on port ", port(at), "...")
}

// Processing implements worker.Observer.
func (w *Worker) Processing(job protocol.Job, peer net.Addr) {
	w.print("[Worker] Processing ", strings.ToLower(job.Type.String()), " request from ", tuple(peer))
}

// Refused implements worker.Observer.
func (w *Worker) Refused(peer net.Addr, reason string) {
	w.print("[Worker] Refused ", tuple(peer), ": ", protocol.Printable(reason))
}

// Dropped implements worker.Observer.
func (w *Worker) Dropped(peer net.Addr) {
	w.print("[Worker] Dropped ", tuple(peer), ": left while it waited")
}

// Paused says that accepting failed for now.
func (w *Worker) Paused(err error, pause time.Duration) {
	w.print("[Worker] Waiting ", pause.String(), " before the next job: ", neterr.InWords(err).Error())
}

// A BrokerJSON writes the broker's events as JSON. It is a [broker.Observer].
type BrokerJSON struct {
	*Writer
	log *slog.Logger
}

// NewBrokerJSON returns a BrokerJSON that writes to w.
func NewBrokerJSON(w io.Writer) *BrokerJSON {
	out, log := newJSON(w)
	return &BrokerJSON{out, log}
}

// newJSON returns a Writer to w and a logger that writes events to it.
func newJSON(w io.Writer) (*Writer, *slog.Logger) {
	out := NewWriter(w, func(lines int) []byte {
		var event bytes.Buffer
		slog.New(slog.NewJSONHandler(&event, nil)).Warn("not shown", "lines", lines)
		return event.Bytes()
	})
	return out, slog.New(slog.NewJSONHandler(escaper{out}, nil))
}

// An escaper passes JSON on. What a terminal may obey and slog lets through, such
// as U+009B or U+202E, is escaped.
type escaper struct{ w io.Writer }

func (e escaper) Write(p []byte) (int, error) {
	if i := bytes.IndexFunc(p, hidden); i < 0 {
		return e.w.Write(p)
	}
	var escaped []byte
	for _, r := range string(p) {
		if hidden(r) {
			for _, unit := range utf16.AppendRune(nil, r) {
				escaped = fmt.Appendf(escaped, `\u%04x`, unit)
			}
			continue
		}
		escaped = utf8.AppendRune(escaped, r)
	}
	if _, err := e.w.Write(escaped); err != nil {
		return 0, err
	}
	return len(p), nil
}

// hidden reports whether r, in JSON, is to be escaped.
func hidden(r rune) bool {
	plain := r >= ' ' && r <= '~' || r == '\n'
	return !plain && !unicode.IsPrint(r)
}

// Listening says where the broker listens.
func (b *BrokerJSON) Listening(at net.Addr) { b.log.Info("listening", "address", at.String()) }

// StatusPage says where the live page is.
func (b *BrokerJSON) StatusPage(url string) { b.log.Info("status page", "url", url) }

// Connected implements [broker.Observer]. One event a request is enough: Done's.
func (b *BrokerJSON) Connected(net.Addr) {}

// Unreachable implements [broker.Observer].
func (b *BrokerJSON) Unreachable(worker string, err error) {
	b.log.Warn("unreachable", "worker", worker, "error", neterr.InWords(err).Error())
}

// Redispatched implements [broker.Observer].
func (b *BrokerJSON) Redispatched(worker string, err error) {
	b.log.Warn("handed on", "worker", worker, "error", neterr.InWords(err).Error())
}

// Done implements [broker.Observer]. The event is named for how the exchange ended:
// answered by a worker, failed because no worker answered, or refused because
// it was no request.
func (b *BrokerJSON) Done(x *broker.Exchange) {
	switch {
	case x.Failure != nil && (x.Failure.Reason == broker.NoRequest || x.Failure.Reason == broker.ClientLeft):
	case x.Failure == nil:
		b.log.Info("answered", attributes(x, "answer", x.Answer)...)
	case !x.Failure.Unread():
		b.log.Warn("failed", attributes(x, "error", x.Failure.Error())...)
	default:
		b.log.Warn("refused", attributes(x, "error", x.Failure.Error())...)
	}
}

// Step implements [broker.Observer]. One event a request is enough.
func (b *BrokerJSON) Step(*broker.Exchange, broker.Step) {}

// ClientGone implements [broker.Observer]. The event follows the one of Done, and
// is about the same exchange: what it ended in did not arrive. If the client left
// before it had ended, Done has written none.
func (b *BrokerJSON) ClientGone(x *broker.Exchange, err error) {
	b.log.Warn("left", attributes(x, "error", neterr.InWords(err).Error())...)
}

// attributes returns what every event of an exchange has, and more.
func attributes(x *broker.Exchange, more ...any) []any {
	return append([]any{
		"client", x.Client.String(), "type", x.Request.Type.String(), "approach", x.Request.Approach.String(),
		"worker", x.Worker, "attempts", x.Attempts,
		"waiting_seconds", x.Reading.Seconds(),
		"queued_seconds", x.Queued.Seconds(),
		"connecting_seconds", x.Connecting.Seconds(),
		"serving_seconds", x.Serving.Seconds(),
	}, more...)
}

// Paused says that accepting failed for now.
func (b *BrokerJSON) Paused(err error, pause time.Duration) {
	b.log.Warn("paused", "pause", pause.String(), "error", neterr.InWords(err).Error())
}

// Changed says that a worker cools down or is up again, comes or goes. The event
// is named for the state.
func (b *BrokerJSON) Changed(c balance.Change) {
	switch {
	case c.State == balance.Cooling:
		b.log.Warn("cooling down", "worker", c.Name, "cooling_seconds", c.Cooling.Seconds(), "cause", c.Cause.String())
	case c.Cause == balance.Added:
		b.log.Info("added", "worker", c.Name, "address", c.Addr, "weight", c.Weight, "limit", c.Limit)
	default:
		b.log.Info(c.State.String(), "worker", c.Name, "cause", c.Cause.String())
	}
}

// Summary writes an event for each worker, one for those that were removed, and
// one for the queue if there was one.
func (b *BrokerJSON) Summary(s balance.Snapshot) {
	for _, w := range s.Workers {
		b.log.Info("summary", append([]any{"worker", w.Name, "most", w.Peak}, counts(w)...)...)
	}
	if s.Removed.Assigned > 0 {
		b.log.Info("summary of removed workers", counts(s.Removed)...)
	}
	if most := s.Queue.Most; most > 0 {
		b.log.Info("queue", "most", most)
	}
}

func counts(w balance.Status) []any {
	all := []any{"failed", w.Failed, "withdrawn", w.Withdrawn}
	for _, a := range protocol.Approaches() {
		all = append(all, "answered_"+a.String(), w.Answered[a])
	}
	return all
}

// A WorkerJSON writes a worker's events as JSON. It is a worker.Observer.
type WorkerJSON struct {
	*Writer
	log *slog.Logger
}

// NewWorkerJSON returns a WorkerJSON that writes to w.
func NewWorkerJSON(w io.Writer) *WorkerJSON {
	out, log := newJSON(w)
	return &WorkerJSON{out, log}
}

// Listening says where the worker listens.
func (w *WorkerJSON) Listening(id int, at net.Addr) {
	w.log.Info("listening", "worker", id, "address", at.String())
}

// Processing implements worker.Observer.
func (w *WorkerJSON) Processing(job protocol.Job, peer net.Addr) {
	w.log.Info("processing", "type", job.Type.String(), "peer", peer.String())
}

// Refused implements worker.Observer.
func (w *WorkerJSON) Refused(peer net.Addr, reason string) {
	w.log.Warn("refused", "peer", peer.String(), "error", reason)
}

// Dropped implements worker.Observer.
func (w *WorkerJSON) Dropped(peer net.Addr) {
	w.log.Warn("dropped", "peer", peer.String())
}

// Paused says that accepting failed for now.
func (w *WorkerJSON) Paused(err error, pause time.Duration) {
	w.log.Warn("paused", "pause", pause.String(), "error", neterr.InWords(err).Error())
}

// tuple returns an address as Python prints it: ('127.0.0.1', 57730), and with
// flow and scope, which is the number of a zone, for IPv6.
func tuple(a net.Addr) string {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return "('" + a.String() + "', 0)"
	}
	s := "('" + p.Addr().WithZone("").String() + "', " + strconv.Itoa(int(p.Port()))
	if p.Addr().Is6() {
		s += ", 0, " + strconv.Itoa(scope(p.Addr().Zone()))
	}
	return s + ")"
}

// scope returns the number of a zone, which may be written as the name of a
// network interface.
func scope(zone string) int {
	if n, err := strconv.Atoi(zone); err == nil {
		return n
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return i.Index
	}
	return 0
}

func port(a net.Addr) string {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return p
}

// Off shows nothing. It is a [broker.Observer] and a worker.Observer.
type Off struct{}

func (Off) Close()                             {}
func (Off) Connected(net.Addr)                 {}
func (Off) Unreachable(string, error)          {}
func (Off) Redispatched(string, error)         {}
func (Off) Done(*broker.Exchange)              {}
func (Off) Step(*broker.Exchange, broker.Step) {}
func (Off) ClientGone(*broker.Exchange, error) {}
func (Off) Paused(error, time.Duration)        {}
func (Off) Changed(balance.Change)             {}
func (Off) NotShown() int                      { return 0 }
func (Off) Summary(balance.Snapshot)           {}
func (Off) Processing(protocol.Job, net.Addr)  {}
func (Off) Refused(net.Addr, string)           {}
func (Off) Dropped(net.Addr)                   {}
