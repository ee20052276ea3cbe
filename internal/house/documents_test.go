package house

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// frontDoorSize is how many bytes README.md may have.
const frontDoorSize = 10 << 10

// TestLinks follows every link and picture in every document. What is on the
// web is left alone: this test needs no network.
func TestLinks(t *testing.T) {
	h := read(t, os.DirFS("../.."))
	links, broken := h.follow()
	for _, complaint := range broken {
		t.Error(complaint)
	}
	if links < 20 {
		t.Errorf("only %d links were found: the documents have more", links)
	}
}

// TestFrontDoorIsShort counts a line end as one byte, as it is in the
// repository.
func TestFrontDoorIsShort(t *testing.T) {
	h := read(t, os.DirFS("../.."))
	if n := len(h.documents["README.md"]); n == 0 || n > frontDoorSize {
		t.Errorf("README.md has %d bytes, want 1 to %d: move a part into the room that it is about", n, frontDoorSize)
	}
}

// A house is a tree of files. Paths are relative to its root, with slashes.
type house struct {
	paths     map[string]bool   // every file and directory, exactly as spelled
	documents map[string]string // the text of each .md file, with "\n" as line end
}

// read reads the tree, without dot files and without what a build makes.
func read(t *testing.T, tree fs.FS) house {
	t.Helper()
	h := house{paths: map[string]bool{}, documents: map[string]string{}}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), ".") || name == "bin":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		h.paths[name] = true
		if d.IsDir() || path.Ext(name) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		h.documents[name] = strings.ReplaceAll(string(text), "\r\n", "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// follow returns how many links the documents have, and a complaint for each
// that leads nowhere.
func (h house) follow() (links int, broken []string) {
	for document, text := range h.documents {
		for _, target := range targets(text) {
			links++
			if why := h.wrong(document, target); why != "" {
				broken = append(broken, fmt.Sprintf("%s: %s: %s", document, target, why))
			}
		}
	}
	slices.Sort(broken)
	return links, broken
}

// wrong says why target, a link in document, leads nowhere; "" if it is good.
func (h house) wrong(document, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "http" || u.Scheme == "https":
		return ""
	case u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "/") || u.Path == "" && u.Fragment == "":
		return "want a relative path, #heading or a web address"
	}
	file := document
	if u.Path != "" {
		file = path.Join(path.Dir(document), u.Path)
	}
	if !h.paths[file] {
		return "there is no " + file
	}
	if u.Fragment == "" {
		return ""
	}
	if shown := path.Join(file, "README.md"); h.paths[shown] {
		file = shown // what a directory's page shows
	}
	if !slices.Contains(anchors(h.documents[file]), u.Fragment) {
		return fmt.Sprintf("%s has no heading #%s", file, u.Fragment)
	}
	return ""
}

var (
	inline    = regexp.MustCompile(`\]\(\s*<?([^()\s<>]*)>?[^()]*\)`)
	reference = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s*<?([^\s<>]+)`)
	attribute = regexp.MustCompile(`(?i)\b(?:href|src)\s*=\s*["']([^"']*)["']`)
	code      = regexp.MustCompile("`[^`\n]*`")
)

// targets returns where the links and pictures of a document lead to.
func targets(text string) (all []string) {
	text = code.ReplaceAllString(strings.Join(prose(text), "\n"), "code")
	for _, form := range []*regexp.Regexp{inline, reference, attribute} {
		for _, found := range form.FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
	}
	return all
}

// prose returns the lines of a document that are not in a block of code.
func prose(text string) (lines []string) {
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		mark := strings.TrimLeft(line, " ")
		switch {
		case fence == "" && (strings.HasPrefix(mark, "```") || strings.HasPrefix(mark, "~~~")):
			fence = mark[:3]
		case fence == "":
			lines = append(lines, line)
		case strings.HasPrefix(mark, fence):
			fence = ""
		}
	}
	return lines
}

var (
	heading = regexp.MustCompile(`^#{1,6}\s+(.*?)(?:\s+#+)?\s*$`)
	link    = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// anchors returns the names by which GitHub lets a link lead to each heading:
// in lower case, spaces as hyphens, punctuation left out, and a number behind
// a name that was there before.
func anchors(text string) (all []string) {
	seen := map[string]int{}
	for _, line := range prose(text) {
		found := heading.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		name := strings.Map(anchorRune, link.ReplaceAllString(found[1], "$1"))
		if n := seen[name]; n > 0 {
			all = append(all, fmt.Sprintf("%s-%d", name, n))
		} else {
			all = append(all, name)
		}
		seen[name]++
	}
	return all
}

func anchorRune(r rune) rune {
	switch {
	case r == ' ':
		return '-'
	case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
		return unicode.ToLower(r)
	}
	return -1
}

// The check is worth something only if it sees what is broken, and takes what
// is not.
func TestBrokenLinksAreSeen(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	h := read(t, fstest.MapFS{
		"README.md": file("# A house\r\n## The *two* `rooms`, twice\r\n## The two rooms, twice\r\n" +
			"[good](room/README.md#first_word) [room](room) ![good](room/page.png \"a title\") [good](<room/b.md>)\r\n" +
			"[same](#a-house) [second](#the-two-rooms-twice-1) [shown](room#a-go-pkg) [web](https://example.com/nowhere)\r\n" +
			"[no file](gone.md) ![no picture](room/gone.png) [no heading](#the-house) [third](#the-two-rooms-twice-2)\r\n" +
			"[no heading there](room/b.md#b) [outside](../secret.md) [not relative](/room) [nothing]() [case](Room/b.md)\r\n" +
			"<img src=\"gone.svg\"> `[code](gone1.md)` [`words`](gone2.md)\r\n" +
			"[by name][here]\r\n\r\n[here]: gone3.md\r\n" +
			"```\r\n[in a block](gone4.md)\r\n# not a heading\r\n```\r\n[after it](gone5.md) [hidden](.git/config)\r\n[not a heading](#not-a-heading)\r\n"),
		"room/README.md": file("# first_word\n## A [Go](https://go.dev) pkg\n"),
		"room/b.md":      file("no heading"),
		"room/page.png":  file("picture"),
		".git/config":    file(""),
		"bin/README.md":  file("[built](gone6.md)"),
	})
	links, broken := h.follow()
	want := []string{
		"#not-a-heading", "#the-house", "#the-two-rooms-twice-2", "../secret.md", ".git/config", "/room", "", "Room/b.md",
		"gone.md", "gone.svg", "gone2.md", "gone3.md", "gone5.md", "room/b.md#b", "room/gone.png",
	}
	var got []string
	for _, complaint := range broken {
		target, _, _ := strings.Cut(strings.TrimPrefix(complaint, "README.md: "), ": ")
		got = append(got, target)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("complaints about %q\nwant %q", got, want)
	}
	if links != len(want)+9 {
		t.Errorf("%d links, want %d", links, len(want)+9)
	}
}

// TestMapIsWhole compares the map in README.md with the rooms that there are.
func TestMapIsWhole(t *testing.T) {
	h := read(t, os.DirFS("../.."))
	_, text, _ := strings.Cut(h.documents["README.md"], "\n## A map of the house\n")
	text, _, _ = strings.Cut(text, "\n## ")
	drawn := map[string]bool{}
	for _, room := range regexp.MustCompile("`((?:cmd|internal|scripts)/[^`]*)`").FindAllStringSubmatch(text, -1) {
		drawn[room[1]] = true
		if !h.paths[room[1]] {
			t.Errorf("the map has %s, and there is no such room", room[1])
		}
	}
	for name := range h.paths {
		room := path.Dir(name)
		if path.Ext(name) == ".go" && !strings.Contains(name, "testdata/") && !drawn[room] {
			t.Errorf("the map lacks %s", room)
			drawn[room] = true
		}
	}
}

// What stands in for make on Windows is a table. It has each target but help,
// which lists them.
func TestWindowsHasEachTarget(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	h := read(t, os.DirFS("../.."))
	_, text, _ := strings.Cut(h.documents["cmd/README.md"], "\n## On Windows\n")
	text, _, _ = strings.Cut(text, "\n## ")
	targets := regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllSubmatch(makefile, -1)
	for _, target := range targets {
		if name := string(target[1]); name != "help" && !strings.Contains(text, "`make "+name+"`") {
			t.Errorf("the table lacks make %s", name)
		}
	}
	if len(targets) < 10 {
		t.Errorf("only %d targets were read", len(targets))
	}
}
