package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balancelab/internal/protocol"
)

// The JSON of a report has the fields that README.md lists, of these kinds, and
// no others. The reports have between them all that there can be.
func TestSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := aim(func(ctx context.Context, i int) (string, error) {
			switch {
			case i == 3:
				return "", errors.New("connect: connection refused")
			case i == 1500:
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			return protocol.Response, pause(ctx, time.Second)
		})
		both := []protocol.Approach{roundRobin, least}
		full := g.run(ctx, Config{
			Plan: Plan{N: 2000, Rate: 10, RateTo: 100, Types: []protocol.Type{long, short}, Approaches: both}, C: 500,
		})
		mixed := taking(0).load(0, 1, 0)
		mixed.Plan.Mix = []Share{{long, 1}}

		got := map[string][]string{}
		for _, r := range []Report{full, mixed} {
			gather(got, "", parsed(t, r))
		}
		want := documented(t)
		for _, path := range slices.Sorted(maps.Keys(got)) {
			slices.Sort(got[path])
			if kinds := strings.Join(slices.Compact(got[path]), " or "); kinds != want[path] {
				t.Errorf("README.md says of %s: %q; it is %q", path, want[path], kinds)
			}
			delete(want, path)
		}
		for path := range want {
			t.Errorf("README.md lists %s, which no report has", path)
		}
	})
}

func parsed(t *testing.T, r Report) (object any) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &object); err != nil {
		t.Fatalf("%v in\n%s", err, &b)
	}
	return object
}

// gather adds the kinds of a value and of all in it, by path. The elements of a
// list have one path; so have all objects about latency.
func gather(kinds map[string][]string, path string, value any) {
	for _, prefix := range []string{"types[].", "approaches[]."} {
		if rest, found := strings.CutPrefix(path, prefix+"latency"); found {
			path = "latency" + rest
		}
	}
	kind := "null"
	switch value := value.(type) {
	case float64:
		kind = "number"
	case string:
		kind = "text"
	case bool:
		kind = "boolean"
	case []any:
		kind = "list"
		for _, element := range value {
			gather(kinds, path+"[]", element)
		}
	case map[string]any:
		kind = "object"
		for name, field := range value {
			gather(kinds, strings.TrimPrefix(path+"."+name, "."), field)
		}
	}
	if path != "" {
		kinds[path] = append(kinds[path], kind)
	}
}

// documented returns the fields that README.md lists, with their kinds.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_.\\[\\]]+)` \\| ([a-z ]+) \\| [^|]+ \\|\r?$")
	for _, row := range row.FindAllStringSubmatch(string(text), -1) {
		if fields[row[1]] != "" {
			t.Errorf("README.md lists %s twice", row[1])
		}
		fields[row[1]] = row[2]
	}
	return fields
}
