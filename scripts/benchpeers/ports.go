package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
)

// ports are where the programs of a run listen, all on 127.0.0.1.
type ports struct {
	front   int    // of what stands in front of the workers
	second  int    // that of round robin, where each approach needs one
	workers [3]int // Worker-1 to Worker-3
}

// realPorts are those of the configurations under scripts/peers.
var realPorts = ports{8000, 8001, [3]int{9002, 9003, 9004}}

func (p ports) all() []int { return append([]int{p.front, p.second}, p.workers[:]...) }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts returns ports on which nothing listens. They are not those that the
// system would hand out: it hands the same ones out to outgoing connections,
// of which a run makes so many that one would soon have taken them.
func freePorts() (ports, error) {
	const first, last = 20000, 32000 // Linux hands out from 32768 on
	var found []int
	for range 1000 {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		l.Close()
		if slices.Contains(found, port) {
			continue
		}
		found = append(found, port)
		if len(found) == 5 {
			return ports{found[0], found[1], [3]int(found[2:])}, nil
		}
	}
	return ports{}, fmt.Errorf("there are no five free ports between %d and %d", first, last)
}

var anAddress = regexp.MustCompile(`127\.0\.0\.1:(\d+)`)

// withPorts returns a configuration with its addresses changed from the real
// ports to p. Comments are changed too, which does no harm.
func withPorts(config string, p ports) (string, error) {
	from, to := realPorts.all(), p.all()
	var err error
	config = anAddress.ReplaceAllStringFunc(config, func(found string) string {
		port, _ := strconv.Atoi(anAddress.FindStringSubmatch(found)[1])
		i := slices.Index(from, port)
		if i < 0 {
			err = fmt.Errorf("%s is none of the ports %v", found, from)
			return found
		}
		return address(to[i])
	})
	return config, err
}
