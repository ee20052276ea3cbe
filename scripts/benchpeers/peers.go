package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"balancelab/internal/protocol"
	"balancelab/scripts/bench"
)

// A peer is what stands between the client and the workers.
type peer struct {
	name string
	// command returns what to run. nil: there is none, the client asks Worker-1.
	command func(l *lab) *exec.Cmd
	// config is a file under scripts/peers of which command gets a copy with
	// the ports of this run. Empty: none.
	config string
	// check returns what finds out whether the peer can run. nil: it can.
	check func(l *lab) *exec.Cmd
	// version prints something that ends with the version. nil: none is shown.
	version []string
	// twoPorts says that round robin has a port of its own.
	twoPorts bool
	rival    bool // one of those that the ratios are to
}

// allPeers returns the peers in the order of the table.
func allPeers(s size) []peer {
	broker := func(name string, flags ...string) peer {
		return peer{name: name, command: func(l *lab) *exec.Cmd {
			return l.Command("broker", append([]string{
				"-listen", bench.Address(l.front), "-workers", l.workerList(),
				"-drain-timeout", "0s", "-max-conns", strconv.Itoa(2*s.c + s.longs + 100),
			}, flags...)...)
		}}
	}
	haproxy, nginx := program("haproxy"), program("nginx")
	inHAProxy := func(l *lab, how string) *exec.Cmd { return exec.Command(haproxy, how, "-f", l.config("haproxy.cfg")) }
	inNginx := func(l *lab, more ...string) *exec.Cmd {
		return exec.Command(nginx, append([]string{
			"-c", l.config("nginx.conf"), "-e", "stderr", "-g", "daemon off; pid " + l.config("nginx.pid") + ";",
		}, more...)...)
	}
	return []peer{
		broker("broker", "-log", "off"),
		broker("broker, log to a file", "-log", "text"),
		broker("broker -keepalive", "-log", "off", "-keepalive"),
		{
			name: "HAProxy", rival: true, config: "haproxy.cfg", version: []string{haproxy, "-v"},
			command: func(l *lab) *exec.Cmd { return inHAProxy(l, "-db") },
			check:   func(l *lab) *exec.Cmd { return inHAProxy(l, "-c") },
		},
		{
			name: "nginx", rival: true, twoPorts: true, config: "nginx.conf", version: []string{nginx, "-v"},
			command: func(l *lab) *exec.Cmd { return inNginx(l) },
			check:   func(l *lab) *exec.Cmd { return inNginx(l, "-t") },
		},
		{name: "no balancer"},
	}
}

// program returns the path of a server. An ordinary user's PATH may lack the
// directory where Debian puts servers.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// address returns where clients of the peer connect.
func (p *peer) address(l *lab, a protocol.Approach) string {
	switch {
	case p.command == nil:
		return bench.Address(l.workers[0])
	case p.twoPorts && a == protocol.RoundRobin:
		return bench.Address(l.second)
	}
	return bench.Address(l.front)
}

var aVersion = regexp.MustCompile(`\d+(\.\d+)+`)

// installed returns those of peers that can run here, with their versions, and
// why others can't.
func (l *lab) installed(ctx context.Context, peers []peer) (found []peer, leftOut []string) {
	for _, p := range peers {
		if err := l.prepare(ctx, &p); err != nil {
			leftOut = append(leftOut, fmt.Sprintf("%s: %v", p.name, err))
			continue
		}
		found = append(found, p)
	}
	return found, leftOut
}

// prepare writes the peer's configuration and checks that it can run.
func (l *lab) prepare(ctx context.Context, p *peer) error {
	if p.version != nil {
		out, err := exec.CommandContext(ctx, p.version[0], p.version[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("it is not installed (%w)", err)
		}
		p.name += " " + aVersion.FindString(string(out))
	}
	if p.config != "" {
		if err := l.copyConfig(p.config); err != nil {
			return err
		}
	}
	if p.check != nil {
		out, err := p.check(l).CombinedOutput()
		if err != nil {
			return fmt.Errorf("it does not take its configuration (%w): %s", err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// config returns where a file is that belongs to the configuration of this run.
func (l *lab) config(name string) string { return filepath.Join(l.Dir, name) }

// copyConfig makes a copy of a file under scripts/peers, with the ports of
// this run.
func (l *lab) copyConfig(name string) error {
	text, err := os.ReadFile(filepath.Join(l.root, "scripts", "peers", name))
	if err != nil {
		return err
	}
	changed, err := withPorts(string(text), l.ports)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(l.config(name), []byte(changed), 0o600)
}

func (l *lab) workerList() string {
	var list []string
	for _, port := range l.workers {
		list = append(list, bench.Address(port))
	}
	return strings.Join(list, ",")
}
