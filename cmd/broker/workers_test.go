package main

import (
	"reflect"
	"strings"
	"testing"

	"balancelab/internal/balance"
)

func TestParseWorkers(t *testing.T) {
	got, err := parseWorkers("127.0.0.1:9002=5, localhost:9003,[::1]:9004=1/10,[::1]:9005=2/0", 4)
	want := []balance.Worker{
		{Name: "Worker-1", Addr: "127.0.0.1:9002", Weight: 5, Limit: 4},
		{Name: "Worker-2", Addr: "localhost:9003", Weight: 1, Limit: 4},
		{Name: "Worker-3", Addr: "[::1]:9004", Weight: 1, Limit: 10},
		{Name: "Worker-4", Addr: "[::1]:9005", Weight: 2, Limit: 0},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseWorkersRefuses(t *testing.T) {
	for list, reason := range map[string]string{
		"":                                  "a worker is missing",
		"a:1,":                              "a worker is missing",
		"a":                                 "is no address",
		"a b:9002":                          "is no host",
		"127.0.0.1:9002,127.0.0.1:09002":    "127.0.0.1:9002 is there twice",
		"[::1]:9002,[0:0:0:0:0:0:0:1]:9002": "[::1]:9002 is there twice",
		"127.0.0.1:9002,[::ffff:127.0.0.1]:9002=2": "127.0.0.1:9002 is there twice",
		":9002":             "is no address",
		"a:0":               "no port",
		"a:65536":           "no port",
		"a:x":               "no port",
		"a:1=0":             "no weight",
		"a:1=":              "no weight",
		"a:1=1001":          "no weight",
		"a:1=-1":            "no weight",
		"a:1,b:1,a:1":       "a:1 is there twice",
		"a:1,a:1=2":         "a:1 is there twice",
		"a:1;b:2":           "is no address",
		"127.0.0.1:9002=1=": "no weight",
		"a:1=/1":            "no weight",
		"a:1/1":             "no port",
		"a:1=1/":            "no limit",
		"a:1=1/-1":          "no limit",
		"a:1=1/1000001":     "no limit from 0 to 1000000",
	} {
		if got, err := parseWorkers(list, 0); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, %v, want %q", list, got, err, reason)
		}
	}
}
