package keystone_test

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/keystone"
)

// A request that changes a description leaves the name that somebody else has
// given at the same moment, and one that changes a name the description.
func TestAChangeLeavesWhatItDoesNotName(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.apply(fsmtest.CreateAccount("other"))
	w.apply(fsmtest.CreateUser("ada"))
	w.apply(fsmtest.CreateGroup("g"))
	w.apply(fsmtest.CreateAccessKey("ada"))
	w.apply(command.CreateProject{ID: fsmtest.ID("p"), Name: "p"})
	w.values = map[string]string{
		"domain_id": fsmtest.ID("other"), "user_id": fsmtest.ID("ada"), "group_id": fsmtest.ID("g"), "access_key": fsmtest.AccessKey("ada"), "project_id": fsmtest.ID("p"),
	}
	f := func(change keystone.Endpoint, body string, meanwhile command.Body, show keystone.Endpoint, want ...string) {
		t.Helper()
		w.replica.meanwhile = func() { w.apply(meanwhile) }
		w.as(token, change, "/", body, 200)
		shown := w.as(token, show, "/", "", 200).body
		for _, said := range want {
			if !strings.Contains(shown, `"`+said+`"`) {
				t.Errorf("%s lacks %q", shown, said)
			}
		}
	}
	f(keystone.UpdateAccount, `{"domain":{"description":"asked"}}`, command.UpdateAccount{DomainID: fsmtest.ID("other"), Name: "renamed", Enabled: true}, keystone.ShowAccount, "renamed", "asked")
	f(keystone.UpdateUser, `{"user":{"description":"asked"}}`, command.UpdateUser{ID: fsmtest.ID("ada"), Name: "renamed", Enabled: true}, keystone.ShowUser, "renamed", "asked")
	f(keystone.UpdateUser, `{"user":{"name":"asked"}}`, command.UpdateUser{ID: fsmtest.ID("ada"), Name: "renamed", Description: "described", Enabled: true}, keystone.ShowUser, "described", "asked")
	f(keystone.UpdateGroup, `{"group":{"description":"asked"}}`, command.UpdateGroup{ID: fsmtest.ID("g"), Name: "renamed"}, keystone.ShowGroup, "renamed", "asked")
	f(keystone.UpdateGroup, `{"group":{"name":"asked"}}`, command.UpdateGroup{ID: fsmtest.ID("g"), Name: "renamed", Description: "described"}, keystone.ShowGroup, "described", "asked")
	f(keystone.UpdateProject, `{"project":{"enabled":true}}`, command.UpdateProject{ID: fsmtest.ID("p"), Description: "described", Enabled: true}, keystone.ShowProject, "described")
	f(keystone.UpdateAccessKey, `{"credential":{"status":"active"}}`, command.UpdateAccessKey{ID: fsmtest.AccessKey("ada"), Description: "described", Enabled: true}, keystone.ShowAccessKey, "described")
}
