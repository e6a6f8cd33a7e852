package huawei_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

const nobody = "00000000-0000-4000-8000-000000000000" // the id of no key

func TestRefusedParameters(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(verb, body string, status int, code string) {
		t.Helper()
		body = strings.ReplaceAll(body, "KEY", key)
		a := w.ask(verb, body)
		if a.status != status || a.code(t) != code {
			t.Errorf("%s %.120s: %d %.300s, want %d %s", verb, body, a.status, a.body, status, code)
		}
		if trace := w.traces.last(t); trace.ErrorCode != code || trace.Code != fmt.Sprint(status) || trace.Rating != "warning" || trace.RequestID != a.header.Get("X-Request-Id") {
			t.Errorf("%s %.120s is traced as %+v", verb, body, trace)
		}
	}
	for verb := range endpoints {
		f(verb, `{`, 400, "KMS.0202")
		f(verb, `[]`, 400, "KMS.0202")
		f(verb, `null`, 400, "KMS.0202")
		f(verb, `{"key_id":"KEY"} x`, 400, "KMS.0202")
		f(verb, "{\"key_id\":\"\xff\"}", 400, "KMS.0202")
		f(verb, `{"sequence":"1","sequence":"2"}`, 400, "KMS.0202")
		f(verb, `{"sequence":"919c82d4"}`, 400, "KMS.0206")
		f(verb, `{"sequence":"919c82d4-8046-4722-9094_35c3c6524cff"}`, 400, "KMS.0206")
		f(verb, `{"sequence":7}`, 400, "KMS.0206")
	}
	for _, verb := range []string{"describe-key", "enable-key", "disable-key", "create-datakey", "create-datakey-without-plaintext", "encrypt-datakey", "decrypt-datakey", "encrypt-data",
		"update-key-alias", "update-key-description", "schedule-key-deletion", "cancel-key-deletion", "enable-key-deletion-protection", "disable-key-deletion-protection",
		"aliases", "enable-key-rotation", "update-key-rotation-interval", "disable-key-rotation", "get-key-rotation-status", "rotate-on-demand", "list-key-versions"} {
		f(verb, ``, 400, "KMS.0204")
		f(verb, `{}`, 400, "KMS.0204")
		f(verb, `{"key_id":null}`, 400, "KMS.0204")
		f(verb, `{"key_id":""}`, 400, "KMS.0204")
		f(verb, `{"key_id":7}`, 400, "KMS.0205")
		f(verb, `{"key_id":"orders"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"0D0466B0-E727-4D9C-B35D-F84BB474A37F"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"alias/"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"alias/a b"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"kms:region-1:alias:orders"}`, 400, "KMS.0205")
		f(verb, `{"key_id":"kms:region-1:`+fsmtest.DomainID+`:key:orders"}`, 400, "KMS.0205")
	}
	for _, verb := range []string{"describe-key", "enable-key", "disable-key", "create-datakey", "create-datakey-without-plaintext", "cancel-key-deletion",
		"enable-key-deletion-protection", "disable-key-deletion-protection", "enable-key-rotation", "disable-key-rotation", "get-key-rotation-status", "rotate-on-demand", "list-key-versions"} {
		f(verb, `{"key_id":"`+nobody+`"}`, 404, "KMS.0207")
		f(verb, `{"key_id":"alias/nobody"}`, 404, "KMS.0207")
		f(verb, `{"key_id":"kms:region-2:`+fsmtest.DomainID+`:alias:orders"}`, 404, "KMS.0207")
		f(verb, `{"key_id":"kms:region-1:`+strings.Repeat("0", 32)+`:alias:orders"}`, 404, "KMS.0207")
	}

	f("create-key", `{}`, 400, "KMS.0204")
	f("create-key", `{"key_alias":"a b"}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":"é"}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":7}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":"`+strings.Repeat("a", 256)+`"}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":"evs/default"}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":"a","key_description":"`+strings.Repeat("é", 256)+`"}`, 400, "KMS.1103")
	f("create-key", `{"key_alias":"orders"}`, 400, "KMS.1104")
	f("create-key", `{"key_alias":"a","key_spec":"AES_512"}`, 400, "KMS.1110")
	f("create-key", `{"key_alias":"a","key_spec":"RSA_1024"}`, 400, "KMS.1110")
	f("create-key", `{"key_alias":"a","key_spec":256}`, 400, "KMS.1110")
	f("create-key", `{"key_alias":"a","key_usage":"SIGN_VERIFY"}`, 400, "KMS.0308")
	f("create-key", `{"key_alias":"a","origin":"elsewhere"}`, 400, "KMS.0308")

	f("list-keys", `{"limit":0}`, 400, "KMS.1601")
	f("list-keys", `{"limit":2001}`, 400, "KMS.1601")
	f("list-keys", `{"limit":"ten"}`, 400, "KMS.1601")
	f("list-keys", `{"marker":-1}`, 400, "KMS.1602")
	f("list-keys", `{"marker":2147483648}`, 400, "KMS.1602")
	f("list-keys", `{"marker":1.5}`, 400, "KMS.1602")
	f("list-keys", `{"key_state":"6"}`, 400, "KMS.0308")
	f("list-keys", `{"key_state":"22"}`, 400, "KMS.0308")
	f("list-keys", `{"key_spec":"AES"}`, 400, "KMS.1110")

	for _, verb := range []string{"create-datakeys", "create-datakeys-without-plaintext"} {
		f(verb, `{"key_id":"KEY"}`, 400, "KMS.0204")
		f(verb, `{"key_id":"KEY","count":0}`, 400, "KMS.0308")
		f(verb, `{"key_id":"KEY","count":1001}`, 400, "KMS.0308")
		f(verb, `{"key_id":"KEY","count":"many"}`, 400, "KMS.0308")
		f(verb, `{"key_id":"KEY","count":2,"datakey_length":"255"}`, 400, "KMS.1903")
		f(verb, `{"key_id":"KEY","count":2,"datakey_length":"8200"}`, 400, "KMS.1901")
		f(verb, `{"key_id":"KEY","count":2,"key_spec":"AES_192"}`, 400, "KMS.1902")
		f(verb, `{"count":2}`, 400, "KMS.0204")
	}
	for _, verb := range []string{"create-datakey", "create-datakey-without-plaintext"} {
		f(verb, `{"key_id":"KEY","datakey_length":0}`, 400, "KMS.1901")
		f(verb, `{"key_id":"KEY","datakey_length":"8200"}`, 400, "KMS.1901")
		f(verb, `{"key_id":"KEY","datakey_length":"many"}`, 400, "KMS.1901")
		f(verb, `{"key_id":"KEY","datakey_length":-8}`, 400, "KMS.1901")
		f(verb, `{"key_id":"KEY","datakey_length":"255"}`, 400, "KMS.1903")
		f(verb, `{"key_id":"KEY","key_spec":"AES_192"}`, 400, "KMS.1902")
		f(verb, `{"key_id":"KEY","key_spec":128}`, 400, "KMS.1902")
		f(verb, `{"key_id":"KEY","encryption_context":7}`, 400, "KMS.0208")
		f(verb, `{"key_id":"KEY","encryption_context":{"a":7}}`, 400, "KMS.0208")
		f(verb, `{"key_id":"KEY","encryption_context":"`+strings.Repeat("x", 8193)+`"}`, 400, "KMS.0208")
		f(verb, `{"key_id":"KEY","encryption_context":"x","additional_authenticated_data":"y"}`, 400, "KMS.0208")
		f(verb, `{"key_id":"KEY","additional_authenticated_data":"`+strings.Repeat("x", 129)+`"}`, 400, "KMS.0308")
	}

	f("encrypt-datakey", `{"key_id":"KEY","datakey_plain_length":"64"}`, 400, "KMS.0204")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`"}`, 400, "KMS.0204")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"x`+zeroKey[1:]+`","datakey_plain_length":"64"}`, 400, "KMS.2101")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey[1:]+`","datakey_plain_length":"64"}`, 400, "KMS.2101")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`","datakey_plain_length":"63"}`, 400, "KMS.2104")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`","datakey_plain_length":"96"}`, 400, "KMS.2104")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"00","datakey_plain_length":"1"}`, 400, "KMS.2104")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`","datakey_plain_length":"0"}`, 400, "KMS.2102")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey+`","datakey_plain_length":"1025"}`, 400, "KMS.2102")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"`+zeroKey[:190]+`4c","datakey_plain_length":"64"}`, 400, "KMS.2103")
	f("encrypt-datakey", `{"key_id":"KEY","plain_text":"01`+zeroKey[2:]+`","datakey_plain_length":"64"}`, 400, "KMS.2103")

	f("decrypt-datakey", `{"key_id":"KEY","datakey_cipher_length":"64"}`, 400, "KMS.0204")
	f("decrypt-datakey", `{"key_id":"KEY","cipher_text":"00"}`, 400, "KMS.0204")
	f("decrypt-datakey", `{"key_id":"KEY","cipher_text":"0g","datakey_cipher_length":"64"}`, 400, "KMS.2201")
	f("decrypt-datakey", `{"key_id":"KEY","cipher_text":"00","datakey_cipher_length":"64"}`, 400, "KMS.2201")
	f("decrypt-datakey", `{"key_id":"KEY","cipher_text":"00","datakey_cipher_length":"0"}`, 400, "KMS.2202")
	f("decrypt-datakey", `{"key_id":"KEY","cipher_text":"00","datakey_cipher_length":"1025"}`, 400, "KMS.2202")

	f("encrypt-data", `{"key_id":"KEY"}`, 400, "KMS.0204")
	f("encrypt-data", `{"key_id":"KEY","plain_text":""}`, 400, "KMS.0204")
	f("encrypt-data", `{"key_id":"KEY","plain_text":"`+strings.Repeat("x", 4097)+`"}`, 400, "KMS.0308")
	f("encrypt-data", `{"key_id":"KEY","plain_text":"`+strings.Repeat("é", 2049)+`"}`, 400, "KMS.0308")
	f("encrypt-data", `{"key_id":"KEY","plain_text":"\ud800"}`, 400, "KMS.0308")
	f("encrypt-data", `{"key_id":"KEY","plain_text":7}`, 400, "KMS.0308")
	f("encrypt-data", `{"key_id":"KEY","plain_text":"x","encryption_algorithm":"RSAES_OAEP_SHA_256"}`, 400, "KMS.2105")
	f("encrypt-data", `{"key_id":"KEY","plain_text":"x","encryption_algorithm":7}`, 400, "KMS.2105")

	f("decrypt-data", `{}`, 400, "KMS.0204")
	f("decrypt-data", `{"cipher_text":"A"}`, 400, "KMS.2201")
	f("decrypt-data", `{"cipher_text":"AAAA"}`, 400, "KMS.2201")
	f("decrypt-data", `{"cipher_text":"`+strings.Repeat("A", 5652)+`"}`, 400, "KMS.2201")
	f("decrypt-data", `{"cipher_text":"AAAA","encryption_algorithm":"SM2_ENCRYPT"}`, 400, "KMS.0204")
	f("decrypt-data", `{"cipher_text":"AAAA","encryption_algorithm":"ROT13"}`, 400, "KMS.2105")
	f("decrypt-data", `{"cipher_text":"AAAA","key_id":"x"}`, 400, "KMS.0205")

	f("create-key", `{"key_alias":"alias/"}`, 400, "KMS.1101")
	f("create-key", `{"key_alias":"alias/orders"}`, 400, "KMS.1104") // the same name, as a reference says it
	f("create-key", `{"key_alias":"a","protection_level":"HSM"}`, 400, "KMS.0308")
	f("create-key", `{"key_alias":"a","protection_level":"BEST"}`, 400, "KMS.0308")
	f("create-key", `{"key_alias":"a","deletion_protection":"perhaps"}`, 400, "KMS.0308")

	w.createKey("other")
	f("update-key-alias", `{"key_id":"KEY"}`, 400, "KMS.0204")
	f("update-key-alias", `{"key_id":"KEY","key_alias":"a b"}`, 400, "KMS.1101")
	f("update-key-alias", `{"key_id":"KEY","key_alias":"alias/"}`, 400, "KMS.1101")
	f("update-key-alias", `{"key_id":"KEY","key_alias":"obs/default"}`, 400, "KMS.1101")
	f("update-key-alias", `{"key_id":"KEY","key_alias":"other"}`, 400, "KMS.1104")
	f("update-key-alias", `{"key_id":"`+nobody+`","key_alias":"b"}`, 404, "KMS.0207")
	f("update-key-description", `{"key_id":"KEY"}`, 400, "KMS.0204")
	f("update-key-description", `{"key_id":"KEY","key_description":7}`, 400, "KMS.1103")
	f("update-key-description", `{"key_id":"KEY","key_description":"`+strings.Repeat("é", 256)+`"}`, 400, "KMS.1103")

	f("schedule-key-deletion", `{"key_id":"KEY"}`, 400, "KMS.0204")
	f("schedule-key-deletion", `{"key_id":"KEY","pending_days":""}`, 400, "KMS.0204")
	for _, days := range []string{`0`, `6`, `"1097"`, `-7`, `"soon"`, `7.5`, `70000`} {
		f("schedule-key-deletion", `{"key_id":"KEY","pending_days":`+days+`}`, 400, "KMS.1401")
	}
	f("schedule-key-deletion", `{"key_id":"`+nobody+`","pending_days":"7"}`, 404, "KMS.0207")

	f("update-key-rotation-interval", `{"key_id":"KEY"}`, 400, "KMS.0204")
	for _, days := range []string{`0`, `29`, `"366"`, `"yearly"`} {
		f("update-key-rotation-interval", `{"key_id":"KEY","rotation_interval":`+days+`}`, 400, "KMS.3001")
	}
	f("update-key-rotation-interval", `{"key_id":"KEY","rotation_interval":30}`, 400, "KMS.0313")
	f("disable-key-rotation", `{"key_id":"KEY"}`, 400, "KMS.0313")
	f("list-key-versions", `{"key_id":"KEY","limit":0}`, 400, "KMS.1601")
	f("list-key-versions", `{"key_id":"KEY","marker":0}`, 400, "KMS.1602")

	f("aliases", `{"key_id":"KEY"}`, 400, "KMS.0204")
	for _, alias := range []string{`a b`, `alias/`, `s3/default`, `alias/aws/s3`, strings.Repeat("a", 256)} {
		f("aliases", `{"key_id":"KEY","alias":"`+alias+`"}`, 400, "KMS.1101")
	}
	f("aliases", `{"key_id":"KEY","alias":"orders"}`, 400, "KMS.1104")
	f("aliases", `{"key_id":"KEY","alias":"alias/other"}`, 400, "KMS.1104")
	f("alias/associate", `{"alias":"x"}`, 400, "KMS.0204")
	f("alias/associate", `{"target_key_id":"KEY"}`, 400, "KMS.0204")
	f("alias/associate", `{"target_key_id":"orders","alias":"x"}`, 400, "KMS.0205")
	f("alias/associate", `{"target_key_id":7,"alias":"x"}`, 400, "KMS.0205")
	f("alias/associate", `{"target_key_id":"KEY","alias":"a b"}`, 400, "KMS.1101")
	f("alias/associate", `{"target_key_id":"KEY","alias":"x"}`, 404, "KMS.0207")
	f("alias/associate", `{"target_key_id":"KEY","alias":"other"}`, 404, "KMS.0207") // the name of a key
	f("DELETE aliases", `{"key_id":"KEY"}`, 400, "KMS.0204")
	f("DELETE aliases", `{"key_id":"KEY","aliases":[]}`, 400, "KMS.0204")
	f("DELETE aliases", `{"key_id":"KEY","aliases":"x"}`, 400, "KMS.1101")
	f("DELETE aliases", `{"key_id":"KEY","aliases":[7]}`, 400, "KMS.1101")
	f("DELETE aliases", `{"key_id":"KEY","aliases":["a b"]}`, 400, "KMS.1101")
	f("DELETE aliases", `{"key_id":"KEY","aliases":["x"]}`, 404, "KMS.0207")
	f("GET aliases?key_id=orders", ``, 400, "KMS.0205")
	f("GET aliases?key_id="+nobody, ``, 404, "KMS.0207")
	f("GET aliases?limit=0", ``, 400, "KMS.1601")
	f("GET aliases?marker=a%20b", ``, 400, "KMS.1602")

	for _, bits := range []string{`0`, `7`, `12`, `"8200"`, `-8`, `"x"`, `[]`} {
		f("gen-random", `{"random_data_length":`+bits+`}`, 400, "KMS.1802")
	}
	f("gen-random", `{}`, 400, "KMS.0204")
}

func TestRefusedStates(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(verb, body, code string) {
		t.Helper()
		if a := w.ask(verb, body); a.status != 400 || a.code(t) != code {
			t.Errorf("%s: %d %s, want %s", verb, a.status, a.body, code)
		}
	}
	var sealed wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`, &sealed)
	ciphertext, err := json.Marshal(sealed.CipherText)
	if err != nil {
		t.Fatal(err)
	}
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+key+`"}`, &dataKey)

	f("enable-key", `{"key_id":"`+key+`"}`, "KMS.1201")
	w.must("disable-key", `{"key_id":"`+key+`"}`, nil)
	f("disable-key", `{"key_id":"`+key+`"}`, "KMS.1301")
	f("create-datakey", `{"key_id":"`+key+`"}`, "KMS.0209")
	f("create-datakey-without-plaintext", `{"key_id":"`+key+`"}`, "KMS.0209")
	f("encrypt-datakey", `{"key_id":"`+key+`","plain_text":"`+zeroKey+`","datakey_plain_length":"64"}`, "KMS.0209")
	f("decrypt-datakey", fmt.Sprintf(`{"key_id":"%s","cipher_text":"%X","datakey_cipher_length":"32"}`, key, []byte(dataKey.CipherText)), "KMS.0209")
	f("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`, "KMS.0209")
	f("decrypt-data", `{"cipher_text":`+string(ciphertext)+`}`, "KMS.0209")
}

func TestRefusedCiphertexts(t *testing.T) {
	w := newWorld(t)
	key, other := w.createKey("orders"), w.createKey("other")
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+key+`"}`, &dataKey)
	f := func(name, key string, ciphertext []byte, length int, code string) {
		t.Helper()
		a := w.ask("decrypt-datakey", fmt.Sprintf(`{"key_id":"%s","cipher_text":"%x","datakey_cipher_length":%d}`, key, ciphertext, length))
		if a.status != 400 || a.code(t) != code {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, code)
		}
		if strings.Contains(a.body, fmt.Sprintf("%X", []byte(dataKey.PlainText))) {
			t.Errorf("%s: the answer holds the data key", name)
		}
	}
	f("another key", other, dataKey.CipherText, 32, "KMS.2201")
	f("another length", key, dataKey.CipherText, 31, "KMS.2204")
	f("cut", key, dataKey.CipherText[:len(dataKey.CipherText)-1], 32, "KMS.2201")
	for i := range dataKey.CipherText {
		if 2 <= i && i < 18 {
			continue // the key's id: another key, or none
		}
		tampered := append([]byte(nil), dataKey.CipherText...)
		tampered[i] ^= 1
		f(fmt.Sprint("byte ", i), key, tampered, 32, "KMS.2201")
	}
	// A data key's ciphertext is not data's.
	encoded, err := json.Marshal(wire.Base64(dataKey.CipherText))
	if err != nil {
		t.Fatal(err)
	}
	if a := w.ask("decrypt-data", `{"cipher_text":`+string(encoded)+`}`); a.status != 400 || a.code(t) != "KMS.2201" {
		t.Errorf("a data key opened as data: %d %s", a.status, a.body)
	}
}

func TestRefusedIdentities(t *testing.T) {
	w := newWorld(t)
	const body = `{"key_alias":"orders"}`
	f := func(name string, a answered, status int, code, message string) {
		t.Helper()
		if a.status != status || a.code(t) != code || !strings.Contains(a.body, message) {
			t.Errorf("%s: %d %s, want %d %s %q", name, a.status, a.body, status, code, message)
		}
		if trace := w.traces.last(t); trace.ErrorCode != code || trace.TraceName != "createKey" || trace.SourceIP == "" || trace.UserAgent == "" {
			t.Errorf("%s is traced as %+v", name, trace)
		}
	}
	now := time.Now()
	good := func(alter ...asking) answered { return w.ask("create-key", body, alter...) }
	const fails = "Incorrect IAM authentication information: verify aksk signature fail"
	f("wrong secret", w.askIn(fsmtest.ProjectID, fsmtest.AccessKeyID, secretKey+"x", now, "create-key", body), 401, "APIGW.0301", fails+`"`)
	f("unknown key", w.askIn(fsmtest.ProjectID, "NOBODY", secretKey, now, "create-key", body), 401, "APIGW.0301", fails+`"`)
	f("stale", w.askIn(fsmtest.ProjectID, fsmtest.AccessKeyID, secretKey, now.Add(-16*time.Minute), "create-key", body), 401, "APIGW.0301", "X-Sdk-Date is more than 15 minutes from the server's time\"")
	f("future", w.askIn(fsmtest.ProjectID, fsmtest.AccessKeyID, secretKey, now.Add(16*time.Minute), "create-key", body), 401, "APIGW.0301", "X-Sdk-Date is more than 15 minutes from the server's time\"")
	f("no signature", good(func(r *http.Request) { r.Header.Del("Authorization") }), 401, "APIGW.0301", "x-auth-token not found")
	f("two signatures", good(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }), 401, "APIGW.0301", "malformed")
	f("two dates", good(func(r *http.Request) { r.Header.Add("X-Sdk-Date", r.Header.Get("X-Sdk-Date")) }), 401, "APIGW.0301", "X-Sdk-Date")
	f("another body", good(func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(strings.Replace(body, "o", "0", 1)))
	}), 401, "APIGW.0301", fails)
	f("another path", good(func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "/v1.0/b0", "/v1.0/a0", 1) }), 401, "APIGW.0301", fails)
	f("a query", good(func(r *http.Request) { r.URL.RawQuery = "a=1" }), 401, "APIGW.0301", fails)
	f("wrong project", w.askIn(strings.Repeat("0", 32), fsmtest.AccessKeyID, secretKey, now, "create-key", body), 403, "KMS.0321", "project")
	if a := good(); a.status != 200 {
		t.Errorf("after all that: %d %s", a.status, a.body)
	}
}

// What the service says in its kinds the dialect says in its codes, and of what
// it does not know it tells nothing.
func TestRefusedByTheService(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(err error, status int, code, message string) {
		t.Helper()
		w.service.err = err
		a := w.ask("describe-key", `{"key_id":"`+key+`"}`)
		if a.status != status || a.code(t) != code || !strings.Contains(a.body, message) {
			t.Errorf("%v: %d %s, want %d %s %q", err, a.status, a.body, status, code, message)
		}
		if strings.Contains(a.body, "hidden") {
			t.Errorf("%v: the answer tells too much: %s", err, a.body)
		}
		if got := a.header.Get("Retry-After"); (got != "") != (status == 503) {
			t.Errorf("%v: Retry-After %q", err, got)
		}
	}
	hidden := errors.New("hidden")
	kind := func(k kms.Kind) error { return &kms.Error{Kind: k, Message: "said", Err: hidden} }
	f(hidden, 500, "KMS.0101", "")
	f(&kms.Error{Kind: kms.KindInternal, Message: "hidden too", Err: hidden}, 500, "KMS.0101", "")
	f(&kms.Error{Kind: 200, Message: "hidden"}, 500, "KMS.0101", "")
	f(fmt.Errorf("around: %w", kind(kms.KindNotFound)), 404, "KMS.0207", "said")
	f(&kms.Error{Kind: kms.KindQuota}, 400, "KMS.1105", "The project has as many keys")
	f(kind(kms.KindInvalid), 400, "KMS.0308", "said")
	f(&kms.Error{Kind: kms.KindInvalid, Parameter: "name", Message: "said"}, 400, "KMS.1101", "said")
	f(kind(kms.KindUnauthenticated), 401, "APIGW.0301", "said")
	f(kind(kms.KindForbidden), 403, "KMS.0306", "said")
	f(kind(kms.KindWrongProject), 403, "KMS.0321", "said")
	f(kind(kms.KindNotFound), 404, "KMS.0207", "said")
	f(kind(kms.KindNameTaken), 400, "KMS.1104", "said")
	f(kind(kms.KindQuota), 400, "KMS.1105", "said")
	f(kind(kms.KindNotEnabled), 400, "KMS.1301", "said")
	f(kind(kms.KindNotDisabled), 400, "KMS.1201", "said")
	f(kind(kms.KindKeyDisabled), 400, "KMS.0209", "said")
	f(kind(kms.KindKeyPendingDeletion), 400, "KMS.0210", "said")
	f(kind(kms.KindKeyPendingImport), 400, "KMS.1301", "said")
	f(kind(kms.KindUsage), 400, "KMS.0335", "said")
	f(kind(kms.KindCiphertext), 400, "KMS.2201", "said")
	f(kind(kms.KindUnsupported), 400, "KMS.0308", "said")
	f(kind(kms.KindConflict), 400, "KMS.0308", "said")
	f(kind(kms.KindUnavailable), 503, "KMS.0104", "said")
	f(kind(kms.KindOutcomeUnknown), 500, "KMS.0103", "said")
	f(kind(kms.KindTraceFailed), 503, "KMS.0102", "said")
	f(fmt.Errorf("opening: %w", hsm.ErrUnavailable), 503, "KMS.0104", "")
	f(context.DeadlineExceeded, 503, "KMS.0104", "")
}

// Enabling what is not disabled and disabling what is not enabled have one code
// each, whatever state the key is in instead.
func TestRefusedTransitions(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(verb string, kind kms.Kind, code string) {
		t.Helper()
		w.service.err = kms.Refuse(kind, "said")
		if a := w.ask(verb, `{"key_id":"`+key+`"}`); a.status != 400 || a.code(t) != code {
			t.Errorf("%s, kind %d: %d %s, want %s", verb, kind, a.status, a.body, code)
		}
	}
	f("enable-key", kms.KindNotDisabled, "KMS.1201")
	f("enable-key", kms.KindKeyPendingDeletion, "KMS.1201")
	f("enable-key", kms.KindKeyPendingImport, "KMS.1201")
	f("disable-key", kms.KindNotEnabled, "KMS.1301")
	f("disable-key", kms.KindKeyDisabled, "KMS.1301")
	f("disable-key", kms.KindKeyPendingDeletion, "KMS.1301")
	f("disable-key", kms.KindKeyPendingImport, "KMS.1301")
}

// A call that cannot be traced is not answered.
func TestRefusedWithoutATrace(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	w.traces.err = errors.New("disk full")
	a := w.ask("create-datakey", `{"key_id":"`+key+`"}`)
	if a.status != 503 || a.code(t) != "KMS.0102" || strings.Contains(a.body, "plain_text") || strings.Contains(a.body, "disk") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRefusedByTheFrontEnd(t *testing.T) {
	w := newWorld(t)
	f := func(method, path string, status int, code string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, endpoint+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := w.send(r); a.status != status || a.code(t) != code {
			t.Errorf("%s %.40s: %d %s, want %d %s", method, path, a.status, a.body, status, code)
		}
	}
	f("POST", "/v1.0/p/kms/nothing", 404, "KMS.0201")
	f("GET", "/v1.0/p/kms/create-key", 405, "KMS.0215")
	f("GET", "/panic", 500, "KMS.0101")

	// What a client would not write, or in pieces, while the server hangs up.
	raw := func(name, text string, status int, code string) {
		t.Helper()
		if a := w.raw(text); a.status != status || a.code(t) != code {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, status, code)
		}
	}
	raw("a large body", fmt.Sprintf("POST /v1.0/p/kms/create-key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", bodyLimit+1)+strings.Repeat("x", bodyLimit+1), 400, "KMS.0203")
	raw("a long path", "POST /v1.0/p/kms/"+strings.Repeat("x", 20_000)+" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "KMS.0203")
	raw("no HTTP", "POST /v1.0/p/kms/create-key HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", 400, "KMS.0214")
}
