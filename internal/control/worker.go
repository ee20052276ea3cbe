package control

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

// MaxWeight keeps a mistyped weight from starving the other workers.
const MaxWeight = 1000

// MaxLimit is more than a worker is ever given at once.
const MaxLimit = 1_000_000

// ParseWorker parses host:port, host:port=weight or host:port=weight/limit. A
// worker that has no limit of its own gets limit. It has no name yet.
func ParseWorker(text string, limit int) (balance.Worker, error) {
	addr, share, weighted := strings.Cut(text, "=")
	w := balance.Worker{Weight: 1, Limit: limit}
	var err error
	if w.Addr, err = parseAddr(addr); err != nil {
		return balance.Worker{}, err
	}
	if !weighted {
		return w, nil
	}
	share, most, limited := strings.Cut(share, "/")
	if w.Weight, err = strconv.Atoi(share); err != nil || CheckWeight(w.Weight) != nil {
		return balance.Worker{}, fmt.Errorf("%q has no weight from 1 to %d", text, MaxWeight)
	}
	if !limited {
		return w, nil
	}
	if w.Limit, err = strconv.Atoi(most); err != nil || CheckLimit(w.Limit) != nil {
		return balance.Worker{}, fmt.Errorf("%q has no limit from 0 to %d: want host:port=weight/limit", text, MaxLimit)
	}
	return w, nil
}

// CheckWeight returns what is wrong with a weight, or nil.
func CheckWeight(n int) error {
	if n < 1 || n > MaxWeight {
		return fmt.Errorf("a weight must be from 1 to %d: %d", MaxWeight, n)
	}
	return nil
}

// CheckLimit returns what is wrong with a limit, or nil.
func CheckLimit(n int) error {
	if n < 0 || n > MaxLimit {
		return fmt.Errorf("a limit must be from 0, which means none, to %d: %d", MaxLimit, n)
	}
	return nil
}

// parseAddr returns the one spelling of an address, so that each worker is known
// once. A host's name stays as it is written.
func parseAddr(addr string) (string, error) {
	if addr == "" {
		return "", errors.New("a worker is missing: want host:port")
	}
	host, port, err := cli.SplitAddr(addr)
	switch {
	case err != nil:
		return "", err
	case host == "":
		return "", fmt.Errorf("%q is no address: want host:port or host:port=weight", addr)
	case port == 0:
		return "", fmt.Errorf("%q has no port from 1 to 65535", addr)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
