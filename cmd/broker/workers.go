package main

import (
	"fmt"
	"strings"

	"balancelab/internal/balance"
	"balancelab/internal/control"
)

// parseWorkers parses the list of -workers. The workers are named by their
// place in it, from Worker-1 on. One that has no limit of its own gets limit.
func parseWorkers(list string, limit int) ([]balance.Worker, error) {
	var workers []balance.Worker
	known := map[string]bool{}
	for item := range strings.SplitSeq(list, ",") {
		w, err := control.ParseWorker(strings.TrimSpace(item), limit)
		if err != nil {
			return nil, err
		}
		if known[w.Addr] {
			return nil, fmt.Errorf("%s is there twice", w.Addr)
		}
		known[w.Addr] = true
		w.Name = fmt.Sprintf("Worker-%d", len(workers)+1)
		workers = append(workers, w)
	}
	return workers, nil
}
