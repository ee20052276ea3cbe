package main

import (
	"testing"

	"balancelab/internal/balance"
)

// However many clients and kept connections there are, they fit into the
// limit on open files; and none that would fit has to wait.
func TestClientsIn(t *testing.T) {
	for _, test := range []struct{ room, idle, want int }{
		{19_984, 0, 9992},
		{19_984, 3 * idleMax, 9800},
		{48, 0, 24},
		{48, 3 * idleMax, 16},
		{1, 3 * idleMax, 1},
	} {
		if got := clientsIn(test.room, test.idle); got != test.want {
			t.Errorf("clientsIn(%d, %d) = %d, want %d", test.room, test.idle, got, test.want)
		}
	}
	for room := 6; room < 3000; room++ {
		for _, idle := range []int{0, idleMax, 3 * idleMax} {
			fits := func(clients int) bool { return 2*clients+min(idle, clients) <= room }
			if c := clientsIn(room, idle); !fits(c) || fits(c+1) && fits(c+2) {
				t.Fatalf("clientsIn(%d, %d) = %d", room, idle, c)
			}
		}
	}
}

// The smaller of two limits holds, and whatever is asked for fits into the open
// files.
func TestBudget(t *testing.T) {
	three := make([]balance.Worker, 3)
	for _, test := range []struct {
		name    string
		flags   flags
		limit   int
		limited bool
		want    budget
	}{
		{"no limit", flags{workers: three}, 0, false, budget{100_000, 0}},
		{"no limit, with the page", flags{workers: three, status: "x"}, 0, false, budget{100_000, 228}},
		{"more files than clients", flags{workers: three}, 1 << 20, true, budget{100_000, 0}},
		{"few files", flags{workers: three}, 40, true, budget{10, 0}},
		{"few files, with the page", flags{workers: three, status: "x"}, 128, true, budget{38, 32}},
		{"few files, with the page and kept connections", flags{workers: three, status: "x", keepalive: true}, 128, true, budget{25, 32}},
		{"more files, with kept connections", flags{workers: three, keepalive: true}, 2017, true, budget{807, 0}},
		{"few files, with runs", flags{workers: three, status: "x", control: true}, 128, true, budget{30, 32}},
		{"any number of workers", flags{workers: three, keepalive: true, control: true}, 2017, true, budget{582, 0}},
		{"next to none", flags{workers: three, status: "x", keepalive: true}, 10, true, budget{1, 2}},
	} {
		if got := test.flags.budget(test.limit, test.limited); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
