package keystone_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/keystone"
)

// Whoever is named, and whatever stands in their way, one hash is made: who is
// there cannot be told from the work.
func TestOneHashAnAttempt(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"disabled", "locked", "without"} {
		b := fsmtest.CreateUser(name)
		if b.PasswordHash = fsmtest.PasswordHash; name == "without" {
			b.PasswordHash = ""
		}
		w.change(b)
	}
	w.change(command.UpdateUser{ID: fsmtest.ID("disabled"), Name: "disabled"})
	w.change(command.LockUser{UserID: fsmtest.ID("locked"), Until: w.now.Add(time.Hour).UnixMilli()})
	f := func(name, user, scope string, status int) {
		t.Helper()
		before := w.api.Passwords.Checked()
		a := w.login(user, scope)
		if hashes := w.api.Passwords.Checked() - before; hashes != 1 || a.status != status {
			t.Errorf("%s: %d after %d hashes, want %d after one", name, a.status, hashes, status)
		}
	}
	named := func(name string) string {
		return `{"name":"` + name + `","domain":{"name":"account"},"password":"wrong"}`
	}
	f("a good one", byName, project, 201)
	f("a wrong password", named("admin"), project, 401)
	f("no password", `{"name":"admin","domain":{"name":"account"}}`, project, 401)
	f("a long one", `{"name":"admin","domain":{"name":"account"},"password":"`+strings.Repeat("x", 8000)+`"}`, project, 401)
	f("no such user", named("nobody"), project, 401)
	f("no name", named(""), project, 401)
	f("no such id", `{"id":"nobody","password":"wrong"}`, "", 401)
	f("no such account", `{"name":"admin","domain":{"name":"other"},"password":"wrong"}`, project, 401)
	f("no account", `{"name":"admin","password":"wrong"}`, project, 401)
	f("disabled", named("disabled"), project, 401)
	f("locked", named("locked"), project, 401)
	f("without a password", named("without"), project, 401)
	f("another's project", byName, `,"scope":{"project":{"id":"`+fsmtest.ID("none")+`"}}`, 401)
}

// change has a command applied, whoever may ask for it.
func (w *world) change(body command.Body) {
	w.t.Helper()
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Caller, cmd.Proposal = fsmtest.CallerFor(body.Type()), command.Proposal{ID: uuid.NewString()}
	data, err := command.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	if result, err := w.replica.Propose(w.t.Context(), data); err != nil || result.Refusal != nil {
		w.t.Fatalf("%v: %v %v", body.Type(), result.Refusal, err)
	}
}

// A body that is no request for a token gets a refusal in the right shape, a
// hash at most, and no token; nor does a token that is none.
func FuzzAskForAToken(f *testing.F) {
	w := newWorld(f)
	for _, body := range []string{
		`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"x","password":"y"}}}}}`,
		`{"auth":{"identity":{"methods":["token"],"token":{"id":"AAAA"}}}}`,
		`{"auth":{"identity":{"methods":["password","token"]}}}`, `{"auth":{"identity":{"methods":[]},"scope":{"project":{"domain":{}}}}}`,
		`{"auth":null}`, `[]`, `null`, `{`, "\xff", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"name":"account"}}}},"scope":{"system":{"all":true}}}}`,
	} {
		f.Add(body, "AAAA")
	}
	f.Fuzz(func(t *testing.T, body, token string) {
		if len(body) > 16<<10 || strings.ContainsAny(token, "\r\n\x00") {
			return // the front end refuses it
		}
		w := *w // with this run's t
		w.t = t
		before := w.api.Passwords.Checked()
		a := w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", body)
		check(t, a)
		if w.api.Passwords.Checked() > before+1 {
			t.Errorf("%q costs %d hashes", body, w.api.Passwords.Checked()-before)
		}
		check(t, w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token))
	})
}

func check(t *testing.T, a answered) {
	t.Helper()
	var e struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 400 && a.status != 401 || e.Error.Code != a.status || e.Error.Message == "" || a.token != "" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// A request with two tokens, or a token and a signature, is not made good by
// the better one.
func TestTwoCredentials(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	f := func(name string, status int, headers ...string) {
		t.Helper()
		if a := w.ask(keystone.Projects, "GET", "/v3/projects", "", headers...); a.status != status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f("one token", 200, "X-Auth-Token", token)
	f("the same twice", 401, "X-Auth-Token", token, "X-Auth-Token", token)
	f("a good and a bad one", 401, "X-Auth-Token", token, "x-auth-token", "AAAA")
	f("a bad one and a signature", 401, "X-Auth-Token", "AAAA", "Authorization", "SDK-HMAC-SHA256 Access=A, SignedHeaders=x-sdk-date, Signature=00")
	f("two signatures", 401, "Authorization", "SDK-HMAC-SHA256 Access=A", "Authorization", "SDK-HMAC-SHA256 Access=A")
	f("none", 401)
}
