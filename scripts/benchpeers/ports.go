package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"balancelab/scripts/bench"
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

func freePorts() (ports, error) {
	p, err := bench.FreePorts(5)
	if err != nil {
		return ports{}, err
	}
	return ports{p[0], p[1], [3]int(p[2:])}, nil
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
		return bench.Address(to[i])
	})
	return config, err
}
