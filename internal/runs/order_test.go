package runs

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"balancelab/internal/load"
	"balancelab/internal/protocol"
)

// parse returns the order that text is.
func parse(t *testing.T, text string) Order {
	t.Helper()
	var o Order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func TestBounds(t *testing.T) {
	const kinds = `"types":["Long"],"approaches":["round_robin"]`
	for _, test := range []struct{ order, want string }{
		{`{` + kinds + `}`, ""},
		{`{"n":100000,` + kinds + `}`, ""},
		{`{"n":100001,` + kinds + `}`, "n must be from 0 to 100000: 100001"},
		{`{"n":-1,` + kinds + `}`, "n must be"},
		{`{"c":100,` + kinds + `}`, ""},
		{`{"c":101,` + kinds + `}`, "c must be from 0 to 100: 101"},
		{`{"c":-1,` + kinds + `}`, "c must be"},
		{`{"rate":1000,` + kinds + `}`, ""},
		{`{"rate":1000.5,` + kinds + `}`, "rate must be 0, or from 0.001 to 1000: 1000.5"},
		{`{"rate":1e-300,` + kinds + `}`, "rate must be"},
		{`{"rate":-1,` + kinds + `}`, "rate must be"},
		{`{"rate":27,"seconds":3600,` + kinds + `}`, ""},
		{`{"rate":27,"seconds":3601,` + kinds + `}`, "seconds must be from 0 to 3600: 3601"},
		{`{"seconds":-1,` + kinds + `}`, "seconds must be"},
		{`{"rate":28,"seconds":3600,` + kinds + `}`, "3600 seconds at 28 a second are more than 100000 requests"},
		{`{"seconds":101,` + kinds + `}`, "101 seconds at 1000 a second are more"},
		{`{"rate":1,"n":3601,` + kinds + `}`, "3601 requests at 1 a second take more than an hour"},
		{`{"n":1,"seconds":1,` + kinds + `}`, "leave out n"},
		{`{"arrivals":"poisson",` + kinds + `}`, "take a rate"},
		{`{"arrivals":"odd","rate":1,` + kinds + `}`, "arrivals: "},
		{`{"approaches":["round_robin"]}`, "there are no types"},
		{`{"types":[""],"approaches":["round_robin"]}`, "one of the types is empty"},
		{`{"mix":{"Long":1},` + kinds + `}`, "leave out types"},
		{`{"mix":{"Long":0},"approaches":["round_robin"]}`, "from 1 to 1000 parts"},
		{`{"mix":{"Long":1001},"approaches":["round_robin"]}`, "from 1 to 1000 parts"},
		{`{"mix":{"":1},"approaches":["round_robin"]}`, "from 1 to 1000 parts"},
		{`{"types":["Long"]}`, "there are no approaches"},
		{`{"types":["Long"],"approaches":[""]}`, "one of the approaches is empty"},
		{`{"types":["Long"],"compare":true,"n":1}`, ""},
		{`{"types":["Long"],"compare":true,"n":33333}`, ""},
		{`{"types":["Long"],"compare":true,"n":33334}`, "a comparison sends everything up to 3 times: 100002 requests are more than 100000"},
		{`{"types":["Long"],"compare":true,"rate":1,"n":1200}`, ""},
		{`{"types":["Long"],"compare":true,"rate":1,"n":1201}`, "3603 requests at 1 a second take more than an hour"},
		{`{"types":["Long"],"compare":true,"rate":1,"seconds":1200}`, ""},
		{`{"types":["Long"],"compare":true,"rate":1,"seconds":1201}`, "3603 seconds are more than an hour"},
		{`{"types":["Long"],"compare":true,"seconds":34}`, "102 seconds at 1000 a second are more"},
		{`{"types":["Long"],"compare":true}`, "want n or seconds"},
		{`{"n":1,"compare":true,` + kinds + `}`, "leave out approaches"},
	} {
		err := parse(t, test.order).check(100)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.order, err, test.want)
		}
	}
}

// The command line is the shortest that sends the same.
func TestCommand(t *testing.T) {
	for order, want := range map[string]string{
		`{"n":1,"c":1,"types":["Long"],"approaches":["round_robin"]}`:                                        "client Long round_robin",
		`{"n":1,"c":5,"types":["Long"],"approaches":["round_robin"]}`:                                        "client Long round_robin",
		`{"n":30,"c":30,"types":["Long","Short"],"approaches":["round_robin"]}`:                              "client -n 30 -c 30 'Long,Short' round_robin",
		`{"n":9,"types":["Short"],"approaches":["round_robin","least_connections"]}`:                         "client -n 9 Short 'round_robin,least_connections'",
		`{"rate":1.5,"types":["Long"],"approaches":["round_robin"]}`:                                         "client -d 1h0m0s -c 100 -rate 1.5 Long round_robin",
		`{"rate":200,"types":["Long"],"approaches":["round_robin"]}`:                                         "client -d 8m20s -c 100 -rate 200 Long round_robin",
		`{"types":["Long"],"approaches":["round_robin"]}`:                                                    "client -n 100000 Long round_robin",
		`{"seconds":30,"c":3,"types":["Long"],"approaches":["round_robin"]}`:                                 "client -d 30s -c 3 Long round_robin",
		`{"n":9,"c":9,"mix":{"Short":2,"Long":1},"approaches":["round_robin"],"seed":7}`:                     "client -n 9 -c 9 -mix 'Long=1,Short=2' -seed 7 round_robin",
		`{"n":9,"rate":2,"arrivals":"poisson","types":["Long"],"approaches":["least_connections"],"seed":7}`: "client -n 9 -c 100 -rate 2 -arrivals poisson -seed 7 Long least_connections",
		`{"n":9,"rate":2,"arrivals":"even","types":["Long"],"approaches":["least_connections"],"seed":7}`:    "client -n 9 -c 100 -rate 2 Long least_connections",
	} {
		o := parse(t, order)
		w := o.ways(false)[0]
		if got := o.command("127.0.0.1:8000", o.plan(w), 100); got != want {
			t.Errorf("%s: %s\nwant %s", order, got, want)
		}
	}
	o := Order{N: 2, Types: long, Approaches: roundRobin, Rate: 1}
	expect(t, "another broker", o.command("127.0.0.1:8001", o.plan(o.ways(false)[0]), MaxAtOnce),
		"client -broker 127.0.0.1:8001 -n 2 -rate 1 Long round_robin")
}

// A comparison's parts have the same plan, also by random.
func TestSamePlan(t *testing.T) {
	o := Order{N: 20, Rate: 3, Arrivals: load.Poisson, Mix: map[protocol.Type]int{protocol.Long: 1, protocol.Short: 2}, Compare: true, Seed: newSeed()}
	ways := o.ways(true)
	if len(ways) != 3 {
		t.Fatal(ways)
	}
	first := o.plan(ways[0])
	for _, w := range ways[1:] {
		a, b := first.Schedule(), o.plan(w).Schedule()
		for range 20 {
			x, _ := a.Next()
			y, ok := b.Next()
			if !ok || x.Start != y.Start || x.Type != y.Type || y.Approach != w.approaches[0] {
				t.Fatalf("%s: %+v, and not %+v", w.name, y, x)
			}
		}
	}
}

// What the page reads before any run, and of a result.
func TestJSON(t *testing.T) {
	text, err := json.Marshal((&Runner{}).Report())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "before", string(text), `{"running":false,"id":0,"part":"","command":"","planned":0,"sent":0,"answered":0,"failed":0,"seconds":0,"results":[],"sentence":"","error":""}`)
	text, err = json.Marshal(Result{Name: "one queue", Mean: 1.5, Bars: []Bar{{0, 1, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "a result", string(text), `{"name":"one queue","command":"","answered":0,"failed":0,"mean_seconds":1.5,"p50_seconds":0,"p95_seconds":0,"p99_seconds":0,`+
		`"max_seconds":0,"most_in_flight":0,"histogram":[{"from":0,"le":1,"count":3}]}`)
}

// README.md has every field, with its place, and no other ones.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.\\[\\]]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
	}
	fields := append(fieldsOf(reflect.TypeFor[Order](), ""), fieldsOf(reflect.TypeFor[Report](), "")...)
	slices.Sort(documented)
	slices.Sort(fields)
	if !slices.Equal(documented, fields) {
		t.Errorf("documented are\n%q\nwant\n%q", documented, fields)
	}
}

// fieldsOf returns the fields of a type's JSON, with before in front of each.
func fieldsOf(of reflect.Type, before string) (all []string) {
	for i := range of.NumField() {
		name := before + of.Field(i).Tag.Get("json")
		all = append(all, name)
		if t := of.Field(i).Type; t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
			all = append(all, fieldsOf(t.Elem(), name+"[].")...)
		}
	}
	return all
}

// Bars of several results are of the same bounds, and nothing is lost at the ends.
func TestBars(t *testing.T) {
	var a, b, empty barCounts
	a.add(1)
	a.add(100 * time.Microsecond)
	a.add(400 * time.Millisecond)
	b.add(400*time.Millisecond + 1)
	lists := bars([]barCounts{a, b, empty})
	for i, want := range []int{3, 1, 0} {
		if got := sum(lists[i]); got != want || len(lists[i]) != len(lists[0]) {
			t.Errorf("%d bars with %d in them, want %d with %d", len(lists[i]), got, len(lists[0]), want)
		}
	}
	last := lists[1][len(lists[1])-1]
	if lists[0][0] != (Bar{0, 0.0001, 2}) ||
		last != (Bar{0.4, 0.5, 1}) {
		t.Errorf("%v, and %v", lists[0][0], last)
	}
	a.add(1000 * time.Hour)
	if got := bars([]barCounts{a})[0]; sum(got) != 4 || len(got) != numBounds {
		t.Errorf("%d bars with %d in them", len(got), sum(got))
	}
	if got := bars([]barCounts{empty})[0]; got == nil || len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
