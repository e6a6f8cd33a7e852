package keystone_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
)

// administration is every endpoint of admin.go.
func administration() []keystone.Endpoint {
	return []keystone.Endpoint{
		keystone.ListAccounts, keystone.ShowAccount, keystone.CreateAccount, keystone.UpdateAccount, keystone.DeleteAccount,
		keystone.ShowProject, keystone.CreateProject, keystone.UpdateProject, keystone.DeleteProject,
		keystone.ListUsers, keystone.ShowUser, keystone.CreateUser, keystone.UpdateUser, keystone.DeleteUser, keystone.SetPassword, keystone.UnlockUser, keystone.ResetMFA,
		keystone.ListGroups, keystone.ListGroupsOf, keystone.ShowGroup, keystone.CreateGroup, keystone.UpdateGroup, keystone.DeleteGroup,
		keystone.ListMembers, keystone.CheckMember, keystone.AddMember, keystone.RemoveMember,
		keystone.ListPolicies, keystone.ShowPolicy, keystone.CreatePolicy, keystone.UpdatePolicy, keystone.DeletePolicy,
		keystone.ListAssignments, keystone.ListAttached, keystone.CheckAttached, keystone.AttachPolicy, keystone.DetachPolicy, keystone.Explain,
		keystone.ListAccessKeys, keystone.ShowAccessKey, keystone.CreateAccessKey, keystone.UpdateAccessKey, keystone.DeleteAccessKey,
	}
}

// tokenOf returns a token for a user of an account, by name.
func (w *world) tokenOf(account, user, scope string) string {
	w.t.Helper()
	identity := `{"name":"` + user + `","domain":{"name":"` + account + `"},"password":"` + password + `"}`
	got := w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":`+identity+`}}`+scope+`}}`)
	if got.token == "" {
		w.t.Fatalf("no token for %s: %d %s", user, got.status, got.body)
	}
	return got.token
}

// id returns the member "id" or "access" of the object of that name in an answer.
func id(t *testing.T, got answered, name string) string {
	t.Helper()
	var reply map[string]struct{ ID, Access string }
	if err := json.Unmarshal([]byte(got.body), &reply); err != nil || got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	return reply[name].ID + reply[name].Access
}

// A person gets what an administrator gives them, and loses it.
func TestAdministration(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.values = map[string]string{"domain_id": fsmtest.DomainID}
	admin := func(e keystone.Endpoint, uri, body string) answered {
		t.Helper()
		got := w.ask(e, "POST", uri, body, "X-Auth-Token", token)
		if record := w.traces.last(); record.TraceName != e.Operation.Name || record.User.ID != fsmtest.UserID {
			t.Errorf("traced as %+v", record)
		}
		return got
	}
	w.values["user_id"] = id(t, admin(keystone.CreateUser, "/v3/users", `{"user":{"name":"ada","password":"`+password+`"}}`), "user")
	if got := admin(keystone.CreateUser, "/v3/users", `{"user":{"name":"ada"}}`); got.status != 409 {
		t.Errorf("a name taken: %d %s", got.status, got.body)
	}
	w.values["group_id"] = id(t, admin(keystone.CreateGroup, "/v3/groups", `{"group":{"name":"readers"}}`), "group")
	document := `{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["kms:cmk:list"],"Condition":{"StringEquals":{"g:UserName":["ada"]}}}]}`
	w.values["role_id"] = id(t, admin(keystone.CreatePolicy, "/v3.0/OS-ROLE/roles", `{"role":{"display_name":"lists","type":"AX","description":"","policy":`+document+`}}`), "role")
	ada := w.tokenOf("account", "ada", project)
	may := func(want int) {
		t.Helper()
		if got := w.listKeys(fsmtest.ProjectID, ada); got.status != want {
			t.Errorf("ada lists keys: %d %s", got.status, got.body)
		}
	}
	done := func(e keystone.Endpoint) {
		t.Helper()
		if strings.HasSuffix(e.Operation.Name, "tachPolicy") { // to the group: such a path names no user
			user := w.values["user_id"]
			w.values["user_id"] = ""
			defer func() { w.values["user_id"] = user }()
		}
		if got := admin(e, "/", ""); got.status != 204 {
			t.Fatalf("%s: %d %s", e.Operation.Name, got.status, got.body)
		}
	}
	may(403)
	done(keystone.AddMember)
	done(keystone.AttachPolicy)
	may(200)
	done(keystone.RemoveMember)
	may(403)
	done(keystone.AddMember)
	done(keystone.DetachPolicy)
	may(403)
	if got := admin(keystone.ListMembers, "/", ""); !strings.Contains(got.body, `"name":"ada"`) {
		t.Errorf("members: %s", got.body)
	}
	key := admin(keystone.CreateAccessKey, "/", `{"credential":{"user_id":"`+w.values["user_id"]+`"}}`)
	w.values["access_key"] = id(t, key, "credential")
	if got := admin(keystone.ListAccessKeys, "/?user_id="+w.values["user_id"], ""); !strings.Contains(got.body, w.values["access_key"]) || strings.Contains(got.body, "secret") {
		t.Errorf("access keys: %s", got.body)
	}
	if got := admin(keystone.UpdateAccessKey, "/", `{"credential":{"status":"inactive"}}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if key, _ := w.replica.Root().AccessKey(w.values["access_key"]); key.Enabled {
		t.Error("the access key is not disabled")
	}
	done(keystone.DeleteAccessKey)
	if got := admin(keystone.ListPolicies, "/", ""); !strings.Contains(got.body, `"g:UserName":["ada"]`) || !strings.Contains(got.body, policy.RoleKMSAdministrator) {
		t.Errorf("policies: %s", got.body)
	}
	if got := admin(keystone.UpdateUser, "/", `{"user":{"enabled":false}}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	may(401)
	done(keystone.DeleteUser)
	done(keystone.DeleteGroup)
}

// Who may nothing is told nothing by any operation, and every attempt is traced.
func TestAdministrationIsRefusedAndTraced(t *testing.T) {
	w := newWorld(t)
	b := fsmtest.CreateUser("ada")
	b.PasswordHash = iam.HashPassword(password)
	w.apply(b)
	ada := w.tokenOf("account", "ada", ofAccount("account"))
	for _, e := range administration() {
		for _, caller := range []struct {
			token  string
			status int
		}{{ada, 403}, {"nonsense", 401}} {
			got := w.ask(e, "POST", "/", "not even JSON", "X-Auth-Token", caller.token)
			if got.status != caller.status || strings.Contains(got.body, "body") {
				t.Errorf("%s: %d %s", e.Operation.Name, got.status, got.body)
			}
			if record := w.traces.last(); record.TraceName != e.Operation.Name || record.Rating != "warning" {
				t.Errorf("%s: traced as %+v", e.Operation.Name, record)
			}
		}
	}
}

// What belongs to another account is answered as what does not exist, in every byte.
func TestOtherAccountsAreAbsent(t *testing.T) {
	w := newWorld(t)
	b := fsmtest.CreateAccount("other")
	b.PasswordHash = iam.HashPassword(password)
	w.apply(b)
	stranger := w.tokenOf("other", "admin", ofAccount("other"))
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.values = map[string]string{}
	group := id(t, w.ask(keystone.CreateGroup, "POST", "/", `{"group":{"name":"g"}}`, "X-Auth-Token", token), "group")
	role := id(t, w.ask(keystone.CreatePolicy, "POST", "/", `{"role":{"display_name":"p","policy":{"Version":"1.1","Statement":[{"Effect":"Allow","Action":"kms:*"}]}}}`, "X-Auth-Token", token), "role")
	real := map[string]string{"user_id": fsmtest.UserID, "group_id": group, "role_id": role, "project_id": fsmtest.ProjectID, "domain_id": fsmtest.DomainID, "access_key": fsmtest.AccessKeyID}
	absent := map[string]string{}
	for name := range real {
		absent[name] = fsmtest.ID("absent")
	}
	absent["access_key"] = fsmtest.AccessKey("absent")
	// These name nobody, or are about the caller's own.
	ownOnly := map[string]bool{"listPolicies": true, "listGroups": true, "listAccounts": true}
	for _, e := range administration() {
		body, uri := `{"role":{"display_name":"q","policy":{"Version":"1.1","Statement":[{"Effect":"Allow","Action":"kms:*"}]}},"user":{},"credential":{}}`, "/?action=kms:cmk:get&user.id="+real["user_id"]+"&user_id="
		if ownOnly[e.Operation.Name] || strings.HasPrefix(e.Operation.Name, "create") {
			continue
		}
		var answers []string
		for _, values := range []map[string]string{real, absent} {
			w.values = maps.Clone(values)
			if strings.HasSuffix(e.Operation.Name, "tachPolicy") { // to the group: such a path names no user
				w.values["user_id"] = ""
			}
			got := w.ask(e, "POST", uri+values["user_id"], body, "X-Auth-Token", stranger)
			var told map[string]any
			if err := json.Unmarshal([]byte(got.body), &told); err != nil {
				t.Fatalf("%s: %d %q", e.Operation.Name, got.status, got.body)
			}
			delete(told, "request_id")
			text, _ := json.Marshal(told)
			answers = append(answers, string(text))
			want := 404
			if strings.HasSuffix(e.Operation.Name, "Account") {
				want = 403 // accounts are the cluster's
			}
			if got.status != want && e.Operation.Name != "listUsers" {
				t.Errorf("%s: %d %s", e.Operation.Name, got.status, got.body)
			}
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: %s of another's, %s of what is not there", e.Operation.Name, answers[0], answers[1])
		}
	}
	if strings.Contains(w.ask(keystone.ListUsers, "GET", "/v3/users", "", "X-Auth-Token", stranger).body, fsmtest.UserID) {
		t.Error("users of another account are listed")
	}
}

// apply applies a command of the administrator.
func (w *world) apply(body command.Body) {
	w.t.Helper()
	w.proposals++
	cmd := fsmtest.New(w.t).Command(body)
	cmd.Proposal.ID, cmd.Proposal.First = fmt.Sprintf("apply %d", w.proposals), 0
	data, err := command.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	result, err := w.replica.Propose(w.t.Context(), data)
	if err != nil || result.Refusal != nil {
		w.t.Fatal(err, result.Refusal)
	}
}
