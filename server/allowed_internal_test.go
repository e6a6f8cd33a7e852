package server

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
)

// What an administrator may do leaves one trace as well, by every route of the
// identity service: of its operation, with the status of the answer, and rated
// normal when it was done. What was given in confidence is in none. (The calls of
// the dialect are in TestEveryCallOnEveryNode.)
func TestWhatIsAllowedLeavesOneTrace(t *testing.T) {
	done, unlike := map[string]bool{}, 0
	w, changed := newWalk(t), false
	for _, r := range w.routes {
		if ofTheDialect(r.path) || !strings.HasPrefix(r.path, "/v3/") && !strings.HasPrefix(r.path, "/v3.0/") {
			continue
		}
		if changed {
			w = newWalk(t) // what one call has changed is not in the way of the next
		}
		changed = r.method != "GET"
		token := w.tokenFor(fsmtest.UserID, `{"domain":{"id":"`+fsmtest.DomainID+`"}}`)
		of := things{
			project: fsmtest.ProjectID, key: fsmtest.KeyID("theirs"), alias: "theirs-too", user: fsmtest.ID("nobody"), group: fsmtest.ID("g"), role: fsmtest.ID("p"),
			domain: fsmtest.DomainID, accessKey: fsmtest.AccessKeyID, grant: strings.Repeat("0", 64),
		}
		body := of.body(r.path)
		switch r.method + " " + r.path {
		case "POST /v3/domains":
			body = `{"domain":{"name":"fresh"}}`
		case "POST /v3/projects":
			body = `{"project":{"name":"r-1_fresh","domain_id":"` + of.domain + `"}}`
		case "POST /v3/users":
			body = `{"user":{"name":"fresh","password":"` + walkPassword + ` hush"}}`
		case "PATCH /v3/users/{user_id}", "PATCH /v3/projects/{project_id}", "PATCH /v3/groups/{group_id}":
			kind := strings.TrimSuffix(strings.Split(r.path, "/")[2], "s")
			body = `{"` + kind + `":{"description":"x"}}`
		case "POST /v3/groups":
			body = `{"group":{"name":"fresh"}}`
		case "PUT /v3/users/{user_id}/password":
			body = `{"user":{"password":"` + walkPassword + ` hush"}}`
		case "POST /v3/users/{user_id}/password":
			of.user = fsmtest.UserID
			body = `{"user":{"original_password":"` + walkPassword + `","password":"` + walkPassword + ` hush"}}`
		case "POST /v3/auth/tokens":
			body = `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"` + fsmtest.UserID + `","password":"` + walkPassword + `"}}},"scope":{"project":{"id":"` + of.project + `"}}}}`
		case "PUT /v3.0/OS-CREDENTIAL/credentials/{access_key}":
			body = `{"credential":{"status":"active","description":"x"}}`
		}
		query := of.query()
		if strings.Contains(r.path, "permissions") || strings.Contains(r.path, "role_assignments") {
			query = "?user_id=" + of.user + "&action=kms:cmk:get&user.id=" + of.user
		}
		if relation := strings.Contains(r.path, "{role_id}") || strings.Contains(r.path, "/groups/{group_id}/users/"); relation && (r.method == "DELETE" || r.method == "HEAD") && strings.Count(r.path, "{") > 1 {
			if rc, _ := w.ask("PUT", of.path(r.path), "", token); rc.Response.StatusCode()/100 != 2 {
				t.Errorf("PUT %s: %d", r.path, rc.Response.StatusCode())
			}
		}
		before := len(w.traces.records)
		rc, operation := w.ask(r.method, of.path(r.path)+query, body, token)
		status := rc.Response.StatusCode()
		records := slices.DeleteFunc(slices.Clone(w.traces.records[before:]), func(r *audit.Record) bool { return r.Type == audit.TypeSystemAction })
		if len(records) != 1 {
			t.Errorf("%s %s (%d): %d traces", r.method, r.path, status, len(records))
			continue
		}
		record := records[0]
		if record.TraceName != operation || record.Code != fmt.Sprint(status) || (record.Rating == audit.RatingNormal) != (status < 400) || record.User.ID != fsmtest.UserID && operation != "createToken" {
			t.Errorf("%s %s (%d): traced as %+v", r.method, r.path, status, record)
		}
		told := record.Request.String() + record.Response.String() + record.Message + fmt.Sprintf("%+v", *record)
		for _, secret := range []string{walkPassword, "hush", token, string(rc.Response.Header.Peek("X-Subject-Token"))} {
			if secret != "" && strings.Contains(told, secret) {
				t.Errorf("%s %s: the trace tells a secret", r.method, r.path)
			}
		}
		if status < 400 {
			done[operation] = true
		} else {
			unlike++
			t.Logf("%s %s: %d %.120s", r.method, r.path, status, rc.Response.Body())
		}
	}
	t.Logf("%d operations were done, %d requests refused", len(done), unlike)
	if len(done) < 40 {
		t.Errorf("%d operations were done: %v", len(done), slices.Sorted(maps.Keys(done)))
	}
}
