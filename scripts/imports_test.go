package scripts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/raftkms/raftkms/"

// rooms says which rooms each room may import, besides itself: the arrows of
// the house. What is not listed may not be imported.
var rooms = map[string][]string{
	"fsm":     {},
	"hsm":     {},
	"cluster": {},
	"server":  {"cluster", "fsm", "hsm"},
	"client":  {"server/wire"},
	"bench":   {"client", "server/wire"},
	"cmd":     {"bench", "client", "cluster", "fsm", "hsm", "server"},
	"scripts": {},
}

// narrower rules of single packages, each in addition to its room's.
var forbidden = []struct{ from, to, why string }{
	{"server/huawei", "cluster", "a dialect decodes, calls server/kms and encodes"},
	{"server/wire", "", "the wire types have no dependencies"},
	{"fsm", "hsm", "the state machine is deterministic and knows no module"},
}

// nondeterminism is what code under fsm may not import (DESIGN.md §2: no
// clock, no randomness, no I/O). Package time is allowed for its types only,
// which TestTheStateMachineReadsNoClock checks.
var nondeterminism = []string{
	"crypto/rand", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "log", "log/slog", "syscall", "runtime",
}

// listed is a package as go list shows it.
type listed struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	CgoFiles     []string
}

// packages lists all packages of the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,GoFiles,CgoFiles", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// within says whether the package path (without the module) lies in the folder.
func within(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// judge returns why a package may not import another one of ours, or "".
func judge(from, to string) string {
	room, _, _ := strings.Cut(from, "/")
	allowed, known := rooms[room]
	if !known {
		return "it lies in no room of the house"
	}
	if !within(to, room) && !slices.ContainsFunc(allowed, func(a string) bool { return within(to, a) }) {
		return "room " + room + " may import only itself and " + strings.Join(allowed, ", ")
	}
	for _, rule := range forbidden {
		if within(from, rule.from) && within(to, rule.to) && from != to {
			return rule.why
		}
	}
	return ""
}

func TestJudge(t *testing.T) {
	f := func(from, to string, ok bool) {
		t.Helper()
		if why := judge(from, to); (why == "") != ok {
			t.Errorf("%s → %s: %q", from, to, why)
		}
	}
	f("cmd/kmsd", "server", true)
	f("server", "cluster/transport", true)
	f("server/huawei", "server/kms", true)
	f("server/huawei", "cluster", false)
	f("server/kms", "client", false)
	f("server/wire", "server/kms", false)
	f("client", "server/wire", true)
	f("client", "server", false)
	f("client/admin", "server/wire", true)
	f("bench/load", "client/aksk", true)
	f("bench/load", "server", false)
	f("fsm/state", "fsm/policy", true)
	f("fsm/state", "hsm", false)
	f("hsm/soft", "fsm/state", false)
	f("cluster", "server/wire", false)
	f("clusterx", "cluster", false)
	f("tools", "server", false)
}

func TestOnlyTheDesignsArrowsExist(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imported := range p.Imports {
			if to, ours := strings.CutPrefix(imported, module); ours {
				if why := judge(from, to); why != "" {
					t.Errorf("%s imports %s: %s", from, to, why)
				}
			}
		}
	}
}

func TestOnlyThePKCS11ModuleUsesCgo(t *testing.T) {
	found := false
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		cgo := len(p.CgoFiles) > 0 || slices.Contains(p.Imports, "github.com/miekg/pkcs11")
		if cgo && !within(from, "hsm/pkcs11") {
			t.Errorf("%s uses cgo", from)
		}
		found = found || cgo
	}
	if !found {
		t.Error("no package uses cgo: this test looks in the wrong place")
	}
}

func TestTheStateMachineImportsNothingThatVaries(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		if !within(from, "fsm") || within(from, "fsm/fsmtest") {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(nondeterminism, imported) {
				t.Errorf("%s imports %s", from, imported)
			}
		}
	}
}
