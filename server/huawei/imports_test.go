package huawei_test

import (
	"bytes"
	"crypto/aes"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/kwp"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// external makes a key that waits for its material.
func (w *world) external(spec string) string {
	w.t.Helper()
	w.made++
	w.replica.advance(time.Now().UnixMilli()) // a token is judged by both clocks
	var created wire.CreateKeyReply
	w.must("create-key", fmt.Sprintf(`{"key_alias":"external-%d","key_spec":%q,"origin":"external"}`, w.made, spec), &created)
	return created.KeyInfo.KeyID
}

// parameters fetches what an import is made with.
func (w *world) parameters(id, algorithm string) (token string, public []byte) {
	w.t.Helper()
	var p wire.ImportParametersReply
	w.must("get-parameters-for-import", fmt.Sprintf(`{"key_id":%q,"wrapping_algorithm":%q}`, id, algorithm), &p)
	token = b64(p.ImportToken)
	if left := time.Until(time.Unix(p.ExpirationTime, 0)); len(token) < 200 || len(token) > 6144 || p.KeyID != id || left < 23*time.Hour {
		w.t.Errorf("a token of %d characters for %s, %v left", len(token), p.KeyID, left)
	}
	return token, p.PublicKey
}

// wrap wraps as the algorithm says.
func wrap(t *testing.T, algorithm string, public, material []byte) string {
	t.Helper()
	w, err := wrapping.Secret(algorithm, public, material)
	if err != nil {
		t.Fatal(err)
	}
	return b64(w.Material)
}

func importBody(id, token, material, more string) string {
	return fmt.Sprintf(`{"key_id":%q,"import_token":%q,"encrypted_key_material":%q%s}`, id, token, material, more)
}

// Under each algorithm: the key is usable, its material goes, only the same
// comes back, and a key that was disabled before stays so.
func TestImportSymmetric(t *testing.T) {
	w := newWorld(t)
	for _, algorithm := range []string{"RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"} {
		id := w.external("AES_256")
		token, public := w.parameters(id, algorithm)
		raw := bytes.Repeat([]byte{byte(len(algorithm))}, 32)
		again := importBody(id, token, wrap(t, algorithm, public, raw), "")
		if body := w.must("import-key-material", again, nil); body != "{}" {
			t.Errorf("answered %s", body)
		}
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", `{"key_id":"`+id+`","plain_text":"text"}`, &sealed)
		w.must("disable-key", `{"key_id":"`+id+`"}`, nil)
		w.must("delete-imported-key-material", `{"key_id":"`+id+`"}`, nil)
		if s := stateOf(t, w.ask("describe-key", `{"key_id":"`+id+`"}`)); s != "5" {
			t.Errorf("%s: without material the state is %s", algorithm, s)
		}
		if versions := w.replica.Root().Versions(id); len(versions) != 0 {
			t.Errorf("%s: %d versions are still there", algorithm, len(versions))
		}
		other := importBody(id, token, wrap(t, algorithm, public, bytes.Repeat([]byte{1}, 32)), "")
		if a := w.ask("import-key-material", other); a.status != 400 || a.code(t) != "KMS.2606" {
			t.Errorf("%s: other material: %d %s", algorithm, a.status, a.body)
		}
		w.must("import-key-material", again, nil) // the token serves for a day
		if s := stateOf(t, w.ask("describe-key", `{"key_id":"`+id+`"}`)); s != "3" {
			t.Errorf("%s: imported again the state is %s, not Disabled", algorithm, s)
		}
		w.must("enable-key", `{"key_id":"`+id+`"}`, nil)
		var opened wire.DecryptDataReply
		w.must("decrypt-data", `{"cipher_text":"`+b64(sealed.CipherText)+`"}`, &opened)
		if string(opened.PlainText) != "text" {
			t.Errorf("%s: opens to %q", algorithm, opened.PlainText)
		}
		if a := w.ask("import-key-material", again); a.status != 400 || a.code(t) != "KMS.0310" {
			t.Errorf("%s: twice: %d %s", algorithm, a.status, a.body)
		}
		if a := w.ask("get-parameters-for-import", `{"key_id":"`+id+`","wrapping_algorithm":"`+algorithm+`"}`); a.status != 400 || a.code(t) != "KMS.0310" {
			t.Errorf("%s: parameters of a key with material: %d %s", algorithm, a.status, a.body)
		}
	}
}

func TestImportPairs(t *testing.T) {
	w := newWorld(t)
	for spec, algorithm := range map[hsm.Spec]string{
		hsm.SpecRSA2048: "RSAES_OAEP_SHA_256", hsm.SpecECP256: "RSAES_PKCS1_V1_5", hsm.SpecECP384: "RSAES_OAEP_SHA_1", hsm.SpecSECP256K1: "RSAES_OAEP_SHA_256",
	} {
		id := w.external(string(spec))
		token, public := w.parameters(id, algorithm)
		private, own, err := keypair.Generate(spec)
		if err != nil {
			t.Fatal(err)
		}
		temporary := bytes.Repeat([]byte{5}, 16+16*(len(spec)%2))
		block, err := aes.NewCipher(temporary)
		if err != nil {
			t.Fatal(err)
		}
		under, err := kwp.Wrap(block, private)
		if err != nil {
			t.Fatal(err)
		}
		f := func(material []byte, more, code string) {
			t.Helper()
			if a := w.ask("import-key-material", importBody(id, token, wrap(t, algorithm, public, material), more)); a.status != 400 || a.code(t) != code {
				t.Errorf("%s: %d %s, want %s", spec, a.status, a.body, code)
			}
		}
		f(temporary, "", "KMS.2608")
		damaged := "KMS.2609"
		if algorithm == "RSAES_PKCS1_V1_5" {
			damaged = "KMS.0311" // one error for whatever does not end in a key
		}
		f(temporary, `,"encrypted_privatekey":"`+b64(under[:len(under)-8])+`"`, damaged)
		f(temporary, `,"encrypted_privatekey":"`+b64(under)+`","expiration_time":4102444800`, "KMS.2702")
		size := "KMS.2610"
		if algorithm == "RSAES_PKCS1_V1_5" {
			size = "KMS.0311"
		}
		f(temporary[:15], `,"encrypted_privatekey":"`+b64(under)+`"`, size)
		w.must("import-key-material", importBody(id, token, wrap(t, algorithm, public, temporary), `,"encrypted_privatekey":"`+b64(under)+`"`), nil)
		if !bytes.Equal(w.publicKey(id), own) {
			t.Errorf("%s: another public key", spec)
		}
		if a := w.ask("delete-imported-key-material", `{"key_id":"`+id+`"}`); a.status != 400 || a.code(t) != "KMS.2702" {
			t.Errorf("%s: deleting: %d %s", spec, a.status, a.body)
		}
	}
}

// Everything that does not open is one error, and ten of them end the token.
func TestImportRefusals(t *testing.T) {
	w := newWorld(t)
	id, other := w.external("AES_256"), w.external("AES_256")
	const algorithm = "RSAES_OAEP_SHA_256"
	token, public := w.parameters(id, algorithm)
	good := wrap(t, algorithm, public, make([]byte, 32))
	f := func(body, code string) {
		t.Helper()
		if a := w.ask("import-key-material", body); a.status != 400 || a.code(t) != code {
			t.Errorf("%.120s: %d %s, want %s", body, a.status, a.body, code)
		}
		if s := stateOf(t, w.ask("describe-key", `{"key_id":"`+id+`"}`)); s != "5" {
			t.Errorf("%.120s: refused, and yet in state %s", body, s)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	f(importBody(other, token, good, ""), "KMS.2603")
	for _, at := range []int{0, 1, 20, 36, 41, 60, len(raw) - 1} {
		altered := bytes.Clone(raw)
		altered[at] ^= 1
		f(importBody(id, b64(altered), good, ""), "KMS.2605")
	}
	f(importBody(id, b64(raw[:len(raw)-1]), good, ""), "KMS.2605")
	f(importBody(id, token, good, `,"expiration_time":1000`), "KMS.2602")
	f(importBody(id, token, good, `,"expiration_time":1893456000000`), "KMS.2602")
	f(importBody(id, token, wrap(t, algorithm, public, make([]byte, 16)), ""), "KMS.2604")
	f(importBody(id, token, wrap(t, "RSAES_OAEP_SHA_1", public, make([]byte, 32)), ""), "KMS.0311")
	for range 8 {
		f(importBody(id, token, b64(make([]byte, 256)), ""), "KMS.0311")
	}
	f(importBody(id, token, b64(make([]byte, 256)), ""), "KMS.2605")
	f(importBody(id, token, good, ""), "KMS.2605")
	if a := w.ask("get-parameters-for-import", `{"key_id":"`+id+`","wrapping_algorithm":"SM2_ENCRYPT"}`); a.status != 400 || a.code(t) != "KMS.0308" {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.replica.advance(time.Now().Add(25 * time.Hour).UnixMilli())
	w.createKey("later") // carries the time
	token2 := token
	f(importBody(id, token2, good, ""), "KMS.2601")
}

// A token serves for 24 hours, also after all nodes were started again meanwhile
// from what they had stored, and not a moment longer; then its pair goes.
func TestImportTokenOutlivesARestart(t *testing.T) {
	w := newWorld(t)
	const algorithm = "RSAES_OAEP_SHA_256"
	early, late := w.external("AES_256"), w.external("AES_256")
	token, public := w.parameters(early, algorithm)
	lateToken, latePublic := w.parameters(late, algorithm)
	endOf := func(id string) int64 {
		key, _ := w.replica.Root().Key(id)
		return key.ImportPairs[0].Expires
	}
	before, ends := endOf(early)-1000, endOf(late)
	if life := time.Until(time.UnixMilli(ends)); life < 23*time.Hour || life > 24*time.Hour {
		t.Fatalf("the pair lives for another %v", life)
	}
	restart := func() {
		t.Helper()
		var file bytes.Buffer
		if _, err := snapshot.Write(&file, w.replica.Root()); err != nil {
			t.Fatal(err)
		}
		w.service.Close()
		w.replica.machine = fsm.New()
		if err := w.replica.machine.Restore(&file); err != nil {
			t.Fatal(err)
		}
		w.service.Service = kms.New(w.config)
	}
	restart()
	w.replica.advance(before)
	w.createKey("a-second-before") // carries the time
	if err := w.service.ExpireImports(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	w.must("import-key-material", importBody(early, token, wrap(t, algorithm, public, make([]byte, 32)), ""), nil)
	restart()
	w.replica.advance(ends)
	w.createKey("then")
	if a := w.ask("import-key-material", importBody(late, lateToken, wrap(t, algorithm, latePublic, make([]byte, 32)), "")); a.status != 400 || a.code(t) != "KMS.2601" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if err := w.service.ExpireImports(t.Context(), ends); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{early, late} {
		if key, _ := w.replica.Root().Key(id); len(key.ImportPairs) != 0 {
			t.Errorf("%d pairs are left", len(key.ImportPairs))
		}
	}
}

// Material that expires is unusable then, and erased with its wrapping pairs.
func TestSDKImportExpires(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	id := w.external("AES_256")
	p, err := client.CreateParametersForImport(&model.CreateParametersForImportRequest{Body: &model.GetParametersForImportRequestBody{
		KeyId: id, WrappingAlgorithm: model.GetGetParametersForImportRequestBodyWrappingAlgorithmEnum().RSAES_OAEP_SHA_256,
	}})
	if err != nil {
		t.Fatal(err)
	}
	public, _ := base64.StdEncoding.DecodeString(*p.PublicKey)
	expires := time.Now().Unix() + 3600
	if _, err := client.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: &model.ImportKeyMaterialRequestBody{
		KeyId: id, ImportToken: *p.ImportToken, EncryptedKeyMaterial: wrap(t, "RSAES_OAEP_SHA_256", public, make([]byte, 32)), ExpirationTime: &expires,
	}}); err != nil {
		t.Fatal(err)
	}
	described, err := client.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: id}})
	if err != nil || *described.KeyInfo.KeyState != "2" || *described.KeyInfo.ExpirationTime != fmt.Sprint(expires*1000) {
		t.Fatalf("%v, %v", described, err)
	}
	w.replica.advance(expires*1000 + 1)
	if err := w.service.ExpireImports(t.Context(), expires*1000+1); err != nil {
		t.Fatal(err)
	}
	key, _ := w.replica.Root().Key(id)
	if s := stateOf(t, w.ask("describe-key", `{"key_id":"`+id+`"}`)); s != "5" || len(w.replica.Root().Versions(id)) != 0 || len(key.ImportPairs) != 1 {
		t.Errorf("state %s, %d pairs", s, len(key.ImportPairs))
	}
	later := time.Now().Add(25 * time.Hour).UnixMilli()
	w.replica.advance(later)
	if err := w.service.ExpireImports(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if key, _ := w.replica.Root().Key(id); len(key.ImportPairs) != 0 || len(key.Fingerprint) == 0 {
		t.Errorf("%d pairs are left, a fingerprint of %d bytes", len(key.ImportPairs), len(key.Fingerprint))
	}
}

// The weaker wrapping algorithms are traced with a warning, and can be
// forbidden, also to who has parameters from before.
func TestWeakImportsCanBeForbidden(t *testing.T) {
	w := newWorld(t)
	id := w.external("AES_256")
	token, public := w.parameters(id, "RSAES_OAEP_SHA_1")
	w.parameters(id, "RSAES_OAEP_SHA_256")
	for i, want := range []audit.Rating{audit.RatingWarning, audit.RatingNormal} {
		if r := w.traces.records[len(w.traces.records)-2+i]; r.Rating != want {
			t.Errorf("trace %d is rated %s, want %s", i, r.Rating, want)
		}
	}
	w.config.ForbidWeakImport = true
	strict := kms.New(w.config)
	t.Cleanup(strict.Close)
	w.service.Service = strict
	f := func(call, body, code string) {
		t.Helper()
		if a := w.ask(call, body); a.status != 400 || a.code(t) != code {
			t.Errorf("%s: %d %s, want %s", call, a.status, a.body, code)
		}
	}
	for _, weak := range []string{"RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5"} {
		f("get-parameters-for-import", `{"key_id":"`+id+`","wrapping_algorithm":"`+weak+`"}`, "KMS.0308")
	}
	f("import-key-material", importBody(id, token, wrap(t, "RSAES_OAEP_SHA_1", public, make([]byte, 32)), ""), "KMS.2605")
	token, public = w.parameters(id, "RSAES_OAEP_SHA_256")
	w.must("import-key-material", importBody(id, token, wrap(t, "RSAES_OAEP_SHA_256", public, make([]byte, 32)), ""), nil)
}
