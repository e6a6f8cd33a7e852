package keystone_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/wire"
)

// as asks with a token and wants a status.
func (w *world) as(token string, e keystone.Endpoint, uri, body string, want int) answered {
	w.t.Helper()
	got := w.ask(e, "POST", uri, body, "X-Auth-Token", token)
	if got.status != want {
		w.t.Fatalf("%s: %d %s, want %d", e.Operation.Name, got.status, got.body, want)
	}
	return got
}

func read[T any](t *testing.T, got answered) T {
	t.Helper()
	var reply T
	if err := json.Unmarshal([]byte(got.body), &reply); err != nil {
		t.Fatalf("%v: %s", err, got.body)
	}
	return reply
}

// An account is made with an administrator, who uses it until it is disabled;
// it is removed with all that is in it.
func TestAccounts(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.values = map[string]string{}
	made := read[wire.CreateAccountReply](t, w.as(token, keystone.CreateAccount, "/v3/domains", `{"domain":{"name":"acme","description":"tenants"}}`, 201))
	first := made.Administrator
	if first.Password == "" || first.Secret == "" || first.Name != "admin" || made.Project.Name != fsmtest.Region || !made.Domain.Enabled {
		t.Fatalf("made %+v", made)
	}
	if record := w.traces.last(); record.ResourceID != made.Domain.ID || record.TraceName != "createAccount" {
		t.Errorf("traced as %+v", record)
	}
	w.as(token, keystone.CreateAccount, "/v3/domains", `{"domain":{"name":"acme"}}`, 409)
	given := read[wire.CreateAccountReply](t, w.as(token, keystone.CreateAccount, "/", `{"domain":{"name":"globex","administrator":{"name":"hank","password":"`+password+`"}}}`, 201))
	if given.Administrator.Password != "" {
		t.Error("a password that was given is told back")
	}
	w.tokenOf("globex", "hank", ofAccount("globex"))

	login := func(want int) string {
		t.Helper()
		got := w.ask(keystone.CreateToken, "POST", "/", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"`+first.ID+`","password":"`+string(first.Password)+`"}}},"scope":{"domain":{"id":"`+made.Domain.ID+`"}}}}`)
		if got.status != want {
			t.Fatalf("login: %d %s", got.status, got.body)
		}
		return got.token
	}
	theirs := login(201)
	w.as(theirs, keystone.CreateUser, "/", `{"user":{"name":"ada"}}`, 201)
	w.as(theirs, keystone.ListAccounts, "/", "", 403)
	list := w.as(token, keystone.ListAccounts, "/v3/domains?limit=2", "", 200)
	if reply := read[wire.DomainsReply](t, list); len(reply.Domains) != 2 || reply.Links.Next == nil || !strings.HasSuffix(*reply.Links.Next, "marker=acme") {
		t.Errorf("a page: %s", list.body)
	}
	if reply := read[wire.DomainsReply](t, w.as(token, keystone.ListAccounts, "/v3/domains?limit=2&marker=acme", "", 200)); len(reply.Domains) != 1 || reply.Domains[0].Name != "globex" || reply.Links.Next != nil {
		t.Errorf("the last page: %+v", reply)
	}
	if reply := read[wire.DomainsReply](t, w.as(token, keystone.ListAccounts, "/v3/domains?limit=1&name=acme", "", 200)); len(reply.Domains) != 1 || reply.Links.Next != nil {
		t.Errorf("by name: %+v", reply)
	}

	w.values["domain_id"] = made.Domain.ID
	w.as(token, keystone.UpdateAccount, "/", `{"domain":{"enabled":false}}`, 200)
	w.as(theirs, keystone.ListUsers, "/", "", 401)
	login(401)
	w.as(token, keystone.UpdateAccount, "/", `{"domain":{"name":"acme-2"}}`, 200) // does not enable it
	login(401)
	w.as(token, keystone.UpdateAccount, "/", `{"domain":{"enabled":true}}`, 200)
	login(201)
	if got := read[wire.DomainReply](t, w.as(token, keystone.ShowAccount, "/", "", 200)); got.Domain.Name != "acme-2" || got.Domain.Description != "tenants" || !got.Domain.Enabled {
		t.Errorf("%+v", got)
	}
	w.as(token, keystone.DeleteAccount, "/", "", 204)
	w.as(token, keystone.ShowAccount, "/", "", 404)
	login(401)
}

// Users, groups, policies and access keys are shown by themselves, and changed.
func TestShowAndChange(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.values = map[string]string{"domain_id": fsmtest.DomainID}
	user := read[wire.UserReply](t, w.as(token, keystone.CreateUser, "/", `{"user":{"name":"ada","password":"`+password+`"}}`, 201)).User
	group := read[wire.GroupReply](t, w.as(token, keystone.CreateGroup, "/", `{"group":{"name":"readers"}}`, 201)).Group
	w.values["group_id"], w.values["user_id"] = group.ID, user.ID
	w.as(token, keystone.CheckMember, "/", "", 404)
	w.as(token, keystone.AddMember, "/", "", 204)
	w.as(token, keystone.CheckMember, "/", "", 204)
	if got := w.as(token, keystone.ListGroupsOf, "/", "", 200); !strings.Contains(got.body, group.ID) {
		t.Errorf("groups: %s", got.body)
	}
	w.as(token, keystone.UpdateGroup, "/", `{"group":{"description":"they read"}}`, 200)
	if got := read[wire.GroupReply](t, w.as(token, keystone.ShowGroup, "/", "", 200)).Group; got.Name != "readers" || got.Description != "they read" {
		t.Errorf("%+v", got)
	}

	// What a group gives is in a token, and among the assignments.
	w.values["user_id"], w.values["role_id"] = "", policy.RoleKMSReadOnly
	w.as(token, keystone.AttachPolicy, "/", "", 204)
	w.as(token, keystone.CheckAttached, "/", "", 204)
	if got := w.as(token, keystone.ListAttached, "/", "", 200); strings.Count(got.body, `"display_name"`) != 1 || !strings.Contains(got.body, policy.RoleKMSReadOnly) {
		t.Errorf("attached: %s", got.body)
	}
	login := w.ask(keystone.CreateToken, "POST", "/", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"`+user.ID+`","password":"`+password+`"}}}`+project+`}}`)
	if reply := read[wire.TokenReply](t, login); len(reply.Token.Roles) != 1 || reply.Token.Roles[0].Name != policy.RoleKMSReadOnly {
		t.Errorf("roles in the token: %+v", reply.Token.Roles)
	}
	all := read[wire.AssignmentsReply](t, w.as(token, keystone.ListAssignments, "/v3/role_assignments", "", 200)).Assignments
	of := read[wire.AssignmentsReply](t, w.as(token, keystone.ListAssignments, "/v3/role_assignments?group.id="+group.ID, "", 200)).Assignments
	if len(of) != 1 || of[0].Group.Name != "readers" || of[0].Role.ID != policy.RoleKMSReadOnly || of[0].Scope.Inherited != "projects" || of[0].User != nil {
		t.Errorf("of the group: %+v", of)
	}
	if len(all) < 2 || all[len(all)-1].Group == nil || all[0].User == nil {
		t.Errorf("of the account: %+v", all)
	}

	w.values["user_id"] = user.ID
	got := w.as(token, keystone.Explain, "/?action=kms:cmk:get&project_id="+fsmtest.ProjectID, "", 200)
	if e := read[wire.ExplainReply](t, got).Explanation; !e.Allowed || e.DecidedBy != wire.DecidedBySystemPolicy || e.Group != "readers" || e.Statement != 1 || e.Effect != "Allow" || e.User != "ada" {
		t.Errorf("%+v", e)
	}
	got = w.as(token, keystone.Explain, "/?action=kms:cmk:create&project_id="+fsmtest.ProjectID, "", 200)
	if e := read[wire.ExplainReply](t, got).Explanation; e.Allowed || e.DecidedBy != wire.DecidedByNothing || e.Reason == "" {
		t.Errorf("%+v", e)
	}
	w.as(token, keystone.Explain, "/?action=kms:cmk:paint", "", 400)
	w.as(token, keystone.Explain, "/?action=kms:cmk:get&key=k", "", 400)

	w.values["role_id"] = id(t, w.as(token, keystone.CreatePolicy, "/", `{"role":{"display_name":"p","policy":{"Version":"1.1","Statement":[{"Effect":"Deny","Action":"kms:*"}]}}}`, 201), "role")
	if got := w.as(token, keystone.ShowPolicy, "/", "", 200); !strings.Contains(got.body, `"Effect":"Deny"`) {
		t.Errorf("%s", got.body)
	}
	if got := w.as(token, keystone.ListPolicies, "/?name=p", "", 200); strings.Count(got.body, `"display_name"`) != 1 {
		t.Errorf("by name: %s", got.body)
	}
	w.values["project_id"] = fsmtest.ProjectID
	w.as(token, keystone.UpdateProject, "/", `{"project":{"name":"another"}}`, 400)
	w.as(token, keystone.UpdateProject, "/", `{"project":{"description":"ours"}}`, 200)
	if got := read[wire.ProjectReply](t, w.as(token, keystone.ShowProject, "/", "", 200)).Project; got.Description != "ours" || !got.Enabled {
		t.Errorf("%+v", got)
	}
}

// An administrator gives a user another password: tokens end, and so does a lock.
func TestSetPasswordAndUnlock(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	b := fsmtest.CreateUser("ada")
	b.PasswordHash = iam.HashPassword(password)
	w.apply(b)
	ada := w.tokenOf("account", "ada", ofAccount("account"))
	w.values = map[string]string{"user_id": b.ID}
	w.as(ada, keystone.Domains, "/", "", 200)
	const other = "staple battery horse correct"
	w.as(token, keystone.SetPassword, "/", `{"user":{"password":"short"}}`, 400)
	w.as(token, keystone.SetPassword, "/", `{"user":{"password":"`+other+`"}}`, 204)
	w.as(ada, keystone.Domains, "/", "", 401)
	w.as(token, keystone.UpdateUser, "/", `{"user":{"password":"`+other+`","name":"eve"}}`, 400)
	w.as(token, keystone.UpdateUser, "/", `{"user":{"password":"`+password+`"}}`, 200)

	until := w.replica.Root().Now() + 60_000
	if err := w.service.LockUser(t.Context(), b.ID, b.Name, until); err != nil {
		t.Fatal(err)
	}
	login := func(want int) {
		t.Helper()
		got := w.ask(keystone.CreateToken, "POST", "/", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"`+b.ID+`","password":"`+password+`"}}}}}`)
		if got.status != want {
			t.Fatalf("login: %d %s", got.status, got.body)
		}
	}
	login(401)
	if got := read[wire.UserReply](t, w.as(token, keystone.ShowUser, "/", "", 200)).User; got.LockedUntil == "" || !got.HasPassword {
		t.Errorf("%+v", got)
	}
	w.as(token, keystone.UnlockUser, "/", "", 204)
	login(201)
	w.as(token, keystone.SetPassword, "/", `{"user":{"password":""}}`, 204)
	login(401)
	if got := read[wire.UserReply](t, w.as(token, keystone.ShowUser, "/", "", 200)).User; got.LockedUntil != "" || got.HasPassword {
		t.Errorf("%+v", got)
	}
}

// Lists of a crowd come in pages that together hold everybody once.
func TestPages(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	for i := range 7 {
		m := fsmtest.CreateUser(fmt.Sprintf("u%d", i))
		w.apply(m)
	}
	f := func(e keystone.Endpoint, uri string, name func(body string) []string) {
		t.Helper()
		seen := map[string]bool{}
		for uri != "" {
			body := w.as(token, e, uri, "", 200).body
			for _, n := range name(body) {
				if seen[n] {
					t.Errorf("%s twice", n)
				}
				seen[n] = true
			}
			var page struct{ Links wire.PageLinks }
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			if uri = ""; page.Links.Next != nil {
				uri = *page.Links.Next
			}
		}
		if len(seen) != 8 {
			t.Errorf("seen %v", seen)
		}
	}
	f(keystone.ListUsers, "/v3/users?limit=3", func(body string) (names []string) {
		for _, u := range read[struct{ Users []wire.User }](t, answered{body: body}).Users {
			names = append(names, u.Name)
		}
		return names
	})
	w.as(token, keystone.ListUsers, "/v3/users?limit=0", "", 400)
	w.as(token, keystone.ListUsers, "/v3/users?limit=1001", "", 400)
	for i := range 7 {
		w.apply(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID(fmt.Sprintf("u%d", i)), Policy: policy.RoleAuditor}})
	}
	f(keystone.ListAssignments, "/v3/role_assignments?role.id="+policy.RoleAuditor, func(body string) (names []string) {
		for _, a := range read[wire.AssignmentsReply](t, answered{body: body}).Assignments {
			names = append(names, a.User.Name)
		}
		return names
	})
}
