package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"balancelab/internal/protocol"
)

func written(t *testing.T, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q is not in:\n%s", want, text)
	}
}

// lesson is a run with one of everything in it.
func lesson() Report {
	g := aim(func(ctx context.Context, i int) (string, error) {
		if i == 3 {
			return "", errors.New("connect: connection refused")
		}
		return protocol.Response, pause(ctx, time.Duration(i+1)*100*time.Millisecond)
	})
	return g.run(context.Background(), Config{
		Plan: Plan{N: 5, Rate: 1, Types: []protocol.Type{protocol.Long, protocol.Short}}, C: 5,
	})
}

func TestWriteText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const want = `requests   5 sent, 4 ok, 1 failed
rate       asked 1/s; achieved 1/s, answered 0.889/s
starts     at most 0s after their plan
duration   4.5s
latency    min 100ms, mean 275ms, p50 200ms, p90 500ms, p95 500ms, p99 500ms, max 500ms
           of the answered requests, from the planned start of each

 100ms to 117ms 1 |########################################
 ... 3 empty rows
 190ms to 224ms 1 |########################################
 ... 1 empty row
 263ms to 309ms 1 |########################################
 ... 2 empty rows
 426ms to 500ms 1 |########################################

type   sent  ok  failed  min    mean   p50    p90    p95    p99    max
Long   3     3   0       100ms  300ms  301ms  500ms  500ms  500ms  500ms
Short  2     1   1       200ms  200ms  200ms  200ms  200ms  200ms  200ms

failed  cause
1       connect: connection refused
`
		if got := written(t, lesson()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestWriteJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := lesson()
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%v in\n%s", err, &b)
		}
		const latency = "max_seconds mean_seconds min_seconds p50_seconds p90_seconds p95_seconds p99_9_seconds p99_seconds"
		expect(t, "fields", fields(got), "approaches duration_seconds errors histogram latency latency_from limits parts plan rate requests types waiting")
		expect(t, "of requests", fields(got["requests"]), "asked at_once at_once_default at_once_reached failed failed_locally interrupted ok sent")
		expect(t, "of rate", fields(got["rate"]), "achieved answered asked kept late late_max_seconds overdue")
		expect(t, "of latency", fields(got["latency"]), latency)
		expect(t, "of a bar", fields(first(got["histogram"])), "count from_seconds to_seconds")
		expect(t, "of a type", fields(first(got["types"])), "failed interrupted latency ok sent type")
		expect(t, "of an error", fields(first(got["errors"])), "cause count")
		expect(t, "seconds", got["duration_seconds"], any(4.5))
		expect(t, "the maximum", got["latency"].(map[string]any)["max_seconds"], any(0.5))
		expect(t, "ok", got["requests"].(map[string]any)["ok"], any(4.0))
	})
}

func fields(object any) string {
	return strings.Join(slices.Sorted(maps.Keys(object.(map[string]any))), " ")
}

func first(list any) any { return list.([]any)[0] }

// A list without anything in it is [] and not null, so that scripts can loop
// over it.
func TestJSONOfNothing(t *testing.T) {
	r := taking(0).load(0, 1, 0)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"errors": []`, `"histogram": []`, `"latency": null`, `"waiting": null`, `"limits": []`, `"parts": []`, `"mix": []`, `"arrivals": "even"`} {
		contains(t, b.String(), want)
	}
}

func TestWriteFails(t *testing.T) {
	r := taking(0).load(1, 1, 0)
	if r.WriteText(broken{}) == nil || r.WriteJSON(broken{}) == nil {
		t.Error("a report that could not be written gives no error")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestCausesAreBounded(t *testing.T) {
	c := newCauses()
	for i := range 1000 {
		c.add(fmt.Sprintf("cause %c%c", 'a'+i%26, 'a'+i/26%26))
	}
	c.add("cause aa")
	table := c.table()
	expect(t, "rows", len(table), maxCauses+1)
	expect(t, "the last row", table[maxCauses].Cause, otherCauses)
	expect(t, "the first row", table[0].Cause, "cause aa")
	var n int64
	for _, cause := range table {
		n += cause.Count
	}
	expect(t, "counted", n, 1001)
}

func TestGeneralize(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"read tcp 127.0.0.1:40312->127.0.0.1:8000: reset", "read tcp 127.0.0.1:N->127.0.0.1:N: reset"},
		{"Worker-12: no answer within 30s", "Worker-12: no answer within 30s"},
		{"no worker was free within 30s (52 requests wait)", "no worker was free within 30s (N requests wait)"},
		{"no worker was free within 30s (1 request waits)", "no worker was free within 30s (N requests wait)"},
		{"after 7 bytes, Worker-1 and 12 more: reset by 80", "after N bytes, Worker-1 and N more: reset by 80"},
		{"a\x1b[31mb\nc", "a?[31mb?c"},
		{"not \xff UTF-8", "not � UTF-8"},
		{strings.Repeat("é", 200), strings.Repeat("é", maxCauseLen) + "..."},
		{"", ""},
	} {
		got := generalize(test.text)
		expect(t, fmt.Sprintf("%.40q", test.text), got, test.want)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 45_678: "45.7µs", 1_234_567: "1.23ms", 999_999_999: "1s",
		5_001_234_567: "5s", 100 * time.Second: "1m40s", 3723 * time.Second: "1h2m3s",
	} {
		expect(t, fmt.Sprint(int64(d)), Span(d).String(), want)
	}
}

func TestRateText(t *testing.T) {
	for rate, want := range map[float64]string{0.5: "0.5/s", 19.94: "19.9/s", 99.99: "100/s", 30123.4: "30123/s"} {
		expect(t, fmt.Sprint(rate), rateText(rate), want)
	}
}
