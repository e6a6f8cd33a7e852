package huawei_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/wire"
)

// The default master key of a service is made when it is used for the first
// time, once, although many ask at the same moment; it is seen, and not counted.
func TestDefaultMasterKeys(t *testing.T) {
	w := newWorld(t)
	const alias = "alias/evs/default"
	for _, verb := range []string{"describe-key", "get-key-rotation-status", "disable-key"} { // these use nothing
		if a := w.ask(verb, `{"key_id":"`+alias+`"}`); a.status != 404 || a.code(t) != "KMS.0207" {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
	if a := w.ask("create-datakey", `{"key_id":"alias/nobody/default"}`); a.status != 404 {
		t.Errorf("of no service: %d %s", a.status, a.body)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if a := w.ask("create-datakey", `{"key_id":"`+alias+`"}`); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	d := w.describe(alias)
	if d.DefaultKeyFlag != "1" || d.KeyAlias != "evs/default" || d.KeyState != "2" || d.KeySpec != "AES_256" || d.Origin != "kms" {
		t.Errorf("described as %+v", d)
	}
	if n := w.replica.Root().KeyCount(fsmtest.ProjectID); n != 0 {
		t.Errorf("%d keys count against the quota", n)
	}
	var listed wire.ListKeysReply
	w.must("list-keys", `{}`, &listed)
	if listed.Total != 1 || len(listed.Keys) != 1 || listed.Keys[0] != d.KeyID || listed.KeyDetails[0].DefaultKeyFlag != "1" {
		t.Errorf("listed as %+v", listed)
	}
	if !strings.Contains(w.must("create-datakey", `{"key_id":"`+d.KeyID+`"}`, nil), d.KeyID) {
		t.Error("another key answered")
	}
}
