package huawei_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	sdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/wire"
)

// person is somebody with an access key, who calls for a project.
type person struct{ user, accessKey, project string }

// other is the project of the second account.
var other = fsmtest.ID("other/project")

// applyAs makes a change that no call of the dialect makes, in the name of somebody.
func (w *world) applyAs(caller command.Caller, body command.Body) {
	w.t.Helper()
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.made++
	cmd.Proposal, cmd.Caller = command.Proposal{ID: fmt.Sprintf("apply/%d", w.made)}, caller
	data, err := command.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	if result, err := w.replica.Propose(w.t.Context(), data); err != nil || result.Refusal != nil {
		w.t.Fatalf("%v: %v, %v", body.Type(), result.Refusal, err)
	}
}

// neighbours adds a second account with an administrator and with eve and dan,
// who have no policies, but for one that denies dan to decrypt data.
func (w *world) neighbours() (boss, eve, dan person) {
	w.t.Helper()
	w.applyAs(fsmtest.Caller(), fsmtest.CreateAccount("other"))
	boss = person{fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), other}
	caller := fsmtest.Caller()
	caller.UserID, caller.CredentialID, caller.ProjectID = boss.user, boss.accessKey, boss.project
	for _, name := range []string{"eve", "dan"} {
		w.applyAs(caller, fsmtest.CreateUser(name))
		w.applyAs(caller, fsmtest.CreateAccessKey(name))
	}
	w.applyAs(caller, fsmtest.CreatePolicy("no data", fsmtest.Deny(policy.ActionCryptoData)))
	w.applyAs(caller, command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("dan"), Policy: fsmtest.ID("no data")}})
	return boss, person{fsmtest.ID("eve"), fsmtest.AccessKey("eve"), other}, person{fsmtest.ID("dan"), fsmtest.AccessKey("dan"), other}
}

// as asks in the name of somebody.
func (w *world) as(p person, verb, body string) answered {
	w.t.Helper()
	return w.askIn(p.project, p.accessKey, secretKey, time.Now(), verb, body)
}

// grant creates a grant as the administrator and returns its id.
func (w *world) grant(key, members string) string {
	w.t.Helper()
	var reply wire.CreateGrantReply
	w.must("create-grant", `{"key_id":"`+key+`",`+members+`}`, &reply)
	return reply.GrantID
}

// Every operation that a grant can allow is allowed by the grant that names it,
// to somebody of another account in their own project, and by no other.
func TestGrantedOperations(t *testing.T) {
	w := newWorld(t)
	_, eve, _ := w.neighbours()
	keys := map[string]string{"AES": w.createKey("aes")}
	for name, members := range map[string]string{"SIGNING": kindMembers[signing], "AGREEING": kindMembers[agreeing], "MACING": kindMembers[macing]} {
		var created wire.CreateKeyReply
		w.must("create-key", `{"key_alias":"`+name+`"`+members+`}`, &created)
		keys[name] = created.KeyInfo.KeyID
	}
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+keys["AES"]+`"}`, &dataKey)
	var data, signed, mac, public map[string]any
	w.must("encrypt-data", `{"key_id":"`+keys["AES"]+`","plain_text":"x"}`, &data)
	digest := base64.StdEncoding.EncodeToString(make([]byte, 32))
	w.must("sign", `{"key_id":"`+keys["SIGNING"]+`","message":"`+digest+`","signing_algorithm":"ECDSA_SHA_256"}`, &signed)
	w.must("generate-mac", `{"key_id":"`+keys["MACING"]+`","message":"AA==","mac_algorithm":"HMAC_SHA_256"}`, &mac)
	w.must("get-publickey", `{"key_id":"`+keys["AGREEING"]+`"}`, &public)
	peer := strings.NewReplacer("-----BEGIN PUBLIC KEY-----", "", "-----END PUBLIC KEY-----", "", "\r\n", "").Replace(public["public_key"].(string))
	fill := strings.NewReplacer("AES", keys["AES"], "SIGNING", keys["SIGNING"], "MACING", keys["MACING"], "AGREEING", keys["AGREEING"],
		"SEALED-DEK", hex.EncodeToString(dataKey.CipherText), "SEALED", data["cipher_text"].(string), "DIGEST", digest,
		"SIGNATURE", fmt.Sprint(signed["signature"]), "MAC-OF", fmt.Sprint(mac["mac"]), "PEER", peer)

	calls := []struct{ operation, key, verb, body string }{
		{"create-datakey", "AES", "create-datakey", `{"key_id":"AES"}`},
		{"create-datakey-without-plaintext", "AES", "create-datakey-without-plaintext", `{"key_id":"AES"}`},
		{"create-datakey", "AES", "create-datakeys", `{"key_id":"AES","count":2}`},
		{"create-datakey-without-plaintext", "AES", "create-datakeys-without-plaintext", `{"key_id":"AES","count":2}`},
		{"encrypt-datakey", "AES", "encrypt-datakey", `{"key_id":"AES","plain_text":"` + zeroKey + `","datakey_plain_length":"64"}`},
		{"decrypt-datakey", "AES", "decrypt-datakey", `{"key_id":"AES","cipher_text":"SEALED-DEK","datakey_cipher_length":"32"}`},
		{"describe-key", "AES", "describe-key", `{"key_id":"AES"}`},
		{"encrypt-data", "AES", "encrypt-data", `{"key_id":"AES","plain_text":"x"}`},
		{"decrypt-data", "AES", "decrypt-data", `{"cipher_text":"SEALED"}`},
		{"sign", "SIGNING", "sign", `{"key_id":"SIGNING","message":"DIGEST","signing_algorithm":"ECDSA_SHA_256"}`},
		{"verify", "SIGNING", "verify", `{"key_id":"SIGNING","message":"DIGEST","signing_algorithm":"ECDSA_SHA_256","signature":"SIGNATURE"}`},
		{"get-publickey", "SIGNING", "get-publickey", `{"key_id":"SIGNING"}`},
		{"generate-mac", "MACING", "generate-mac", `{"key_id":"MACING","message":"AA==","mac_algorithm":"HMAC_SHA_256"}`},
		{"verify-mac", "MACING", "verify-mac", `{"key_id":"MACING","message":"AA==","mac_algorithm":"HMAC_SHA_256","mac":"MAC-OF"}`},
		{"derive-shared-secret", "AGREEING", "derive-shared-secret", `{"key_id":"AGREEING","public_key":"PEER","key_agreement_algorithm":"ECDH"}`},
		{"create-datakey-pair", "AES", "create-ec-datakey-pair", `{"key_id":"AES","key_spec":"ECC_NIST_P256"}`},
		{"create-datakey-pair-without-plaintext", "AES", "create-ec-datakey-pair", `{"key_id":"AES","key_spec":"ECC_NIST_P256","with_plain_text":false}`},
	}
	for _, c := range calls {
		key := keys[c.key]
		if a := w.as(eve, c.verb, fill.Replace(c.body)); a.status != 403 || a.code(t) != "KMS.0306" {
			t.Errorf("%s without a grant: %d %s", c.operation, a.status, a.body)
		}
		id := w.grant(key, `"grantee_principal":"`+eve.user+`","operations":["`+c.operation+`"]`)
		for _, tried := range calls {
			if tried.key != c.key {
				continue
			}
			a := w.as(eve, tried.verb, fill.Replace(tried.body))
			if allowed := a.status == 200; allowed != (tried.operation == c.operation) || !allowed && a.code(t) != "KMS.0306" {
				t.Errorf("%s by a grant of %s: %d %s", tried.operation, c.operation, a.status, a.body)
			}
			trace := w.traces.last(t)
			if by := strings.Contains(trace.Request.String(), `"by_grant":"`+id+`"`); by != (a.status == 200) || trace.ResourceID != key && a.status == 200 {
				t.Errorf("%s by a grant of %s is traced as %+v: %v", tried.operation, c.operation, trace, trace.Request)
			}
		}
		w.must("revoke-grant", `{"key_id":"`+key+`","grant_id":"`+strings.ToUpper(id)+`"}`, nil)
		if a := w.as(eve, c.verb, fill.Replace(c.body)); a.status != 403 {
			t.Errorf("%s after the revocation: %d %s", c.operation, a.status, a.body)
		}
	}

	// Re-encrypting needs both halves, each on its key; what is inside decides.
	target := w.createKey("target")
	body := fill.Replace(`{"cipher_text":"SEALED","destination_key_id":"` + target + `"}`)
	f := func(from, to string, status int) {
		t.Helper()
		first := w.grant(keys["AES"], `"grantee_principal":"`+eve.user+`","operations":["`+from+`"]`)
		second := w.grant(target, `"grantee_principal":"`+eve.user+`","operations":["`+to+`"]`)
		a := w.as(eve, "re-encrypt", body)
		if a.status != status {
			t.Errorf("%s and %s: %d %s", from, to, a.status, a.body)
		}
		if text := w.traces.last(t).Request.String(); a.status == 200 && (!strings.Contains(text, `"by_grant":"`+first) || !strings.Contains(text, `"by_second_grant":"`+second)) {
			t.Errorf("traced as %s", text)
		}
		w.must("revoke-grant", `{"key_id":"`+keys["AES"]+`","grant_id":"`+first+`"}`, nil)
		w.must("revoke-grant", `{"key_id":"`+target+`","grant_id":"`+second+`"}`, nil)
	}
	f("re-encrypt-from", "re-encrypt-to", 200)
	f("decrypt-data", "encrypt-data", 200)
	f("re-encrypt-to", "re-encrypt-to", 403)
	f("re-encrypt-from", "re-encrypt-from", 403)
	f("decrypt-datakey", "encrypt-datakey", 403)
}

// Two accounts and the vendor's client: grants are made, passed on, listed,
// retired and revoked by those who may.
func TestSDKGrantsAcrossAccounts(t *testing.T) {
	w := newWorld(t)
	bossPerson, evePerson, danPerson := w.neighbours()
	admin, boss, eve, dan := newSDK(t, w), sdkOf(t, w, bossPerson), sdkOf(t, w, evePerson), sdkOf(t, w, danPerson)
	key := w.createKey("shared")
	encrypt := func(c *sdk.KmsClient) error {
		_, err := c.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: key, PlainText: "x"}})
		return err
	}
	decrypt := func(c *sdk.KmsClient, text string) error {
		_, err := c.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{CipherText: text}})
		return err
	}
	sealed, err := admin.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: key, PlainText: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, err error, status int, code string) {
		t.Helper()
		refused := new(sdkerr.ServiceResponseError)
		switch {
		case status == 200 && err != nil:
			t.Errorf("%s: %v", what, err)
		case status != 200 && (!errors.As(err, &refused) || refused.StatusCode != status || refused.ErrorCode != code):
			t.Errorf("%s: %v, want %d %s", what, err, status, code)
		}
	}
	f("boss without a grant", encrypt(boss), 404, "KMS.0207")
	f("eve without a grant", encrypt(eve), 403, "KMS.0306")

	// An account grant is for everybody in it whom no policy denies.
	kind := model.GetCreateGrantRequestBodyGranteePrincipalTypeEnum().DOMAIN
	toAll, err := admin.CreateGrant(&model.CreateGrantRequest{Body: &model.CreateGrantRequestBody{
		KeyId: key, GranteePrincipal: fsmtest.ID("other"), GranteePrincipalType: &kind, Operations: []string{"encrypt-data", "decrypt-data", "create-grant"}, Name: text("for-all"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	f("boss", encrypt(boss), 200, "")
	f("eve", decrypt(eve, *sealed.CipherText), 200, "")
	f("dan", encrypt(dan), 403, "KMS.0306")

	// eve passes on what she has, and no more.
	child := func(operations ...string) (string, error) {
		made, err := eve.CreateGrant(&model.CreateGrantRequest{Body: &model.CreateGrantRequestBody{
			KeyId: key, GranteePrincipal: bossPerson.user, Operations: operations, RetiringPrincipal: text(danPerson.user),
		}})
		if err != nil {
			return "", err
		}
		return *made.GrantId, nil
	}
	_, err = child("encrypt-data", "describe-key")
	f("more than she has", err, 403, "KMS.0306")
	first, err := child("encrypt-data", "create-grant")
	f("what she has", err, 200, "")
	second, err := child("encrypt-data")
	f("once more", err, 200, "")

	listed, err := admin.ListGrants(&model.ListGrantsRequest{Body: &model.ListGrantsRequestBody{KeyId: key, Limit: text("2")}})
	if err != nil {
		t.Fatal(err)
	}
	if g := *listed.Grants; len(g) != 2 || *listed.Total != 3 || listed.Truncated.Value() != "true" || *g[0].GrantId != *toAll.GrantId || g[0].GranteePrincipalType.Value() != "domain" ||
		*g[0].Name != "for-all" || *g[1].IssuingPrincipal != evePerson.user || *g[1].RetiringPrincipal != danPerson.user || fmt.Sprint(*g[1].Operations) != "[create-grant encrypt-data]" {
		t.Errorf("listed %v", listed)
	}
	listed, err = admin.ListGrants(&model.ListGrantsRequest{Body: &model.ListGrantsRequestBody{KeyId: key, Limit: text("2"), Marker: listed.NextMarker}})
	if err != nil || len(*listed.Grants) != 1 || *(*listed.Grants)[0].GrantId != second || *listed.NextMarker != "" || listed.Truncated.Value() != "false" {
		t.Errorf("then %v, %v", listed, err)
	}
	_, err = eve.ListGrants(&model.ListGrantsRequest{Body: &model.ListGrantsRequestBody{KeyId: key}})
	f("the grantee lists", err, 403, "KMS.0306")
	retirable, err := admin.ListRetirableGrants(&model.ListRetirableGrantsRequest{Body: &model.ListRetirableGrantsRequestBody{}})
	if err != nil || *retirable.Total != 1 || *(*retirable.Grants)[0].GrantId != *toAll.GrantId {
		t.Errorf("retirable: %v, %v", retirable, err)
	}

	retire := func(c *sdk.KmsClient, id string) error {
		_, err := c.CancelSelfGrant(&model.CancelSelfGrantRequest{Body: &model.RevokeGrantRequestBody{KeyId: key, GrantId: id}})
		return err
	}
	revoke := func(c *sdk.KmsClient, id string) error {
		_, err := c.CancelGrant(&model.CancelGrantRequest{Body: &model.RevokeGrantRequestBody{KeyId: key, GrantId: id}})
		return err
	}
	f("a grantee whom the grant does not let retire", retire(boss, first), 403, "KMS.0306")
	f("the owner is no issuer", retire(admin, first), 403, "KMS.0306")
	f("the retiring principal", retire(dan, first), 200, "")
	f("who revokes what is another's", revoke(boss, second), 403, "KMS.0306")

	// A grant outlives the one that it was made by.
	f("the owner revokes", revoke(admin, *toAll.GrantId), 200, "")
	f("eve is out", encrypt(eve), 403, "KMS.0306")
	f("boss is in by eve's grant", encrypt(boss), 200, "")
	f("twice", revoke(admin, *toAll.GrantId), 400, "KMS.2502")
	f("who made it revokes", revoke(eve, second), 200, "")
	f("boss is out", encrypt(boss), 404, "KMS.0207")
}

// sdkOf is the vendor's client of somebody.
func sdkOf(t *testing.T, w *world, p person) *sdk.KmsClient {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(p.accessKey).WithSk(secretKey).WithProjectId(p.project).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return w.listener.Dial() }
	client, err := sdk.KmsClientBuilder().WithEndpoints([]string{endpoint}).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithDialContext(dial)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewKmsClient(client)
}

func TestRefusedGrants(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	id := w.grant(key, `"grantee_principal":"`+fsmtest.UserID+`","operations":["sign"]`)
	f := func(verb, body string, status int, code string) {
		t.Helper()
		body = strings.NewReplacer("KEY", key, "GRANT", id, "USER", fsmtest.UserID).Replace(body)
		before := w.must("list-grants", `{"key_id":"`+key+`"}`, nil)
		a := w.ask(verb, body)
		if a.status != status || a.code(t) != code {
			t.Errorf("%s %.200s: %d %s, want %d %s", verb, body, a.status, a.body, status, code)
		}
		if after := w.must("list-grants", `{"key_id":"`+key+`"}`, nil); after != before {
			t.Errorf("%s %.200s was refused, and yet:\n%s\n%s", verb, body, before, after)
		}
	}
	const some = `"key_id":"KEY","grantee_principal":"USER","operations":["sign"]`
	for _, verb := range []string{"create-grant", "list-grants", "revoke-grant", "retire-grant"} {
		f(verb, `{}`, 400, "KMS.0204")
		f(verb, `{"key_id":"orders"}`, 400, "KMS.0205")
	}
	f("create-grant", `{"key_id":"KEY","grantee_principal":"USER"}`, 400, "KMS.0204")
	f("create-grant", `{"key_id":"KEY","grantee_principal":"USER","operations":[]}`, 400, "KMS.0204")
	f("create-grant", `{"key_id":"KEY","grantee_principal":"USER","operations":"sign"}`, 400, "KMS.0308")
	f("create-grant", `{"key_id":"KEY","grantee_principal":"USER","operations":["sign","fly"]}`, 400, "KMS.0308")
	f("create-grant", `{"key_id":"KEY","grantee_principal":"USER","operations":["create-grant","create-grant"]}`, 400, "KMS.2401")
	f("create-grant", `{"key_id":"KEY","operations":["sign"]}`, 400, "KMS.0204")
	f("create-grant", `{"key_id":"KEY","operations":["sign"],"grantee_principal":"a-b"}`, 400, "KMS.2402")
	f("create-grant", `{"key_id":"KEY","operations":["sign"],"grantee_principal":7}`, 400, "KMS.2402")
	f("create-grant", `{"key_id":"KEY","operations":["sign"],"grantee_principal":"`+strings.Repeat("a", 65)+`"}`, 400, "KMS.2402")
	f("create-grant", `{"key_id":"KEY","operations":["sign"],"grantee_principal":"nobody"}`, 400, "KMS.2402")
	f("create-grant", `{`+some+`,"grantee_principal_type":"domain"}`, 400, "KMS.2402")
	f("create-grant", `{`+some+`,"grantee_principal_type":"group"}`, 400, "KMS.0308")
	f("create-grant", `{`+some+`,"retiring_principal":"a b"}`, 400, "KMS.2402")
	f("create-grant", `{`+some+`,"retiring_principal":"nobody"}`, 400, "KMS.2402")
	f("create-grant", `{`+some+`,"name":"a b"}`, 400, "KMS.0308")
	f("create-grant", `{`+some+`,"name":"`+strings.Repeat("a", 256)+`"}`, 400, "KMS.0308")
	f("create-grant", strings.Replace(`{`+some+`}`, "KEY", nobody, 1), 404, "KMS.0207")
	for _, verb := range []string{"revoke-grant", "retire-grant"} {
		f(verb, `{"key_id":"KEY"}`, 400, "KMS.0204")
		f(verb, `{"key_id":"KEY","grant_id":"7"}`, 400, "KMS.2501")
		f(verb, `{"key_id":"KEY","grant_id":7}`, 400, "KMS.2501")
		f(verb, `{"key_id":"KEY","grant_id":"`+strings.Repeat("g", 64)+`"}`, 400, "KMS.2501")
		f(verb, `{"key_id":"KEY","grant_id":"`+strings.Repeat("0", 64)+`"}`, 400, "KMS.2502")
		f(verb, `{"key_id":"`+w.createKey("second-"+verb)+`","grant_id":"GRANT"}`, 400, "KMS.2502")
		f(verb, `{"key_id":"`+nobody+`","grant_id":"GRANT"}`, 404, "KMS.0207")
	}
	for _, verb := range []string{"list-grants", "list-retirable-grants"} {
		f(verb, `{"key_id":"KEY","limit":0}`, 400, "KMS.1601")
		f(verb, `{"key_id":"KEY","limit":2001}`, 400, "KMS.1601")
		f(verb, `{"key_id":"KEY","marker":-1}`, 400, "KMS.1602")
		f(verb, `{"key_id":"KEY","marker":"x"}`, 400, "KMS.1602")
	}
	for range 99 {
		w.grant(key, `"grantee_principal":"`+fsmtest.UserID+`","operations":["sign"]`)
	}
	f("create-grant", `{`+some+`}`, 400, "KMS.2404")
	var quotas wire.QuotasReply
	w.must("GET user-quotas", "", &quotas)
	if q := quotas.Quotas.Resources[1]; q.Used != 100 || q.Quota.Value != 100 {
		t.Errorf("quota %+v", q)
	}
}

// A grant id of another account's key is told apart from none by no word of an
// answer; and whoever plans to delete a key is told how many use it by grants.
func TestForeignGrantsAndRisks(t *testing.T) {
	w := newWorld(t)
	boss, eve, _ := w.neighbours()
	key := w.createKey("orders")
	id := w.grant(key, `"grantee_principal":"`+fsmtest.UserID+`","operations":["sign"]`)
	absent := strings.Repeat("0", 64)
	for _, p := range []person{boss, eve} {
		for _, verb := range []string{"revoke-grant", "retire-grant", "list-grants", "create-grant"} {
			answers := map[string]bool{}
			for _, named := range []struct{ key, grant string }{{key, id}, {key, absent}, {nobody, id}, {nobody, absent}} {
				a := w.as(p, verb, `{"key_id":"`+named.key+`","grant_id":"`+named.grant+`","grantee_principal":"`+p.user+`","operations":["sign"]}`)
				answers[fmt.Sprint(a.status, strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), ""))] = true
				if trace := w.traces.last(t); trace.ResourceID != "" || trace.ResourceName != "" {
					t.Errorf("%s: the trace names %q", verb, trace.ResourceName)
				}
			}
			if len(answers) != 1 {
				t.Errorf("%s: %v", verb, answers)
			}
		}
	}
	w.must("schedule-key-deletion", `{"key_id":"`+key+`","pending_days":"7"}`, nil)
	tips := w.traces.named("deleteKeyRiskTips")
	if len(tips) != 1 || !strings.Contains(tips[0].Response.String(), `"grants":1`) || !strings.Contains(tips[0].Message, "grants that let others use it: 1") {
		t.Errorf("%+v", tips)
	}
}
