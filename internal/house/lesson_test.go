package house

import (
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The lesson is there in two languages.
const (
	lesson     = "scripts/lab/README.md"
	translated = "scripts/lab/README.id.md"
)

// A step of a lesson is what stands below a heading, as far as it is the same in
// every language.
type step struct {
	Minutes string   // of the heading
	Blocks  []string // commands and what they print, in order
	Code    []string // names and short commands; sorted, since the order of words differs
	Links   []string // sorted; without those from one language to the other
	Rows    int      // of tables
	Items   int      // of lists
}

var (
	minutes = regexp.MustCompile(`\d+`)
	block   = regexp.MustCompile("(?ms)^```\n(.*?)^```$")
)

// steps returns the steps of a lesson; the first one is what stands above the
// first of them.
func steps(text string) (all []step) {
	for section := range strings.SplitSeq(text, "\n## ") {
		heading, _, _ := strings.Cut(section, "\n")
		s := step{Minutes: minutes.FindString(heading)}
		for _, found := range block.FindAllStringSubmatch(section, -1) {
			s.Blocks = append(s.Blocks, found[1])
		}
		lines := prose(section)
		s.Code = slices.Sorted(slices.Values(code.FindAllString(strings.Join(lines, "\n"), -1)))
		for _, target := range targets(section) {
			if target != path.Base(lesson) && target != path.Base(translated) {
				s.Links = append(s.Links, target)
			}
		}
		slices.Sort(s.Links)
		for _, line := range lines {
			switch {
			case strings.HasPrefix(line, "|"):
				s.Rows++
			case strings.HasPrefix(line, "- "):
				s.Items++
			}
		}
		all = append(all, s)
	}
	return all
}

// Both lessons have the same steps, commands and links, and each one names the
// other.
func TestLessonIsTranslated(t *testing.T) {
	h := read(t, os.DirFS("../.."))
	first, second := steps(h.documents[lesson]), steps(h.documents[translated])
	if len(first) < 9 || len(first) != len(second) {
		t.Fatalf("%s has %d steps, and %s %d", lesson, len(first), translated, len(second))
	}
	for i := range first {
		if !reflect.DeepEqual(first[i], second[i]) {
			t.Errorf("step %d differs:\n%s: %+v\n%s: %+v", i, lesson, first[i], translated, second[i])
		}
	}
	for from, to := range map[string]string{lesson: translated, translated: lesson} {
		if !slices.Contains(targets(h.documents[from]), path.Base(to)) {
			t.Errorf("%s does not lead to %s", from, to)
		}
	}
}

// Whatever changes in one language only is seen.
func TestDifferentStepsAreSeen(t *testing.T) {
	const text = "# A\n\n[other](README.id.md)\n\n## Start (3 minutes)\n\nRun `worker 1`, as [said](a.md):\n\n```\nworker 1\n```\n\n- a\n\n| b |\n"
	if got := steps(text); len(got) != 2 || !reflect.DeepEqual(got[1], step{"3", []string{"worker 1\n"}, []string{"`worker 1`"}, []string{"a.md"}, 1, 1}) {
		t.Fatalf("the steps are %+v", got)
	}
	for _, change := range [][2]string{
		{"## Start", "Start"}, {"(3 ", "(4 "}, {"\nworker 1\n", "\nworker 2\n"}, {"`worker 1`", "`worker 2`"},
		{"a.md", "b.md"}, {"| b |", "b"}, {"- a", "a"}, {"```\nworker 1\n```\n", ""},
	} {
		if reflect.DeepEqual(steps(strings.Replace(text, change[0], change[1], 1)), steps(text)) {
			t.Errorf("%q instead of %q is not seen", change[1], change[0])
		}
	}
	if !reflect.DeepEqual(steps(strings.Replace(text, "[other](README.id.md)", "[lain](README.md)", 1)), steps(text)) {
		t.Error("the way to the other language is taken for a difference")
	}
}
