package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/neterr"
)

// resolveTimeout is for all names of workers together.
const resolveTimeout = 10 * time.Second

// check is -check, of a command line that was parsed: it resolves the workers'
// names, and binds and asks nothing.
func check(ctx context.Context, line *cli.Line, f flags) int {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var wrong []string
	for _, w := range f.workers {
		if err := resolve(ctx, w.Addr); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: the host of %s is not found: %v", w.Name, w.Addr, neterr.Reason(err)))
		}
	}
	if len(wrong) > 0 {
		return line.Wrong("-workers: %s", strings.Join(wrong, "; "))
	}
	workers := "1 worker"
	if n := len(f.workers); n > 1 {
		workers = fmt.Sprintf("%d workers", n)
	}
	return line.Print("The command line is right, and the hosts of " + workers + " are found. Nothing was started.\n")
}

func resolve(ctx context.Context, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	_, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	return err
}
