package scripts_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is where a file stops being readable at one sitting.
const maxLines = 800

// sayNothing are names that a key custodian would not use. A package called
// types says nothing either, but a file of one package's types may.
var sayNothing = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}

// sources calls f for every Go file of the repository, with its path from the
// root and its text.
func sources(t *testing.T, f func(path string, text []byte)) {
	t.Helper()
	count := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		count++
		f(strings.TrimPrefix(path, "../"), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 20 {
		t.Fatalf("only %d Go files found", count)
	}
}

func TestFilesAreShort(t *testing.T) {
	sources(t, func(path string, text []byte) {
		if n := strings.Count(string(text), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, more than %d", path, n, maxLines)
		}
	})
}

func TestNamesSaySomething(t *testing.T) {
	sources(t, func(path string, _ []byte) {
		if slices.Contains(strings.Split(filepath.Dir(path), "/"), "types") {
			t.Errorf("%s: \"types\" says nothing", path)
		}
		for part := range strings.SplitSeq(strings.TrimSuffix(path, ".go"), "/") {
			for word := range strings.SplitSeq(part, "_") {
				if slices.Contains(sayNothing, word) {
					t.Errorf("%s: %q says nothing", path, word)
				}
			}
		}
	})
}

// open matches a note about work to be done; with a reason in parentheses it
// is allowed: TODO(issue 12): ...
var (
	open     = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)
	reasoned = regexp.MustCompile(`\bTODO\([^)]{4,}\): \S`)
)

func TestOpenEndsHaveAReason(t *testing.T) {
	sources(t, func(path string, text []byte) {
		if path == "scripts/tidy_test.go" {
			return
		}
		for i, line := range strings.Split(string(text), "\n") {
			if open.MatchString(line) && !reasoned.MatchString(line) {
				t.Errorf("%s:%d: an open end without a reason", path, i+1)
			}
		}
	})
}

// TestNoHiddenCode refuses init functions, which run without being called, and
// skipped tests, which prove nothing.
func TestNoHiddenCode(t *testing.T) {
	files := token.NewFileSet()
	sources(t, func(path string, text []byte) {
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s has an init function", files.Position(n.Pos()))
				}
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && strings.HasSuffix(path, "_test.go") &&
					slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
					t.Errorf("%s skips a test", files.Position(n.Pos()))
				}
			}
			return true
		})
	})
}

// clocks are the functions of package time that read a clock or wait for one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func TestTheStateMachineReadsNoClock(t *testing.T) {
	files := token.NewFileSet()
	sources(t, func(path string, text []byte) {
		if !strings.HasPrefix(path, "fsm/") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "fsm/fsmtest/") {
			return
		}
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, s.Sel.Name) {
					t.Errorf("%s reads a clock", files.Position(n.Pos()))
				}
			}
			return true
		})
	})
}

// TestEveryPackageSaysWhatItIs wants a head comment in every package.
func TestEveryPackageSaysWhatItIs(t *testing.T) {
	files := token.NewFileSet()
	documented := make(map[string]bool)
	sources(t, func(path string, text []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(files, path, text, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || file.Doc.Text() != ""
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no head comment", dir)
		}
	}
}
