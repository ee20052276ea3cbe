package cli

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package of the module says what it is, and every exported name what it
// promises. The rule stands here because this is the room that all programs
// share.
func TestEverythingIsDocumented(t *testing.T) {
	const root = "../.."
	packages := 0
	for dir, names := range goFiles(t, root) {
		packages++
		for _, complaint := range undocumented(t, dir, names) {
			t.Error(complaint)
		}
	}
	if packages < 8 {
		t.Errorf("looked at %d packages: the module has more", packages)
	}
}

// Imports go one way: the rooms that everybody uses know nobody.
func TestImportsGoOneWay(t *testing.T) {
	const internal = "../../internal/"
	files := goFiles(t, "../..")
	for _, room := range []string{"protocol", "balance", "server", "socket", "memnet"} {
		names := files[filepath.FromSlash(internal+room)]
		if len(names) == 0 {
			t.Errorf("%s has no files", room)
		}
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				if strings.HasPrefix(i.Path.Value, `"balancelab/`) {
					t.Errorf("%s imports %s", name, i.Path.Value)
				}
			}
		}
	}
}

// goFiles returns the Go files below root that are no tests, by directory.
func goFiles(t *testing.T, root string) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			files[filepath.Dir(path)] = append(files[filepath.Dir(path)], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// undocumented returns a complaint for each comment that is missing in one
// package, whatever system its files are for.
func undocumented(t *testing.T, dir string, names []string) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(fset, files, dir, doc.PreserveAST)
	if err != nil {
		t.Fatal(err)
	}
	var complaints []string
	missing := func(pos token.Pos, what string) {
		place := dir
		if pos.IsValid() {
			place = fset.Position(pos).String()
		}
		complaints = append(complaints, place+": "+what+" has no doc comment")
	}
	if p.Doc == "" {
		missing(token.NoPos, "package "+p.Name)
	}
	values := append(p.Consts, p.Vars...)
	funcs := p.Funcs
	for _, typ := range p.Types {
		if typ.Doc == "" {
			missing(typ.Decl.Pos(), "type "+typ.Name)
		}
		values = append(append(values, typ.Consts...), typ.Vars...)
		funcs = append(append(funcs, typ.Funcs...), typ.Methods...)
		missingInInterface(typ, missing)
	}
	for _, v := range values {
		missingInGroup(v, missing)
	}
	for _, f := range funcs {
		if f.Doc == "" && !idle(f.Decl) {
			missing(f.Decl.Pos(), "func "+f.Name)
		}
	}
	return complaints
}

// idle reports whether f is a method that does nothing. The comment of its
// type says that better, once for all of them.
func idle(f *ast.FuncDecl) bool {
	return f.Recv != nil && f.Body != nil && len(f.Body.List) == 0
}

// missingInGroup complains about constants or variables that neither their
// group nor they themselves explain. A comment at the end of the line counts.
func missingInGroup(v *doc.Value, missing func(token.Pos, string)) {
	if v.Doc != "" {
		return
	}
	for _, spec := range v.Decl.Specs {
		s := spec.(*ast.ValueSpec)
		exported := slices.IndexFunc(s.Names, (*ast.Ident).IsExported)
		if exported >= 0 && s.Doc.Text()+s.Comment.Text() == "" {
			missing(s.Pos(), s.Names[exported].Name)
		}
	}
}

// missingInInterface complains about methods without a contract.
func missingInInterface(typ *doc.Type, missing func(token.Pos, string)) {
	for _, spec := range typ.Decl.Specs {
		i, ok := spec.(*ast.TypeSpec).Type.(*ast.InterfaceType)
		if !ok {
			continue
		}
		for _, m := range i.Methods.List {
			embedded := len(m.Names) == 0
			if !embedded && m.Names[0].IsExported() && m.Doc.Text()+m.Comment.Text() == "" {
				missing(m.Pos(), "method "+typ.Name+"."+m.Names[0].Name)
			}
		}
	}
}

// The rule is worth something only if it sees what breaks it.
func TestUndocumentedIsSeen(t *testing.T) {
	const dir = "testdata/undocumented"
	got := undocumented(t, dir, []string{filepath.Join(dir, "undocumented.go")})
	want := []string{
		"package undocumented", "type Bare", "Loose", "Second", "func Silent", "func Speak", "method Talker.Talk",
	}
	for i := range got {
		_, got[i], _ = strings.Cut(got[i], ": ")
		got[i] = strings.TrimSuffix(got[i], " has no doc comment")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("complaints about %q\nwant %q", got, want)
	}
}
