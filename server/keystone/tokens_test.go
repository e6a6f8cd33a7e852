package keystone_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/wire"
)

func TestATokenIsGoodForItsProject(t *testing.T) {
	w := newWorld(t)
	f := func(user, scope string) wire.TokenBody {
		t.Helper()
		a := w.login(user, scope)
		var reply wire.TokenReply
		if err := json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 201 || a.token == "" {
			t.Fatalf("%s%s: %d %s", user, scope, a.status, a.body)
		}
		b := reply.Token
		issued, err := time.Parse(time.RFC3339, b.IssuedAt)
		expires, err2 := time.Parse(time.RFC3339, b.ExpiresAt)
		if err != nil || err2 != nil || expires.Sub(issued) != 24*time.Hour || b.User.ID != fsmtest.UserID || b.User.Name != "admin" || b.User.Domain.Name != "account" {
			t.Errorf("the token says %s", a.body)
		}
		if status := w.listKeys(fsmtest.ProjectID, a.token).status; (status == 200) != (b.Project != nil) {
			t.Errorf("%s: keys are answered with %d", scope, status)
		}
		return b
	}
	for _, scope := range []string{project, `,"scope":{"project":{"name":"region-1","domain":{"name":"account"}}}`,
		`,"scope":{"project":{"name":"region-1"}}`, `,"scope":{"project":{"id":"` + fsmtest.ProjectID + `"},"domain":{"name":"account"}}`} {
		if b := f(byName, scope); b.Project == nil || b.Project.ID != fsmtest.ProjectID || b.Domain != nil || len(b.Roles) == 0 || len(b.Catalog) != 4 {
			t.Errorf("%s: %+v", scope, b)
		}
	}
	if b := f(byID, ""); b.Project != nil || b.Domain != nil || len(b.Catalog) != 0 {
		t.Errorf("unscoped: %+v", b)
	}
	for _, scope := range []string{`,"scope":{"domain":{"name":"account"}}`, `,"scope":{"domain":{"id":"` + fsmtest.DomainID + `"}}`} {
		if b := f(byID, scope); b.Domain == nil || b.Domain.ID != fsmtest.DomainID || b.Project != nil {
			t.Errorf("%s: %+v", scope, b)
		}
	}
	if r := w.traces.last(); r.User.Name != "admin" || r.User.ID != fsmtest.UserID {
		t.Errorf("the trace names %+v", r.User)
	}
}

// Whatever stands in the way, the answer is one, byte for byte but for the id
// of the request, and who it is about is told to the trace alone.
func TestWhyThereIsNoTokenIsNotTold(t *testing.T) {
	w := newWorld(t)
	var first string
	f := func(name, user, scope string) {
		t.Helper()
		a := w.login(user, scope)
		a.wantRefused(t, 401)
		var e map[string]any
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Fatal(err)
		}
		body := strings.Replace(a.body, e["request_id"].(string), "", 1)
		if first == "" {
			first = body
		}
		if body != first {
			t.Errorf("%s: %s, before %s", name, body, first)
		}
	}
	f("wrong password", `{"name":"admin","domain":{"name":"account"},"password":"wrong"}`, project)
	if r := w.traces.last(); r.User.Name != "admin" || r.User.ID != "" || r.Code != "401" {
		t.Errorf("the trace names %+v", r.User)
	}
	f("no such user", `{"name":"nobody","domain":{"name":"account"},"password":"wrong"}`, project)
	f("no such id", `{"id":"nobody","password":"wrong"}`, project)
	f("no such account", `{"name":"admin","domain":{"name":"other"},"password":"`+password+`"}`, project)
	f("no account", `{"name":"admin","password":"`+password+`"}`, project)
	f("no such project", byName, `,"scope":{"project":{"id":"none"}}`)
	f("no such account of the scope", byName, `,"scope":{"domain":{"name":"other"}}`)
	f("another account's project", byName, `,"scope":{"project":{"name":"region-1","domain":{"name":"other"}}}`)
}

func TestLockOut(t *testing.T) {
	w := newWorld(t)
	wrong := `{"id":"` + fsmtest.UserID + `","password":"wrong"}`
	for range 5 {
		w.login(wrong, "").wantRefused(t, 401)
	}
	user, _ := w.replica.Root().User(fsmtest.UserID)
	if user.LockedUntil <= w.now.UnixMilli() {
		t.Fatal("the user is not locked on every node")
	}
	w.login(byID, "").wantRefused(t, 401)
	w.now = w.now.Add(5*time.Minute + time.Second)
	if a := w.login(byID, ""); a.status != 201 {
		t.Errorf("after the lock: %d %s", a.status, a.body)
	}
	// Names that nobody has are locked as well, without a word to the cluster.
	before := w.replica.Root().Applied()
	for range 10 {
		w.login(`{"name":"nobody","domain":{"name":"account"},"password":"wrong"}`, "").wantRefused(t, 401)
	}
	if w.replica.Root().Applied() != before {
		t.Error("wrong names are written into the log")
	}
}

func TestATokenGetsAnother(t *testing.T) {
	w := newWorld(t)
	w.apply(command.CreateProject{ID: fsmtest.ID("second"), Name: "region-2"})
	start := w.now
	unscoped := w.login(byID, "").token
	w.now = w.now.Add(time.Hour)
	exchange := func(token, scope string) answered {
		return w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+token+`"}}`+scope+`}}`)
	}
	a := exchange(unscoped, project)
	if a.status != 201 || w.listKeys(fsmtest.ProjectID, a.token).status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var reply wire.TokenReply
	if err := json.Unmarshal([]byte(a.body), &reply); err != nil {
		t.Fatal(err)
	}
	if want := start.Add(iam.TokenLife).UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000000Z"); reply.Token.ExpiresAt != want {
		t.Errorf("it lives until %s, the one that it was got by until %s", reply.Token.ExpiresAt, want)
	}
	exchange("nonsense", project).wantRefused(t, 401)

	// A token with a scope gets only its like, however it is asked for, so that
	// one for a project leads nowhere else.
	forAccount := w.login(byID, ofAccount("account")).token
	for _, f := range []struct {
		token, scope string
		status       int
	}{
		{a.token, project, 201}, {a.token, "", 201}, {a.token, ofAccount("account"), 403}, {a.token, `,"scope":{"domain":{"id":"` + fsmtest.DomainID + `"}}`, 403},
		{a.token, `,"scope":{"project":{"id":"none"}}`, 401}, {a.token, `,"scope":{"project":{"id":"` + fsmtest.ID("second") + `"}}`, 403},
		{forAccount, ofAccount("account"), 201}, {forAccount, "", 201}, {forAccount, project, 403},
		{unscoped, ofAccount("account"), 201}, {unscoped, "", 201},
	} {
		got := exchange(f.token, f.scope)
		if got.status != f.status || (got.token != "") != (f.status == 201) {
			t.Errorf("a token of %q by another: %d %s", f.scope, got.status, got.body)
		}
		if f.token == a.token && got.status == 201 {
			// And again: what it got is for the project, and for nothing more.
			exchange(got.token, ofAccount("account")).wantRefused(t, 403)
			w.as(got.token, keystone.ListUsers, "/v3/users", "", 403)
		}
	}
	w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["saml2"]}}}`).wantRefused(t, 400)
	w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", `{"auth":`).wantRefused(t, 400)
}

func TestTokensEnd(t *testing.T) {
	f := func(name string, end func(w *world, token string)) {
		t.Helper()
		w := newWorld(t)
		token, other := w.mustLogin(), w.mustLogin()
		end(w, token)
		if a := w.listKeys(fsmtest.ProjectID, token); a.status != 401 || !strings.Contains(a.body, "APIGW.0301") {
			t.Errorf("%s: keys are answered with %d %s", name, a.status, a.body)
		}
		w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token).wantRefused(t, 401)
		if name == "revoked" && w.listKeys(fsmtest.ProjectID, other).status != 200 {
			t.Errorf("%s: the other token ended too", name)
		}
	}
	f("revoked", func(w *world, token string) {
		if a := w.ask(keystone.RevokeToken, "DELETE", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token); a.status != 204 || a.body != "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
	f("expired", func(w *world, _ string) { w.now = w.now.Add(iam.TokenLife) })
	f("the password changed", func(w *world, token string) {
		change := func(original, next string) answered {
			return w.ask(keystone.ChangePassword, "POST", "/v3/users/"+fsmtest.UserID+"/password",
				`{"user":{"original_password":"`+original+`","password":"`+next+`"}}`, "X-Auth-Token", token)
		}
		change("wrong", "a new password").wantRefused(t, 401)
		change(password, "short").wantRefused(t, 400)
		if a := change(password, "a new password"); a.status != 204 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.login(byID, "").wantRefused(t, 401)
		if a := w.login(`{"id":"`+fsmtest.UserID+`","password":"a new password"}`, project); a.status != 201 || w.listKeys(fsmtest.ProjectID, a.token).status != 200 {
			t.Errorf("the new password gets no token: %d %s", a.status, a.body)
		}
	})
}

// A token is good for its scope: one for the account administers it and uses no
// key, one for a project the other way round, and one without a scope does
// neither; each of them may be asked about, and ended, by whose it is.
func TestATokenIsGoodForItsScope(t *testing.T) {
	w := newWorld(t)
	w.apply(fsmtest.CreateGroup("g"))
	before := w.replica.Root().Hash()
	f := func(scope string, account, keys int) {
		t.Helper()
		token := w.login(byName, scope).token
		w.as(token, keystone.ListUsers, "/v3/users", "", account)
		w.as(token, keystone.Projects, "/v3/projects", "", 200)
		if a := w.listKeys(fsmtest.ProjectID, token); a.status != keys {
			t.Errorf("with %q: %d %s", scope, a.status, a.body)
		}
		if account == 200 {
			return
		}
		for _, e := range administration() {
			if a := w.ask(e, "POST", "/", "not even JSON", "X-Auth-Token", token); a.status != 403 || !strings.Contains(a.body, "scope domain") {
				t.Errorf("%s with %q: %d %s", e.Operation.Name, scope, a.status, a.body)
			}
		}
		// Another's token is as absent as with no permission, one's own is not.
		other := w.login(byName, project).token
		if a := w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", other); a.status != 200 {
			t.Errorf("one's own token with %q: %d %s", scope, a.status, a.body)
		}
	}
	f("", 403, 403)
	f(project, 403, 200)
	f(ofAccount("account"), 200, 403)
	if w.replica.Root().Hash() != before {
		t.Error("the state has changed")
	}
}

func TestValidate(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	a := w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token)
	if a.status != 200 || a.token != token || !strings.Contains(a.body, `"catalog"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens?nocatalog", "", "X-Auth-Token", token, "X-Subject-Token", token)
	if a.status != 200 || strings.Contains(a.body, `"catalog"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", "nonsense").wantRefused(t, 404)
	w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token).wantRefused(t, 404)
	for _, e := range []keystone.Endpoint{keystone.ValidateToken, keystone.RevokeToken} {
		w.ask(e, "GET", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token, "X-Subject-Token", w.mustLogin()).wantRefused(t, 404)
	}
	w.ask(keystone.ValidateToken, "GET", "/v3/auth/tokens", "", "X-Subject-Token", token).wantRefused(t, 401)
}

// What is no token of this cluster, whole and once, proves nothing.
func TestBadTokens(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	f := func(name string, headers ...string) {
		t.Helper()
		w.ask(keystone.Projects, "GET", "/v3/projects", "", headers...).wantRefused(t, 401)
	}
	flipped := []byte(token)
	flipped[len(flipped)/2] ^= 1
	f("nothing")
	f("empty", "X-Auth-Token", "")
	f("truncated", "X-Auth-Token", token[:len(token)-1])
	f("half", "X-Auth-Token", token[:len(token)/2])
	f("one bit", "X-Auth-Token", string(flipped))
	f("longer", "X-Auth-Token", token+"A")
	f("huge", "X-Auth-Token", strings.Repeat("A", 8000))
	f("twice", "X-Auth-Token", token, "X-Auth-Token", token)
	f("of another cluster", "X-Auth-Token", newWorld(t).mustLogin())
	f("as a bearer", "Authorization", "Bearer "+token)
	if a := w.listKeys(fsmtest.DomainID, token); a.status != 403 || !strings.Contains(a.body, "KMS.0321") {
		t.Errorf("another project: %d %s", a.status, a.body)
	}
}

// Who was asked for a name may have typed the password: the trace of a refused
// login names users that there are, and quotes nothing else.
func TestTheTraceOfALoginNamesUsersOnly(t *testing.T) {
	w := newWorld(t)
	f := func(who, want string) {
		t.Helper()
		w.login(who, project).wantRefused(t, 401)
		if r := w.traces.last(); r.TraceName != "createToken" || r.User != (audit.User{Name: want}) || r.Rating != audit.RatingWarning {
			t.Errorf("%s is traced as %+v", who, r)
		}
	}
	f(`{"name":"admin","domain":{"name":"account"},"password":"wrong"}`, "admin")
	f(`{"id":"`+fsmtest.UserID+`","password":"wrong"}`, "admin")
	f(`{"name":"`+password+`","domain":{"name":"account"},"password":"wrong"}`, "")
	f(`{"name":"admin","domain":{"name":"`+password+`"},"password":"wrong"}`, "")
	f(`{"id":"`+password+`","password":"wrong"}`, "")
}
