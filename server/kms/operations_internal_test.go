package kms

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/policy"
)

// Every operation's action is one that policies can allow, or none: then the
// operation is everybody's about themselves, or nobody's who is a user.
func TestOperationsNeedKnownActions(t *testing.T) {
	known := policy.Actions()
	constants := actionConstants(t)
	for name, action := range constants {
		if !slices.Contains(known, action) {
			t.Errorf("policy.%s is not in policy.Actions", name)
		}
	}
	found := 0
	for _, file := range parsed(t, ".") {
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok || len(literal.Elts) != 3 {
				return true
			}
			if is, ok := literal.Type.(*ast.Ident); !ok || is.Name != "Operation" {
				return true
			}
			found++
			switch action := literal.Elts[1].(type) {
			case *ast.BasicLit:
				if text := unquoted(t, action); text != "" && !slices.Contains(known, text) {
					t.Errorf("the operation %s needs %s, which no policy can allow", unquoted(t, literal.Elts[0]), text)
				}
			case *ast.SelectorExpr: // of package policy, or another operation's
				if from, ok := action.X.(*ast.Ident); ok && from.Name == "policy" && constants[action.Sel.Name] == "" {
					t.Errorf("the operation %s needs %s, which is no action", unquoted(t, literal.Elts[0]), action.Sel.Name)
				}
			default:
				t.Errorf("the action of %s is neither a text nor a constant", unquoted(t, literal.Elts[0]))
			}
			return true
		})
	}
	if found < 100 {
		t.Errorf("%d operations found: the test does not read what it should", found)
	}
}

// actionConstants are the constants of package policy that name actions.
func actionConstants(t *testing.T) map[string]string {
	constants := map[string]string{}
	for _, file := range parsed(t, "../../fsm/policy") {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 && strings.HasPrefix(spec.Names[0].Name, "Action") {
				constants[spec.Names[0].Name] = unquoted(t, spec.Values[0])
			}
			return true
		})
	}
	return constants
}

// parsed are the files of a package, without its tests.
func parsed(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func unquoted(t *testing.T, e ast.Expr) string {
	t.Helper()
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return "(made of others)"
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
