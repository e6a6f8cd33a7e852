package keystone_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
)

// No text but that of a token that was made opens as one: not a piece of it,
// nor one with other bits, nor one in another spelling.
func FuzzOpenToken(f *testing.F) {
	w := newWorld(f)
	token := w.mustLogin()
	root := w.replica.Root()
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(token), 0, byte(0))
	f.Add([]byte(token), len(raw)-1, byte(1))
	f.Add([]byte(token+"A"), 3, byte(0x80))
	f.Add([]byte("AQAAAAE"), 0, byte(0))
	f.Add([]byte(strings.Repeat("A", 1025)), 0, byte(0))
	f.Add([]byte{}, 40, byte(7))
	f.Fuzz(func(t *testing.T, text []byte, at int, bits byte) {
		opened, err := w.api.Tokens.Open(t.Context(), root, text)
		switch {
		case string(text) == token:
			if err != nil || opened.UserID != fsmtest.UserID {
				t.Errorf("the token itself: %+v, %v", opened, err)
			}
		case !iam.IsRefusal(err):
			t.Errorf("%q opens as %+v, %v", text, opened, err)
		}
		if at < 0 || at >= len(raw) || bits == 0 {
			return
		}
		other := append([]byte(nil), raw...)
		other[at] ^= bits
		if opened, err := w.api.Tokens.Open(t.Context(), root, []byte(base64.RawURLEncoding.EncodeToString(other))); !iam.IsRefusal(err) {
			t.Errorf("with bits %#x of byte %d turned: %+v, %v", bits, at, opened, err)
		}
	})
}

// Whatever somebody who may nothing sends to the operations of the identity
// service, nothing changes, and the refusal has the right shape.
func FuzzBodiesOfTheIdentityService(f *testing.F) {
	w := newWorld(f)
	admin := w.tokenOf("account", "admin", ofAccount("account"))
	w.change(fsmtest.CreateUser("nobody"))
	for _, body := range []string{
		`{"virtual_mfa_device":{"name":"x","user_id":"` + fsmtest.UserID + `"}}`,
		`{"user_id":"` + fsmtest.UserID + `","serial_number":"x","authentication_code_first":"123456","authentication_code":"000000"}`,
		`{"user":{"password":"a","original_password":"b"}}`, `{"user":{"name":"x","enabled":false}}`, `{"credential":{"user_id":"x","status":"inactive"}}`,
		`{"role":{"display_name":"x","policy":{"Version":"1.1","Statement":[{"Effect":"Allow","Action":"*"}]}}}`, `{"role":{"policy":[[[[[[[[[[]]]]]]]]]]}}`,
		`{"domain":{"name":"x","administrator":{"name":"y","password":"z"}}}`, `null`, `[]`, `{`, "\xff\xfe",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 16<<10 {
			return // the front end refuses it
		}
		w := *w // with this run's t
		w.t = t
		before := w.replica.Root().Hash()
		for _, e := range administration() {
			if a := w.ask(e, "POST", "/", body, "X-Auth-Token", "AAAA"); a.status != 401 {
				t.Errorf("%s by nobody: %d %s", e.Operation.Name, a.status, a.body)
			}
		}
		if w.replica.Root().Hash() != before {
			t.Fatal("the state has changed")
		}
		// Not ChangePassword, which takes a hash of 0.1 s: one run in a while would be all.
		for _, e := range []keystone.Endpoint{keystone.BindMFA, keystone.UnbindMFA, keystone.CreatePolicy, keystone.UpdatePolicy, keystone.UpdateGroup, keystone.UpdateAccessKey} {
			a := w.ask(e, "POST", "/", body, "X-Auth-Token", admin)
			switch a.status {
			case 201, 204: // it was a good one
			case 400, 401, 403, 404, 409:
				a.wantRefused(t, a.status)
			default:
				t.Errorf("%s: %d %s", e.Operation.Name, a.status, a.body)
			}
		}
	})
}
