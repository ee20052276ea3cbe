package runs

import (
	"strings"
	"testing"
	"time"
)

func TestSentences(t *testing.T) {
	outcome := func(name string, mean, p95 time.Duration, workers ...Share) Outcome {
		return Outcome{Name: name, Mean: mean * time.Millisecond, P95: p95 * time.Millisecond, Workers: workers}
	}
	turns := outcome("round_robin", 400, 1500, Share{"Worker-1", 2, 0, 2}, Share{"Worker-2", 0, 4, 1})
	least := outcome("least_connections", 200, 500, Share{"Worker-1", 1, 1, 1}, Share{"Worker-2", 1, 3, 1})
	calm := turns
	calm.Workers = least.Workers
	for _, test := range []struct {
		name string
		all  []Outcome
		want string // begins so; or, after …, has that in it
	}{
		{"ahead", []Outcome{turns, least}, "Round robin counts turns and not work: it sent every Long to Worker-1, and up to 2 were there at once " +
			"while Worker-2 never had more than 1; least connections sees which worker is not done yet, and no worker had more than 1 at once; " +
			"the mean was 400ms under round_robin and 200ms under least_connections, a factor of 2.0."},
		{"no more at once", []Outcome{calm, least}, "Round robin counts turns and not work; least connections sees which worker is not done yet: the mean was 400ms"},
		{"the same", []Outcome{turns, outcome("least_connections", 390, 1500)}, "It made little difference"},
		{"the same mean", []Outcome{turns, outcome("least_connections", 390, 500, least.Workers...)}, "…and no worker had more than 1 at once; " +
			"the mean hardly differs (400ms and 390ms), but p95 was 1.5s under round_robin and 500ms under least_connections, a factor of 3.0."},
		{"the same mean, behind", []Outcome{turns, outcome("least_connections", 390, 3000)}, "Round robin was ahead this time"},
		{"behind", []Outcome{least, turns}, "Round robin was ahead this time"},
		{"nothing answered", []Outcome{turns, {Name: "least_connections"}}, "There is nothing to compare: nothing was answered under least_connections."},
		{"a queue", []Outcome{turns, least, outcome("one queue", 150, 300)}, "…a factor of 2.0. Least connections chooses when a request comes"},
		{"the same with a queue", []Outcome{turns, least, outcome("one queue", 150, 500)}, "…One queue made little difference"},
		{"a queue behind", []Outcome{turns, least, outcome("one queue", 150, 600)}, "…One queue was behind this time: "},
	} {
		got := Sentences(test.all)
		part, anywhere := strings.CutPrefix(test.want, "…")
		if anywhere && !strings.Contains(got, part) || !anywhere && !strings.HasPrefix(got, part) || !strings.HasSuffix(got, ".") {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestGotten(t *testing.T) {
	o := Outcome{Workers: []Share{{"Worker-1", 2, 0, 0}, {"Worker-2", 1, 0, 0}, {"Worker-3", 0, 3, 0}, {"Worker-4", 0, 1, 0}}}
	for i, want := range []string{"2 of the 3 Longs", "1 of the 3 Longs", "3 of the 7 requests", "1 of the 7 requests"} {
		expect(t, o.Workers[i].Worker, o.Gotten(o.Workers[i]), want)
	}
	all := Outcome{Workers: []Share{{"Worker-1", 3, 0, 0}, {"Worker-2", 0, 0, 0}}}
	expect(t, "only Longs", all.Gotten(all.Workers[0]), "3 of the 3 requests")
}
