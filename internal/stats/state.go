package stats

import "balancelab/internal/balance"

// notAskedYet is the state of a worker of which nothing is known: no request
// was assigned to it, and the pool takes it for up.
const notAskedYet = "not asked yet"

// States returns every state that [Worker.State] may be, in a fixed order.
func States() []string {
	return []string{
		notAskedYet, balance.Up.String(), balance.Cooling.String(), balance.DueForTrial.String(), balance.OnTrial.String(),
		balance.Draining.String(), balance.Drained.String(),
	}
}

// stateOf is the only place that turns what the pool knows into one of States.
func stateOf(w *balance.Status) string {
	if w.State == balance.Up && w.Assigned == 0 {
		return notAskedYet
	}
	return w.State.String()
}

// Up reports whether any request may be assigned to the worker: it does not
// cool down, is not due for a trial or on one, and does not drain. It is known
// from the worker's last request; one that was not asked yet is taken for up.
func (w *Worker) Up() bool { return w.State == balance.Up.String() || w.State == notAskedYet }
