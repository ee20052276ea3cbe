package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/process"
)

// A value is a flag of any type, whose parser's error is for a person.
type value[T any] struct {
	to    *T
	parse func(string) (T, error)
}

func (v value[T]) Set(text string) (err error) {
	got, err := v.parse(text)
	if err == nil {
		*v.to = got
	}
	return err
}

func (v value[T]) String() string {
	if v.to == nil { // as the flag package asks of a zero value
		return ""
	}
	return fmt.Sprint(*v.to)
}

// Duration is as [flag.FlagSet.Duration].
func (l *Line) Duration(name string, initial time.Duration, usage string) *time.Duration {
	l.DurationVar(&initial, name, initial, usage)
	return &initial
}

// DurationVar is as [flag.FlagSet.DurationVar].
func (l *Line) DurationVar(to *time.Duration, name string, initial time.Duration, usage string) {
	*to = initial
	l.Var(value[time.Duration]{to, parseDuration}, name, usage)
}

// Int is as [flag.FlagSet.Int], for decimal numbers.
func (l *Line) Int(name string, initial int, usage string) *int {
	l.IntVar(&initial, name, initial, usage)
	return &initial
}

// IntVar is as [flag.FlagSet.IntVar], for decimal numbers.
func (l *Line) IntVar(to *int, name string, initial int, usage string) {
	*to = initial
	l.Var(value[int]{to, parseInt}, name, usage)
}

// Float64 is as [flag.FlagSet.Float64].
func (l *Line) Float64(name string, initial float64, usage string) *float64 {
	l.Var(value[float64]{&initial, parseFloat}, name, usage)
	return &initial
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("want a unit, such as %ss", text)
	}
	return 0, errors.New("want a time with a unit, such as 5s or 100ms")
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("want a whole number")
	}
	return n, nil
}

func parseFloat(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errors.New("want a number")
	}
	return f, nil
}

// CheckListen returns what is wrong with an address to listen at, or nil. The
// host may be left out, which means every address of this machine; port 0 means
// any that is free.
func CheckListen(addr string) error {
	host, port, err := SplitAddr(addr)
	switch {
	case err != nil:
		return err
	case host == "" && port == 0:
		return fmt.Errorf("%q would listen for everybody, at any port: want host:port, such as 127.0.0.1:8001", addr)
	}
	return nil
}

// CheckDial returns what is wrong with an address to connect to, or nil.
func CheckDial(addr string) error {
	host, port, err := SplitAddr(addr)
	switch {
	case err != nil:
		return err
	case host == "":
		return fmt.Errorf("%q has no host: want host:port, such as 127.0.0.1%s", addr, addr)
	case port == 0:
		return fmt.Errorf("%q has no port from 1 to 65535", addr)
	}
	return nil
}

// SplitAddr returns the host and the port of an address. The error names what
// would have been right.
func SplitAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no address: want host:port, such as %s", addr, example(addr))
	}
	if !isHost(host) {
		return "", 0, fmt.Errorf("%q is no host: want a name or an address, such as 127.0.0.1:%s", host, text)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port from 0 to 65535", addr)
	}
	return host, int(number), nil
}

// example returns an address that addr, which has no port or no host, may have
// meant.
func example(addr string) string {
	if _, err := strconv.ParseUint(addr, 10, 16); err == nil {
		return "127.0.0.1:" + addr
	}
	if isHost(addr) && addr != "" {
		return net.JoinHostPort(addr, "8001")
	}
	return "127.0.0.1:8001"
}

// isHost reports whether text may be a host's name or address, or is empty.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return false
		}
		return r != '.' && r != '-' && r != '_' && r < 0x80
	})
}

// AnyConns is how many connections are served at once where the system sets no
// limit on open files.
const AnyConns = 100_000

// OpenFiles returns how many files this process may have open, if there is a
// limit.
func OpenFiles() (limit int, ok bool) { return process.MaxFiles() }

// OtherFiles is how many open files a program has room for besides its
// connections: its terminal, its listener, what it waits with, and one client
// that has to wait.
const OtherFiles = 19
