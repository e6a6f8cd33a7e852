package huawei_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/wire"
)

// The bytes of every reply. What differs from run to run stands as a pattern.
func TestReplies(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(verb, body, pattern string) string {
		t.Helper()
		a := w.ask(verb, body)
		pattern = strings.NewReplacer("KEY", key, "UUID", `[0-9a-f-]{36}`, "DOMAIN", fsmtest.DomainID).Replace(pattern)
		if !regexp.MustCompile("^"+pattern+"$").MatchString(a.body) || a.status != 200 {
			t.Errorf("%s: %d\ngot  %s\nwant %s", verb, a.status, a.body, pattern)
		}
		if got := a.header.Get("Content-Length"); got != strconv.Itoa(len(a.body)) {
			t.Errorf("%s: Content-Length %s for %d bytes", verb, got, len(a.body))
		}
		return a.body
	}
	const detail = `\{"key_id":"KEY","domain_id":"DOMAIN","key_alias":"orders","realm":"region-1","key_spec":"AES_256",` +
		`"key_usage":"ENCRYPT_DECRYPT","key_description":"","creation_date":"17[0-9]{11}","scheduled_deletion_date":"","key_state":"2",` +
		`"default_key_flag":"0","key_type":"1","expiration_time":"","origin":"kms","key_rotation_enabled":"false","sys_enterprise_project_id":"0","keystore_id":"0","protection_level":"SOFTWARE","deletion_protection":"false"\}`
	f("list-keys", ``, `\{"keys":\["KEY"\],"key_details":\[`+detail+`\],"next_marker":"","truncated":"false","total":1\}`)
	f("create-key", `{"key_alias":"other"}`, `\{"key_info":\{"key_id":"UUID","domain_id":"DOMAIN"\}\}`)
	f("describe-key", `{"key_id":"`+key+`"}`, `\{"key_info":`+detail+`\}`)
	f("disable-key", `{"key_id":"`+key+`"}`, `\{"key_info":\{"key_id":"KEY","key_state":"3"\}\}`)
	f("enable-key", `{"key_id":"`+key+`"}`, `\{"key_info":\{"key_id":"KEY","key_state":"2"\}\}`)
	f("create-datakey", `{"key_id":"`+key+`"}`, `\{"key_id":"KEY","plain_text":"[0-9A-F]{64}","cipher_text":"[0-9A-F]{282,}"\}`)
	f("create-datakey-without-plaintext", `{"key_id":"`+key+`"}`, `\{"key_id":"KEY","cipher_text":"[0-9A-F]{282,}"\}`)
	sealed := f("encrypt-datakey", `{"key_id":"`+key+`","plain_text":"`+zeroKey+`","datakey_plain_length":"64"}`,
		`\{"key_id":"KEY","cipher_text":"[0-9A-F]{282,}","datakey_length":"64"\}`)
	var ciphertext struct {
		Text string `json:"cipher_text"`
	}
	if err := json.Unmarshal([]byte(sealed), &ciphertext); err != nil {
		t.Fatal(err)
	}
	f("decrypt-datakey", `{"key_id":"`+key+`","cipher_text":"`+ciphertext.Text+`","datakey_cipher_length":"64"}`,
		`\{"data_key":"0{128}","datakey_length":"64","datakey_dgst":"F5A5FD42D16A20302798EF6ED309979B43003D2320D9F0E8EA9831A92759FB4B"\}`)
	sealed = f("encrypt-data", `{"key_id":"`+key+`","plain_text":"hello"}`, `\{"key_id":"KEY","cipher_text":"[0-9a-zA-Z+/=]{188,}"\}`)
	if err := json.Unmarshal([]byte(sealed), &ciphertext); err != nil {
		t.Fatal(err)
	}
	f("decrypt-data", `{"cipher_text":"`+ciphertext.Text+`"}`, `\{"key_id":"KEY","plain_text":"hello","plain_text_base64":"aGVsbG8="\}`)
	f("gen-random", `{"random_data_length":"512"}`, `\{"random_data":"[0-9A-F]{128}"\}`)
}

// zeroKey is a data key of 64 zero bytes with its SHA-256, as the reference's
// sample has it.
const zeroKey = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" +
	"f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"

func TestVersions(t *testing.T) {
	w := newWorld(t)
	f := func(path, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", endpoint+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := w.send(r); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %s, want %s", path, a.status, a.body, want)
		}
	}
	const version = `{"id":"v1.0","links":[{"href":"https://kms.example.com/v1.0","rel":"self"}],"version":"","status":"CURRENT","updated":"2018-09-05T08:18:05Z","min_version":""}`
	f("/", `{"versions":[`+version+`]}`)
	f("/v1.0", `{"version":`+version+`}`)
}

func TestListKeysPages(t *testing.T) {
	w := newWorld(t)
	var made []string
	for i := range 5 {
		made = append([]string{w.createKey(fmt.Sprint("key", i))}, made...) // newest first
	}
	w.must("disable-key", `{"key_id":"`+made[1]+`"}`, nil)
	f := func(body string, keys []string, next string, total int) {
		t.Helper()
		var got wire.ListKeysReply
		w.must("list-keys", body, &got)
		truncated := strconv.FormatBool(next != "")
		if diff := cmp.Diff(got.Keys, keys); diff != "" || got.NextMarker != next || got.Truncated != truncated || got.Total != total || len(got.KeyDetails) != len(keys) {
			t.Errorf("%s: next %q, truncated %s, total %d, %d details, keys (-got+want):\n%s", body, got.NextMarker, got.Truncated, got.Total, len(got.KeyDetails), diff)
		}
	}
	f(``, made, "", 5)
	f(`{}`, made, "", 5)
	f(`{"limit":"","marker":""}`, made, "", 5)
	f(`{"limit":2000}`, made, "", 5)
	f(`{"limit":2}`, made[:2], "2", 5)
	f(`{"limit":"2","marker":"2"}`, made[2:4], "4", 5)
	f(`{"limit":2,"marker":4}`, made[4:], "", 5)
	f(`{"limit":5}`, made, "", 5)
	f(`{"limit":2,"marker":5}`, []string{}, "", 5)
	f(`{"limit":2,"marker":"2147483647"}`, []string{}, "", 5)
	f(`{"key_state":"3"}`, made[1:2], "", 1)
	f(`{"key_state":2,"limit":3}`, []string{made[0], made[2], made[3]}, "3", 4)
	f(`{"key_state":"1"}`, []string{}, "", 0)
	f(`{"key_spec":"ALL"}`, made, "", 5)
	f(`{"key_spec":"AES_256"}`, made, "", 5)
	f(`{"key_spec":"RSA_2048"}`, []string{}, "", 0)
}

// Every form of a key's name leads to the key, and answers carry its id.
func TestKeyReferences(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("team/orders:2026_a-b")
	urn := "kms:" + fsmtest.Region + ":" + fsmtest.DomainID + ":alias:team/orders:2026_a-b"
	for _, ref := range []string{key, "alias/team/orders:2026_a-b", urn} {
		for _, verb := range []string{"describe-key", "create-datakey", "create-datakey-without-plaintext"} {
			if body := w.must(verb, `{"key_id":"`+ref+`"}`, nil); !strings.Contains(body, `"key_id":"`+key+`"`) {
				t.Errorf("%s of %s: %s", verb, ref, body)
			}
		}
		for _, verb := range []string{"disable-key", "enable-key"} {
			w.must(verb, `{"key_id":"`+ref+`"}`, nil)
		}
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", `{"key_id":"`+ref+`","plain_text":"x"}`, &sealed)
		ciphertext, err := json.Marshal(sealed.CipherText)
		if err != nil {
			t.Fatal(err)
		}
		w.must("decrypt-data", `{"key_id":"`+ref+`","cipher_text":`+string(ciphertext)+`,"encryption_algorithm":"SYMMETRIC_DEFAULT"}`, nil)
	}
}

func TestDataKeyLengths(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(parameters string, bytes int) {
		t.Helper()
		var got wire.CreateDataKeyReply
		w.must("create-datakey", `{"key_id":"`+key+`"`+parameters+`}`, &got)
		if len(got.PlainText) != bytes {
			t.Errorf("%s: %d bytes, want %d", parameters, len(got.PlainText), bytes)
		}
	}
	f(``, 32)
	f(`,"datakey_length":"","key_spec":""`, 32)
	f(`,"key_spec":"AES_256"`, 32)
	f(`,"key_spec":"AES_128"`, 16)
	f(`,"key_spec":"SM4"`, 16)
	f(`,"key_spec":"HMAC_256"`, 32)
	f(`,"key_spec":"HMAC_384"`, 48)
	f(`,"key_spec":"HMAC_512"`, 64)
	f(`,"key_spec":"HMAC_SM3"`, 32)
	f(`,"datakey_length":64`, 8)
	f(`,"datakey_length":"512","key_spec":"AES_128"`, 64)
	f(`,"datakey_length":"8"`, 1)
	f(`,"datakey_length":"8192"`, 1024)
}

// The two forms of a context are what the ciphertext is bound to.
func TestContexts(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(encrypt, decrypt string, opens bool) {
		t.Helper()
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"`+encrypt+`}`, &sealed)
		ciphertext, err := json.Marshal(sealed.CipherText)
		if err != nil {
			t.Fatal(err)
		}
		a := w.ask("decrypt-data", `{"cipher_text":`+string(ciphertext)+decrypt+`}`)
		if opens != (a.status == 200) {
			t.Errorf("encrypted with %q, decrypted with %q: %d %s", encrypt, decrypt, a.status, a.body)
		}
		if !opens && a.code(t) != "KMS.2201" {
			t.Errorf("code %s", a.body)
		}
	}
	const (
		object  = `,"encryption_context":{"a":"1","b":"2"}`
		shuffle = `,"encryption_context": {"b":"2", "\u0061":"1"}`
		text    = `,"encryption_context":"a=1"`
		aad     = `,"additional_authenticated_data":"a=1"`
	)
	f(object, shuffle, true)
	f(object, ``, false)
	f(``, object, false)
	f(object, `,"encryption_context":{"a":"1"}`, false)
	f(object, `,"encryption_context":"{\"a\":\"1\",\"b\":\"2\"}"`, false)
	f(text, text, true)
	f(text, aad, true)
	f(aad, text, true)
	f(text, `,"encryption_context":"a=2"`, false)
	f(``, `,"encryption_context":""`, true)
	f(`,"encryption_context":{}`, `,"encryption_context":null,"additional_authenticated_data":""`, true)
}

// Data up to the limit goes through, however it has to be escaped.
func TestDataSizes(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	for _, plaintext := range []string{"x", strings.Repeat("x", 4096), strings.Repeat("\x01", 4096), strings.Repeat("😀", 1024)} {
		quoted, err := json.Marshal(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":`+string(quoted)+`}`, &sealed)
		ciphertext, err := json.Marshal(sealed.CipherText)
		if err != nil {
			t.Fatal(err)
		}
		var opened wire.DecryptDataReply
		w.must("decrypt-data", `{"cipher_text":`+string(ciphertext)+`}`, &opened)
		if string(opened.PlainText) != plaintext || string(opened.PlainTextBase64) != plaintext {
			t.Errorf("%d bytes came back as %d and %d", len(plaintext), len(opened.PlainText), len(opened.PlainTextBase64))
		}
	}
}
