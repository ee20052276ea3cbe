package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
)

// maxWeight keeps a mistyped weight from starving the other workers.
const maxWeight = 1000

// maxLimit is more than a worker is ever given at once.
const maxLimit = 1_000_000

// parseWorkers parses the list of -workers. The workers are named by their
// place in it, from Worker-1 on. One that has no limit of its own gets limit.
func parseWorkers(list string, limit int) ([]balance.Worker, error) {
	var workers []balance.Worker
	known := map[string]bool{}
	for item := range strings.SplitSeq(list, ",") {
		w, err := parseWorker(strings.TrimSpace(item), limit)
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

// parseWorker parses host:port, host:port=weight or host:port=weight/limit.
func parseWorker(item string, limit int) (balance.Worker, error) {
	if item == "" {
		return balance.Worker{}, errors.New("a worker is missing: want host:port,host:port")
	}
	addr, share, weighted := strings.Cut(item, "=")
	host, port, err := cli.SplitAddr(addr)
	switch {
	case err != nil:
		return balance.Worker{}, err
	case host == "":
		return balance.Worker{}, fmt.Errorf("%q is no address: want host:port or host:port=weight", item)
	case port == 0:
		return balance.Worker{}, fmt.Errorf("%q has no port from 1 to 65535", item)
	}
	w := balance.Worker{Addr: canonical(host, port), Weight: 1, Limit: limit}
	if !weighted {
		return w, nil
	}
	share, most, limited := strings.Cut(share, "/")
	if w.Weight, err = strconv.Atoi(share); err != nil || w.Weight < 1 || w.Weight > maxWeight {
		return balance.Worker{}, fmt.Errorf("%q has no weight from 1 to %d", item, maxWeight)
	}
	if !limited {
		return w, nil
	}
	if w.Limit, err = strconv.Atoi(most); err != nil || w.Limit < 0 || w.Limit > maxLimit {
		return balance.Worker{}, fmt.Errorf("%q has no limit from 0 to %d: want host:port=weight/limit", item, maxLimit)
	}
	return w, nil
}

// canonical returns the one spelling of an address. A name stays as it is
// written.
func canonical(host string, port int) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
