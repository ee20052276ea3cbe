package simulate

import (
	"reflect"
	"slices"
	"testing"
)

// The same seed is the same plan, and another one another.
func TestDraw(t *testing.T) {
	if !reflect.DeepEqual(draw(7), draw(7)) {
		t.Error("seed 7 is two plans")
	}
	if reflect.DeepEqual(draw(7), draw(8)) {
		t.Error("seeds 7 and 8 are the same plan")
	}
}

// Among some plans each kind of trouble is there alone, and so is each pair of
// kinds, whatever else there is.
func TestSwarms(t *testing.T) {
	alone, pairs := map[kind]bool{}, map[[2]kind]bool{}
	for seed := range uint64(1000) {
		kinds := map[kind]bool{}
		for _, t := range draw(seed).troubles {
			kinds[t.kind] = true
		}
		for a := range kinds {
			alone[a] = alone[a] || len(kinds) == 1
			for b := range kinds {
				pairs[[2]kind{a, b}] = true
			}
		}
	}
	for a := range numKinds {
		if !alone[a] {
			t.Errorf("%s is never alone", kindNames[a])
		}
		for b := range numKinds {
			if !pairs[[2]kind{a, b}] {
				t.Errorf("%s and %s are never together", kindNames[a], kindNames[b])
			}
		}
	}
}

// What is left of a plan is what the fault needs.
func TestNarrow(t *testing.T) {
	p := &plan{}
	for i := range 40 {
		p.troubles = append(p.troubles, trouble{number: i + 1})
	}
	for i := range 300 {
		p.clients = append(p.clients, clientPlan{number: i + 1})
	}
	n := &narrowing{plan: p, over: func() bool { return false }, play: func(p *plan) []string {
		if slices.Contains(numbersOf(p.troubles), 7) && slices.Contains(numbersOf(p.clients), 13) &&
			slices.Contains(numbersOf(p.clients), 299) {
			return []string{"wrong"}
		}
		return nil
	}}
	small := n.narrow()
	if tr, cl := numbersOf(small.troubles), numbersOf(small.clients); !slices.Equal(tr, []int{7}) || !slices.Equal(cl, []int{13, 299}) {
		t.Errorf("troubles %v, clients %v", tr, cl)
	}
	if got, want := small.command(p), "go test -count=1 ./internal/simulate -run TestReplay -simulate.seed 0 -simulate.troubles 7 -simulate.clients 13,299"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestList(t *testing.T) {
	for text, numbers := range map[string][]int{"none": {}, "1": {1}, "1-3,5,7-8": {1, 2, 3, 5, 7, 8}} {
		if got := list(numbers); got != text {
			t.Errorf("%v is %s, want %s", numbers, got, text)
		}
		if got, err := parseList(text); err != nil || !slices.Equal(got, numbers) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "1-", "1,,2"} {
		if got, err := parseList(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
