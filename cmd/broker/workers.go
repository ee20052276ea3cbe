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

// parseWorkers parses the list of -workers. The workers are named by their
// place in it, from Worker-1 on.
func parseWorkers(list string) ([]balance.Worker, error) {
	var workers []balance.Worker
	known := map[string]bool{}
	for item := range strings.SplitSeq(list, ",") {
		addr, weight, err := parseWorker(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		if known[addr] {
			return nil, fmt.Errorf("%s is there twice", addr)
		}
		known[addr] = true
		name := fmt.Sprintf("Worker-%d", len(workers)+1)
		workers = append(workers, balance.Worker{Name: name, Addr: addr, Weight: weight})
	}
	return workers, nil
}

func parseWorker(item string) (addr string, weight int, err error) {
	if item == "" {
		return "", 0, errors.New("a worker is missing: want host:port,host:port")
	}
	addr, share, weighted := strings.Cut(item, "=")
	host, port, err := cli.SplitAddr(addr)
	switch {
	case err != nil:
		return "", 0, err
	case host == "":
		return "", 0, fmt.Errorf("%q is no address: want host:port or host:port=weight", item)
	case port == 0:
		return "", 0, fmt.Errorf("%q has no port from 1 to 65535", item)
	}
	addr = canonical(host, port)
	if !weighted {
		return addr, 1, nil
	}
	weight, err = strconv.Atoi(share)
	if err != nil || weight < 1 || weight > maxWeight {
		return "", 0, fmt.Errorf("%q has no weight from 1 to %d", item, maxWeight)
	}
	return addr, weight, nil
}

// canonical returns the one spelling of an address. A name stays as it is
// written.
func canonical(host string, port int) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}
