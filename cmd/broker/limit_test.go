package main

import "testing"

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
