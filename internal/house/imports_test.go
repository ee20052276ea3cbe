package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the rooms, the lowest first. A room imports rooms of lower layers
// only.
var layers = [][]string{
	{"balance", "histogram", "neterr", "process", "protocol", "version"},
	{"socket"},
	{"memnet", "server"},
	{"broker", "load", "worker"},
	{"console", "events", "stats"},
	{"runs", "status"},
	{"cli"},
	{"control", "programs"},
	{"house", "simulate"},
}

// Imports go one way, and no room is forgotten.
func TestImportsGoOneWay(t *testing.T) {
	const module = "balancelab/internal/"
	layer := map[string]int{}
	for i, rooms := range layers {
		for _, room := range rooms {
			layer[room] = i + 1
		}
	}
	for dir, names := range goFiles(t, "..") {
		room := filepath.Base(dir)
		if layer[room] == 0 {
			t.Errorf("%s stands in no layer", dir)
		}
		for _, name := range names {
			for _, path := range imports(t, name) {
				if other, ours := strings.CutPrefix(path, module); ours && layer[other] >= layer[room] {
					t.Errorf("%s imports %s, which is not below it", name, other)
				}
			}
		}
	}
}

func imports(t *testing.T, name string) (paths []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range file.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// goFiles returns the Go files below root that are no tests, by directory.
func goFiles(t *testing.T, root string) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"testdata", "e2e"}, d.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			dir := filepath.Dir(path)
			files[dir] = append(files[dir], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
