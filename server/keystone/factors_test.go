package keystone_test

import (
	"encoding/base32"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/wire"
)

// loginWith asks for a token by a password and a code.
func (w *world) loginWith(user, totp, scope string) answered {
	w.t.Helper()
	return w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens",
		`{"auth":{"identity":{"methods":["password","totp"],"password":{"user":`+user+`},"totp":{"user":`+totp+`}}`+scope+`}}`)
}

func passcode(code string) string { return `{"passcode":"` + code + `"}` }

// enrolled gives a user a second factor that counts, and returns its secret and
// its serial number. The clock is moved on, so that the next code is a fresh one.
func (w *world) enrolled(userID, token string) (secret []byte, serial string) {
	w.t.Helper()
	got := w.ask(keystone.EnrolMFA, "POST", "/v3.0/OS-MFA/virtual-mfa-devices", `{"virtual_mfa_device":{"name":"phone","user_id":"`+userID+`"}}`, "X-Auth-Token", token)
	var reply wire.MFADeviceReply
	if err := json.Unmarshal([]byte(got.body), &reply); err != nil || got.status != 201 {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(reply.Device.Seed))
	if err != nil || len(secret) != 20 {
		w.t.Fatal(err)
	}
	if record := w.traces.last(); record.TraceName != "createVirtualMFADevice" || strings.Contains(record.Request.String()+record.Response.String(), string(reply.Device.Seed)) {
		w.t.Errorf("traced as %+v", record)
	}
	serial = reply.Device.SerialNumber
	if got := w.bind(token, userID, serial, iam.TOTPCode(secret, w.now.UnixMilli()), ""); got.status != 204 {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	w.now = w.now.Add(30 * time.Second)
	return secret, serial
}

func (w *world) bind(token, userID, serial, first, second string) answered {
	w.t.Helper()
	return w.ask(keystone.BindMFA, "PUT", "/v3.0/OS-MFA/mfa-devices/bind",
		`{"user_id":"`+userID+`","serial_number":"`+serial+`","authentication_code_first":"`+first+`","authentication_code_second":"`+second+`"}`, "X-Auth-Token", token)
}

// Who has a second factor gets a token by password and code alone; a code is
// good once; and a policy that asks for it is satisfied by that token, and by
// the tokens that it gets, alone.
func TestLoginWithACode(t *testing.T) {
	w := newWorld(t)
	before := w.mustLogin()
	secret, serial := w.enrolled(fsmtest.UserID, before)
	code := func() string { return iam.TOTPCode(secret, w.now.UnixMilli()) }

	w.login(byName, project).wantRefused(t, 401)
	w.loginWith(byName, passcode("000000"), project).wantRefused(t, 401)
	got := w.loginWith(byName, passcode(code()), project)
	if got.status != 201 || !strings.Contains(got.body, `"methods":["password","totp"]`) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if record := w.traces.last(); record.TraceName != "createToken" || record.User.ID != fsmtest.UserID || !strings.Contains(record.Request.String(), "totp") {
		t.Errorf("traced as %+v", record)
	}
	w.loginWith(byName, passcode(code()), project).wantRefused(t, 401) // the same code again

	// A policy denies what is done without a second factor.
	w.change(fsmtest.CreatePolicy("mfa", policy.Statement{Deny: true, Actions: []string{"kms:cmk:list"}, Conditions: []policy.Condition{
		{Operator: "Bool", Key: "g:MFAPresent", Values: []string{"false"}},
	}}))
	w.change(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.UserID, Policy: fsmtest.ID("mfa")}})
	if a := w.listKeys(fsmtest.ProjectID, got.token); a.status != 200 {
		t.Errorf("with a code: %d %s", a.status, a.body)
	}
	if a := w.listKeys(fsmtest.ProjectID, before); a.status != 403 {
		t.Errorf("without: %d %s", a.status, a.body)
	}
	again := w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["token"],"token":{"id":"`+got.token+`"}}`+project+`}}`)
	if a := w.listKeys(fsmtest.ProjectID, again.token); a.status != 200 {
		t.Errorf("by a token that was got with a code: %d %s", a.status, a.body)
	}

	// The code's user may be named, and is then the password's.
	w.now = w.now.Add(30 * time.Second)
	w.loginWith(byName, `{"id":"`+fsmtest.ID("none")+`","passcode":"`+code()+`"}`, project).wantRefused(t, 401)
	if a := w.loginWith(byName, `{"name":"admin","domain":{"name":"account"},"passcode":"`+code()+`"}`, project); a.status != 201 {
		t.Errorf("named: %d %s", a.status, a.body)
	}

	// It is shown, without its secret.
	a := w.ask(keystone.ShowMFA, "GET", "/v3.0/OS-MFA/users/x/virtual-mfa-device", "", "X-Auth-Token", got.token)
	if a.status != 200 || !strings.Contains(a.body, serial) || strings.Contains(a.body, "seed") {
		t.Errorf("%d %s", a.status, a.body)
	}
	// The own password is changed by who has shown it.
	change := `{"user":{"original_password":"` + password + `","password":"another password"}}`
	w.ask(keystone.ChangePassword, "POST", "/v3/users/x/password", change, "X-Auth-Token", before).wantRefused(t, 401)
	if a := w.ask(keystone.ChangePassword, "POST", "/v3/users/x/password", change, "X-Auth-Token", got.token); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A second factor counts once a code of it was shown, and is handed out to who
// has shown a password, and the one before.
func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	enrol := func(userID, token string) answered {
		return w.ask(keystone.EnrolMFA, "POST", "/v3.0/OS-MFA/virtual-mfa-devices", `{"virtual_mfa_device":{"user_id":"`+userID+`"}}`, "X-Auth-Token", token)
	}
	enrol(fsmtest.ID("ada"), token).wantRefused(t, 403)
	enrol(fsmtest.UserID, "AAAA").wantRefused(t, 401)
	w.ask(keystone.EnrolMFA, "POST", "/", "{", "X-Auth-Token", token).wantRefused(t, 400)
	w.ask(keystone.EnrolMFA, "POST", "/", "{").wantRefused(t, 401)
	var reply wire.MFADeviceReply
	got := enrol(fsmtest.UserID, token)
	if err := json.Unmarshal([]byte(got.body), &reply); err != nil || got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	secret, _ := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(reply.Device.Seed))
	serial, now := reply.Device.SerialNumber, w.now.UnixMilli()
	if a := w.login(byName, project); a.status != 201 {
		t.Errorf("one that does not count is asked for: %d %s", a.status, a.body)
	}
	w.bind(token, fsmtest.UserID, serial, "000000", "").wantRefused(t, 401)
	w.bind(token, fsmtest.UserID, fsmtest.ID("none"), iam.TOTPCode(secret, now), "").wantRefused(t, 404)
	w.bind(token, fsmtest.UserID, serial, iam.TOTPCode(secret, now-30_000), iam.TOTPCode(secret, now+30_000)).wantRefused(t, 401)
	if a := w.bind(token, fsmtest.UserID, serial, iam.TOTPCode(secret, now-30_000), iam.TOTPCode(secret, now)); a.status != 204 {
		t.Fatalf("two codes in a row: %d %s", a.status, a.body)
	}
	w.loginWith(byName, passcode(iam.TOTPCode(secret, now)), project).wantRefused(t, 401) // spent by the binding
	enrol(fsmtest.UserID, token).wantRefused(t, 403)                                      // without the one that counts
}

// A user takes it away by a code, an administrator by permission; the tokens
// that it was shown for end.
func TestWithoutTheSecondFactor(t *testing.T) {
	w := newWorld(t)
	w.change(fsmtest.CreateUser("ada"))
	ada := w.mustLogin()
	secret, serial := w.enrolled(fsmtest.UserID, ada)
	unbind := func(token, code string) answered {
		return w.ask(keystone.UnbindMFA, "PUT", "/", `{"user_id":"`+fsmtest.UserID+`","serial_number":"`+serial+`","authentication_code":"`+code+`"}`, "X-Auth-Token", token)
	}
	shown := w.loginWith(byName, passcode(iam.TOTPCode(secret, w.now.UnixMilli())), project).token
	unbind(shown, iam.TOTPCode(secret, w.now.UnixMilli())).wantRefused(t, 401)
	w.now = w.now.Add(30 * time.Second)
	if a := unbind(shown, iam.TOTPCode(secret, w.now.UnixMilli())); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.listKeys(fsmtest.ProjectID, shown); a.status != 401 {
		t.Errorf("a token that says that it was shown: %d", a.status)
	}
	admin := w.tokenOf("account", "admin", ofAccount("account")) // by the password alone

	reset := func(userID string) answered {
		return w.ask(keystone.ResetMFA, "DELETE", "/v3.0/OS-MFA/virtual-mfa-devices?user_id="+userID, "", "X-Auth-Token", admin)
	}
	reset(fsmtest.ID("ada")).wantRefused(t, 404)
	reset(fsmtest.ID("none")).wantRefused(t, 404)
	w.enrolled(fsmtest.UserID, admin)
	w.login(byName, project).wantRefused(t, 401)
	if a := reset(fsmtest.UserID); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if record := w.traces.last(); record.TraceName != "deleteVirtualMFADevice" || record.ResourceID != fsmtest.UserID {
		t.Errorf("traced as %+v", record)
	}
	w.mustLogin()
}

// Wrong codes and wrong passwords are counted as one, and whoever is named, a
// login with a code is one hash and one use of the module.
func TestCodesAreGuessedNoMoreThanPasswords(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.enrolled(fsmtest.UserID, w.mustLogin())
	f := func(name, user, totp string, status int) {
		t.Helper()
		hashes, sealed := w.api.Passwords.Checked(), w.sealed
		a := w.loginWith(user, totp, project)
		if a.status != status || w.api.Passwords.Checked() != hashes+1 || w.sealed != sealed+1 {
			t.Errorf("%s: %d after %d hashes and %d uses of the module", name, a.status, w.api.Passwords.Checked()-hashes, w.sealed-sealed)
		}
	}
	w.change(fsmtest.CreateUser("ada"))
	wrong := `{"id":"` + fsmtest.UserID + `","password":"wrong"}`
	code := func() string { return iam.TOTPCode(secret, w.now.UnixMilli()) }
	f("right", byName, passcode(code()), 201)
	f("no such user", `{"id":"nobody","password":"wrong"}`, passcode("123456"), 401)
	f("no second factor", `{"id":"`+fsmtest.ID("ada")+`","password":"wrong"}`, passcode("123456"), 401)
	w.now = w.now.Add(30 * time.Second)
	for range 2 {
		f("a wrong code", byName, passcode("000000"), 401)
		f("a wrong password", wrong, passcode(code()), 401)
	}
	f("a long code", byName, passcode(strings.Repeat("0", 9000)), 401)
	user, _ := w.replica.Root().User(fsmtest.UserID)
	if user.LockedUntil <= w.now.UnixMilli() {
		t.Fatal("the user is not locked on every node")
	}
	f("locked", byName, passcode(code()), 401)
	w.change(command.UnlockUser{UserID: fsmtest.UserID})
	f("unlocked", byName, passcode(code()), 201)
}
