package simulate

import (
	"fmt"
	"strconv"
	"strings"
)

// A narrowing finds a smaller plan that is still wrong: first with fewer
// troubles, then with fewer clients. It takes out halves, then quarters, and so
// on down to single ones, as long as the rest is still wrong.
type narrowing struct {
	plan *plan
	play func(*plan) []string // returns the faults
	over func() bool          // there is no time to go on
}

// tries is how often a smaller plan is played before it is taken for right, since
// Go's scheduler has a say.
const tries = 3

func (n *narrowing) narrow() *plan {
	p := n.plan
	troubles := n.smaller(numbersOf(p.troubles), func(left []int) *plan { return p.only(left, nil) })
	p = p.only(troubles, nil)
	clients := n.smaller(numbersOf(p.clients), func(left []int) *plan { return p.only(nil, left) })
	return p.only(nil, clients)
}

func (n *narrowing) smaller(all []int, with func([]int) *plan) []int {
	for size := (len(all) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(all) && !n.over(); {
			left := append([]int{}, all[:from]...) // not nil, which would be all
			left = append(left, all[min(from+size, len(all)):]...)
			if n.wrong(with(left)) {
				all = left
			} else {
				from += size
			}
		}
	}
	return all
}

func (n *narrowing) wrong(p *plan) bool {
	for range tries {
		if len(n.play(p)) > 0 {
			return true
		}
	}
	return false
}

// command returns the command that plays p, which was made from whole.
func (p *plan) command(whole *plan) string {
	c := fmt.Sprintf("go test -count=1 ./internal/simulate -run TestReplay -simulate.seed %d", p.seed)
	if len(p.troubles) < len(whole.troubles) {
		c += " -simulate.troubles " + list(numbersOf(p.troubles))
	}
	if len(p.clients) < len(whole.clients) {
		c += " -simulate.clients " + list(numbersOf(p.clients))
	}
	return c
}

// list writes numbers, which rise, as 1,4-7,9.
func list(numbers []int) string {
	if len(numbers) == 0 {
		return "none"
	}
	var texts []string
	for i := 0; i < len(numbers); {
		first := numbers[i]
		last := first
		for i++; i < len(numbers) && numbers[i] == last+1; i++ {
			last++
		}
		text := strconv.Itoa(first)
		if last > first {
			text += "-" + strconv.Itoa(last)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ",")
}

// parseList reads what list wrote; all is nil.
func parseList(text string) (numbers []int, err error) {
	switch text {
	case "all":
		return nil, nil
	case "none":
		return []int{}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, err
		}
		last, err := strconv.Atoi(to)
		if err != nil {
			return nil, err
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}
