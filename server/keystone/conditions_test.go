package keystone_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
)

// about asks the keys' dialect for something in the project, by a token.
func (w *world) about(e huawei.Endpoint, body, token string) answered {
	w.t.Helper()
	rc := newRequest("POST", "/v1.0/"+fsmtest.ProjectID+"/kms/x", body, "X-Auth-Token", token)
	e.Serve(w.t.Context(), w.dialect, rc, uuid.NewString(), huawei.Path{Project: fsmtest.ProjectID})
	return answered{status: rc.Response.StatusCode(), body: string(rc.Response.Body())}
}

// policyHolder is somebody who may what one policy says, which a test changes.
type policyHolder struct {
	*world
	admin, token string
}

// newHolder makes one with a token for the project; to start with they may nothing.
func newHolder(t *testing.T) *policyHolder {
	t.Helper()
	w := newWorld(t)
	ada := fsmtest.CreateUser("ada")
	ada.PasswordHash = iam.HashPassword(password)
	w.apply(ada)
	w.apply(fsmtest.CreatePolicy("p", fsmtest.Allow("cts:tracker:get")))
	w.apply(command.AttachPolicy{Binding: command.Binding{UserID: ada.ID, Policy: fsmtest.ID("p"), ProjectID: fsmtest.ProjectID}})
	w.values = map[string]string{"role_id": fsmtest.ID("p")}
	return &policyHolder{world: w, admin: w.tokenOf("account", "admin", ofAccount("account")), token: w.tokenOf("account", "ada", project)}
}

// gets has the policy say something else.
func (h *policyHolder) gets(statements string) {
	h.t.Helper()
	body := `{"role":{"display_name":"p","type":"XA","description":"","policy":{"Version":"1.1","Statement":[` + statements + `]}}}`
	if a := h.ask(keystone.UpdatePolicy, "PATCH", "/v3.0/OS-ROLE/roles/x", body, "X-Auth-Token", h.admin); a.status != 200 {
		h.t.Fatalf("%s: %d %s", statements, a.status, a.body)
	}
}

// Every condition that policies are said to know decides what its holder sees
// through the API, allowing and denying; and one that nobody knows allows
// nothing, and denies everything.
func TestConditionsThroughTheAPI(t *testing.T) {
	h := newHolder(t)
	owner := h.tokenOf("account", "admin", project)
	keys := map[string]string{}
	create := func(name, more string) {
		t.Helper()
		var made struct {
			Key struct {
				ID string `json:"key_id"`
			} `json:"key_info"`
		}
		a := h.about(huawei.CreateKey, `{"key_alias":"`+name+`"`+more+`}`, owner)
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		keys[name] = made.Key.ID
	}
	create("aes", "")
	create("ec", `,"key_spec":"EC_P256","key_usage":"SIGN_VERIFY"`)
	create("ext", `,"origin":"external"`)
	h.change(command.SetTags{ProjectID: fsmtest.ProjectID, KeyID: keys["aes"], Most: 20, Tags: []state.Tag{{Key: "stage", Value: "prod"}}})
	sees := func() (names []string) {
		for name, id := range keys {
			if h.about(huawei.DescribeKey, `{"key_id":"`+id+`"}`, h.token).status == 200 {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	all := []string{"aes", "ec", "ext"}
	f := func(condition string, want ...string) {
		t.Helper()
		about := `,"Action":["kms:cmk:get"],"Condition":{` + condition + `}}`
		h.gets(`{"Effect":"Allow"` + about)
		if got := sees(); !slices.Equal(got, want) {
			t.Errorf("allowed by %s: %v", condition, got)
		}
		h.gets(`{"Effect":"Allow","Action":["kms:cmk:get"]},{"Effect":"Deny"` + about)
		if got, rest := sees(), slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(want, name) }); !slices.Equal(got, rest) {
			t.Errorf("denied by %s: %v", condition, got)
		}
	}
	at := func(d time.Duration) string { return h.now.Add(d).UTC().Format(time.RFC3339) }
	f(`"StringEquals":{"kms:KeySpec":["AES_256"]}`, "aes", "ext")
	f(`"StringEquals":{"kms:KeyUsage":["SIGN_VERIFY"]}`, "ec")
	f(`"StringEquals":{"kms:KeyOrigin":["external"]}`, "ext")
	f(`"StringEquals":{"g:ResourceTag/stage":["prod"]}`, "aes")
	f(`"StringLike":{"kms:KeyAlias":["e*"]}`, "ec", "ext")
	f(`"IpAddress":{"g:SourceIp":["0.0.0.0/8"]}`, all...) // as a request without a connection says
	f(`"IpAddress":{"g:SourceIp":["192.0.2.0/24"]}`)
	f(`"DateLessThan":{"g:CurrentTime":["`+at(time.Hour)+`"]}`, all...)
	f(`"DateLessThan":{"g:CurrentTime":["` + at(-time.Hour) + `"]}`)
	f(`"Bool":{"g:MFAPresent":["false"]}`, all...)
	f(`"Bool":{"g:MFAPresent":["true"]}`)
	f(`"StringEquals":{"g:UserName":["ada"]},"Bool":{"g:MFAPresent":["false"]}`, all...)

	secret, _ := h.enrolled(fsmtest.ID("ada"), h.token)
	h.token = h.loginWith(`{"name":"ada","domain":{"name":"account"},"password":"`+password+`"}`, passcode(iam.TOTPCode(secret, h.now.UnixMilli())), project).token
	f(`"Bool":{"g:MFAPresent":["true"]}`, all...)

	for _, unknown := range []string{
		`"StringEquals":{"g:ShoeSize":["44"]}`, `"StringResembles":{"g:UserName":["ada"]}`, `"DateLessThan":{"g:CurrentTime":["tomorrow"]}`, `"IpAddress":{"g:SourceIp":["everywhere"]}`,
	} {
		h.gets(`{"Effect":"Allow","Action":["kms:cmk:get"],"Condition":{` + unknown + `}}`)
		if got := sees(); len(got) > 0 {
			t.Errorf("%s allows %v", unknown, got)
		}
		h.gets(`{"Effect":"Allow","Action":["kms:cmk:get"]},{"Effect":"Deny","Action":["kms:cmk:get"],"Condition":{` + unknown + `}}`)
		if got := sees(); len(got) > 0 {
			t.Errorf("%s does not deny %v", unknown, got)
		}
	}
}

// Encrypting and decrypting are allowed and denied one by one, of data and of
// data keys, and by the word for both.
func TestHalvesThroughTheAPI(t *testing.T) {
	h := newHolder(t)
	h.apply(fsmtest.CreateKey("k"))
	id := fsmtest.KeyID("k")
	digest := sha256.Sum256(make([]byte, 32))
	uses := []struct {
		name string
		e    huawei.Endpoint
		body string
	}{
		// Bodies that come as far as the permission; what is wrong with them is looked at later.
		{"kms:cmk:encrypt", huawei.EncryptData, `{"key_id":"` + id + `","plain_text":"x"}`},
		{"kms:cmk:decrypt", huawei.DecryptData, `{"key_id":"` + id + `","cipher_text":"AAAA"}`},
		{"kms:dek:encrypt", huawei.EncryptDataKey, `{"key_id":"` + id + `","plain_text":"` + fmt.Sprintf("%064d%x", 0, digest) + `","datakey_plain_length":"32"}`},
		{"kms:dek:decrypt", huawei.DecryptDataKey, `{"key_id":"` + id + `","cipher_text":"00","datakey_cipher_length":"32"}`},
	}
	f := func(statements string, want ...string) {
		t.Helper()
		h.gets(statements)
		var got []string
		for _, use := range uses {
			if h.about(use.e, use.body, h.token).status != 403 {
				got = append(got, use.name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s allows %v", statements, got)
		}
	}
	allow := func(action string) string { return `{"Effect":"Allow","Action":["` + action + `"]}` }
	deny := func(action string) string { return `,{"Effect":"Deny","Action":["` + action + `"]}` }
	f(allow(policy.ActionCryptoData), "kms:cmk:encrypt", "kms:cmk:decrypt")
	f(allow(policy.ActionCryptoDEK), "kms:dek:encrypt", "kms:dek:decrypt")
	for _, use := range uses {
		f(allow(use.name), use.name)
	}
	f(allow("kms:*")+deny("kms:*:decrypt"), "kms:cmk:encrypt", "kms:dek:encrypt")
	f(allow("kms:*")+deny("kms:cmk:crypto"), "kms:dek:encrypt", "kms:dek:decrypt")
}
