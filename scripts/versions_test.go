package scripts_test

import (
	"os"
	"testing"

	"golang.org/x/mod/modfile"
)

// pinned are the versions that were found to work together; a change is made
// here and in go.mod in one commit, with its reason.
var pinned = map[string]string{
	"github.com/hashicorp/raft":                    "v1.7.3", // v1.8.0 drops go-metrics/compat, which raft-boltdb needs
	"github.com/hashicorp/raft-boltdb/v2":          "v2.3.1",
	"github.com/hashicorp/memberlist":              "v0.6.0",
	"github.com/hashicorp/go-metrics":              "v0.6.1",
	"go.etcd.io/bbolt":                             "v1.5.0", // raft-boltdb alone selects a years-old one
	"github.com/miekg/pkcs11":                      "v1.1.2",
	"github.com/valyala/fasthttp":                  "v1.74.0",
	"github.com/molecule-man/go-brrr":              "v1.0.1", // goes with fasthttp; newer pairs do not resolve
	"github.com/huaweicloud/huaweicloud-sdk-go-v3": "v0.1.207",
	"github.com/tidwall/btree":                     "v1.8.2",
	"github.com/fxamacker/cbor/v2":                 "v2.9.6",
	"golang.org/x/crypto":                          "v0.58.0",
}

func TestNoPinnedVersionChangesSilently(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	required := make(map[string]string)
	for _, r := range file.Require {
		required[r.Mod.Path] = r.Mod.Version
	}
	for path, want := range pinned {
		if got := required[path]; got != want {
			t.Errorf("%s is %q in go.mod, pinned to %s", path, got, want)
		}
	}
	if len(file.Replace) > 0 {
		t.Errorf("go.mod replaces %d modules; a replacement is a debt that needs a line here", len(file.Replace))
	}
}
