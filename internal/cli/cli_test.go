package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args  []string
		code  int
		ok    bool
		wrong string
	}{
		{[]string{"a", "b"}, OK, true, ""},
		{[]string{"-n", "3", "a", "b"}, OK, true, ""},
		{[]string{"-h"}, OK, false, ""},
		{[]string{"--help"}, OK, false, ""},
		{[]string{"a"}, Usage, false, "<second> is missing"},
		{nil, Usage, false, "<first> is missing"},
		{[]string{"a", "b", "c"}, Usage, false, `"c" is one argument too many`},
		{[]string{"a", "b", "-n", "3"}, Usage, false, `flags come before the arguments: put "-n" before "a"`},
		{[]string{"-x"}, Usage, false, "flag provided but not defined: -x"},
		{[]string{"-n", "many"}, Usage, false, `invalid value "many" for flag -n: parse error`},
	} {
		var out, errs bytes.Buffer
		l := NewLine("program", "usage: program\n", &out, &errs)
		l.Int("n", 1, "")
		code, ok := l.Parse(test.args, "first", "second")
		if code != test.code || ok != test.ok {
			t.Errorf("%q: %d, %v, want %d, %v", test.args, code, ok, test.code, test.ok)
		}
		want := ""
		if test.wrong != "" {
			want = "program: " + test.wrong + "\n\nusage: program\n"
		}
		if errs.String() != want {
			t.Errorf("%q says\n%s\nwant\n%s", test.args, &errs, want)
		}
		if help := strings.HasPrefix(out.String(), "usage:"); help != (code == OK && !ok) {
			t.Errorf("%q prints %q", test.args, &out)
		}
	}
}
