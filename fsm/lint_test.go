package fsm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/packages"
)

// imports is all that the code of this room may use. What is not here has a
// clock, randomness, the environment, a disk, a network, or an order of its own.
var imports = []string{
	"bufio", "bytes", "cmp", "crypto/sha256", "encoding/binary", "encoding/hex", "errors", "fmt", "hash", "io", "iter",
	"math/bits", "net/netip", "slices", "strings", "sync/atomic",
	"github.com/fxamacker/cbor/v2", "github.com/tidwall/btree",
}

// sideBySide are the files in which work is shared out, and so may import sync:
// what comes of it is put together in an order that nobody's speed decides.
var sideBySide = []string{"decoders.go", "freshkeys.go"}

// withoutCopy is the file that may import unsafe: a lookup by bytes in a tree of
// strings is not worth a copy of them.
const withoutCopy = "table.go"

// own is the path of this room: it imports nothing of ours from outside.
const own = "github.com/raftkms/raftkms/fsm"

// allowMapOrder stands at the end of a line that ranges over a map and cannot
// let the order out; what follows it says why.
const allowMapOrder = "// map order stays inside:"

// TestDeterminism holds the code to the promise of the package comment.
func TestDeterminism(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo,
	}, own+"/...")
	if err != nil || packages.PrintErrors(loaded) > 0 || len(loaded) < 7 {
		t.Fatalf("loading %d packages: %v", len(loaded), err)
	}
	for _, p := range loaded {
		for _, file := range p.Syntax {
			for _, finding := range findings(p, file) {
				t.Error(finding)
			}
		}
	}
}

func findings(p *packages.Package, file *ast.File) []string {
	var found []string
	at := func(n ast.Node) string { return p.Fset.Position(n.Pos()).String() }
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		ours := imported == own || strings.HasPrefix(imported, own+"/")
		test := path.Base(p.PkgPath) == "fsmtest" && imported == "testing"
		shared := imported == "sync" && slices.Contains(sideBySide, filepath.Base(p.Fset.Position(spec.Pos()).Filename))
		bare := imported == "unsafe" && filepath.Base(p.Fset.Position(spec.Pos()).Filename) == withoutCopy
		if err != nil || !ours && !test && !shared && !bare && !slices.Contains(imports, imported) {
			found = append(found, at(spec)+": may not import "+imported)
		}
	}
	allowed := map[int]bool{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, allowMapOrder) {
				allowed[p.Fset.Position(c.Pos()).Line] = true
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			_, overMap := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map)
			if overMap && !allowed[p.Fset.Position(n.Pos()).Line] {
				found = append(found, at(n)+": ranges over a map")
			}
		case *ast.GoStmt, *ast.SelectStmt:
			found = append(found, at(n)+": leaves the order to the scheduler")
		case *ast.BasicLit, *ast.Ident:
			if isFloat(p.TypesInfo.TypeOf(n.(ast.Expr))) {
				found = append(found, at(n)+": rounds as the processor does")
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				found = append(found, at(n)+": an init function")
			}
		}
		return true
	})
	return found
}

func isFloat(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsFloat|types.IsComplex) != 0
}

// TestDeterminismFindings shows the check what it must find.
func TestDeterminismFindings(t *testing.T) {
	f := func(source string, want ...string) {
		t.Helper()
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "f.go", "package p\n"+source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
		config := types.Config{Error: func(error) {}} // imports are not there to be found
		_, _ = config.Check("p", fset, []*ast.File{file}, info)
		got := findings(&packages.Package{PkgPath: "p", Fset: fset, TypesInfo: info}, file)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
	f(`import "time"`, "f.go:2:8: may not import time")
	f(`import _ "math/rand/v2"`, "f.go:2:8: may not import math/rand/v2")
	f(`import "sync"`, "f.go:2:8: may not import sync")
	f(`import "testing"`, "f.go:2:8: may not import testing")
	f(`import "github.com/raftkms/raftkms/hsm"`, "f.go:2:8: may not import github.com/raftkms/raftkms/hsm")
	f(`import "github.com/raftkms/raftkms/fsm/state"`)
	f("type m map[int]int\nfunc f(x m) int { for k := range x { return k }; return 0 }", "f.go:3:19: ranges over a map")
	f("func f(x map[int]int) (n int) {\nfor _, v := range x { // map order stays inside: a sum has none\nn += v }; return }")
	f("func f(x []int) { for range x { } }")
	f("func f() { go f() }", "f.go:2:12: leaves the order to the scheduler")
	f("func f(x int) bool { y := 2.5; return y > 1 }", "f.go:2:22: rounds as the processor does",
		"f.go:2:27: rounds as the processor does", "f.go:2:39: rounds as the processor does", "f.go:2:43: rounds as the processor does")
	f("func init() {}", "f.go:2:1: an init function")
}
