// Package simulate plays the whole lab in simulated time: the real server, broker,
// balance, worker and client code, with a fake clock, on a network in memory. An
// hour of the lab takes about a second.
//
// A run is made from one number, its seed. A plan is drawn from it: the broker's
// flags; workers with their slots, weights and limits; clients with their
// arrivals and behaviours; and troubles, each with its time and place. Troubles
// come in swarms: each run has a random subset of their kinds, so that rare
// combinations occur, and each kind alone. Then the plan is played in a
// testing/synctest bubble. At the end all troubles are over, and the lab must work
// as if nothing had been.
//
//	draw(seed)  →  plan  →  run(plan)  →  outcome: faults, a history, figures
//
// A checker is told of every step of the broker and of every job of the workers.
// What must hold at a step is checked there; the rest when all is over. The
// bubble itself checks that no goroutine is left.
//
// The network behaves as TCP does between machines, with the delays, losses and
// resets that the plan says (conn.go, link.go). What a seed leaves open is only
// the order of what happens within the same nanosecond, which Go's scheduler
// decides. README.md has what is checked, what a replay is worth, and which faults
// of the past are found.
//
// What is not played: the command lines, the page's connections, and what only an
// operating system has, such as full buffers and suspended processes.
package simulate
