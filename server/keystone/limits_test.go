package keystone_test

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/keystone"
)

// A user who asks too often is told to try again, in both dialects, and never
// with 429: clients of one family sleep a minute at that, twenty times.
func TestUserWhoAsksTooOften(t *testing.T) {
	w := newWorld(t)
	token, asked := w.mustLogin(), 0
	w.api.Door.Limit(func(userID string) bool {
		if userID != fsmtest.UserID {
			t.Errorf("%q is counted", userID)
		}
		asked++
		return asked%2 == 1
	})
	for range 3 {
		if a := w.listKeys(fsmtest.ProjectID, token); a.status != 200 {
			t.Errorf("within the limit: %d %s", a.status, a.body)
		}
		if a := w.listKeys(fsmtest.ProjectID, token); a.status != 503 || !strings.Contains(a.body, "KMS.0104") {
			t.Errorf("beyond the limit: %d %s", a.status, a.body)
		}
	}
	asked = 1
	w.ask(keystone.Projects, "GET", "/v3/projects", "", "X-Auth-Token", token).wantRefused(t, 503)
	if asked != 2 {
		t.Errorf("one request was counted %d times", asked-1)
	}
}

// Passwords from an address that failed too often are not looked at.
func TestAddressThatMayNotTry(t *testing.T) {
	w := newWorld(t)
	may, failed := true, 0
	w.api.MayTry = func(string) bool { return may }
	w.api.Failed = func(string) { failed++ }
	w.login(`{"id":"`+fsmtest.UserID+`","password":"wrong"}`, "").wantRefused(t, 401)
	w.mustLogin()
	may = false
	w.login(byName, project).wantRefused(t, 503)
	w.login(`{"id":"`+fsmtest.UserID+`","password":"wrong"}`, "").wantRefused(t, 503)
	if failed != 1 {
		t.Errorf("%d failures are told of, want the one that was looked at", failed)
	}
}
