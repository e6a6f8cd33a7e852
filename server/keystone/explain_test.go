package keystone_test

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/keystone"
)

// An explanation of one operation says what a grant allows of that one, not of
// all that need the same action.
func TestExplainAnOperation(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.change(fsmtest.CreateUser("ada"))
	w.change(fsmtest.CreateKey("a"))
	w.change(fsmtest.CreateGrant("g", "a", fsmtest.ID("ada"), state.GrantDecryptDataKey))
	w.values = map[string]string{"user_id": fsmtest.ID("ada")}
	f := func(query string, status int, want string) {
		t.Helper()
		a := w.ask(keystone.Explain, "GET", "/v3/users/x/permissions?project_id="+fsmtest.ProjectID+"&key="+fsmtest.KeyID("a")+"&action="+query, "", "X-Auth-Token", token)
		if a.status != status || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s, want %q", query, a.status, a.body, want)
		}
	}
	f("kms:dek:crypto", 200, `"allowed":true,"decided_by":"grant"`)
	f("kms:dek:crypto&operation=decryptDatakey", 200, `"allowed":true,"decided_by":"grant"`)
	f("kms:dek:crypto&operation=encryptDatakey", 200, `"allowed":false`)
	f("kms:dek:crypto&operation=createDataKey", 400, "no such operation")
	f("kms:dek:crypto&operation=nothing", 400, "no such operation")
}
