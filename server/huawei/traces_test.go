package huawei_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
)

// The trace of a call tells what was asked and answered, member by member of a
// list, and nothing that is secret.
func TestWhatTracesTell(t *testing.T) {
	w := newWorld(t)
	id := w.createKey("orders")
	plain := strings.Repeat("ab", 32)
	digest := "2bf47a0ed94b6d0f8b3f5fdf2a9d3f4d" // of nothing; the call fails after it was read
	f := func(verb, body string, rating audit.Rating, request, response string) {
		t.Helper()
		w.ask(verb, body)
		r := w.traces.last(t)
		response = strings.ReplaceAll(response, "ITS_ID", r.ResourceID)
		if r.Rating != rating || r.Request.String() != request || r.Response.String() != response {
			t.Errorf("%s: %s, request %s, response %s", verb, r.Rating, r.Request, r.Response)
		}
		if r.ResourceURL != "/v1.0/"+fsmtest.ProjectID+"/kms/"+verb || r.User.DomainName == "" || r.User.AccessKeyID != fsmtest.AccessKeyID {
			t.Errorf("%s: URL %s, user %+v", verb, r.ResourceURL, r.User)
		}
		all := r.Request.String() + r.Response.String() + r.Message
		if strings.Contains(all, plain) || strings.Contains(all, "hush") {
			t.Errorf("%s: the trace tells a secret: %s", verb, all)
		}
	}
	f("create-key", `{"key_alias":"more","key_description":"hush"}`, audit.RatingNormal,
		`{"key_alias":"more","key_spec":"AES_256","key_usage":"ENCRYPT_DECRYPT","origin":"kms","protection_level":"SOFTWARE"}`, `{"key_id":"ITS_ID"}`)
	f("describe-key", `{"key_id":"alias/orders"}`, audit.RatingNormal, `{"key_id":"alias/orders"}`, "")
	f("create-datakey", `{"key_id":"`+id+`","datakey_length":"512","encryption_context":{"b":"2","a":"1"}}`, audit.RatingNormal,
		`{"key_id":"`+id+`","bits":512,"encryption_context":{"a":"1","b":"2"}}`, `{"key_version":1}`)
	f("create-datakeys", `{"key_id":"`+id+`","count":"1000"}`, audit.RatingNormal,
		`{"key_id":"`+id+`","bits":256,"count":1000}`, `{"key_version":1}`)
	f("encrypt-data", `{"key_id":"`+id+`","plain_text":"`+plain+`","additional_authenticated_data":"hush"}`, audit.RatingNormal,
		`{"key_id":"`+id+`","bits":512,"additional_authenticated_data_sha256":"25b818295a36862cfd814260b9491438"}`, `{"key_version":1}`)
	f("encrypt-datakey", `{"key_id":"`+id+`","plain_text":"`+plain+digest+`","datakey_plain_length":"32"}`, audit.RatingWarning, "", "")
	f("gen-random", `{"random_data_length":"512"}`, audit.RatingNormal, `{"bits":512}`, "")
	f("disable-key", `{"key_id":"`+id+`"}`, audit.RatingNormal, `{"key_id":"`+id+`"}`, `{"key_state":"disabled"}`)
	f("create-datakey", `{"key_id":"`+id+`"}`, audit.RatingWarning, `{"key_id":"`+id+`","bits":256}`, "")
	if r := w.traces.last(t); r.ErrorCode != "KMS.0209" || r.Message != "the key is disabled; enable it first" {
		t.Errorf("code %s, message %q", r.ErrorCode, r.Message)
	}
}

// The trace of a call that was not authenticated names the access key that it
// claimed, where it claimed one.
func TestTheTraceNamesTheClaimedKey(t *testing.T) {
	w := newWorld(t)
	f := func(want string, alter asking) {
		t.Helper()
		if a := w.ask("list-keys", "{}", alter); a.status != 401 {
			t.Fatalf("status %d", a.status)
		}
		r := w.traces.last(t)
		if r.User != (audit.User{AccessKeyID: want}) || r.Code != "401" || r.Rating != audit.RatingWarning {
			t.Errorf("user %+v, code %s", r.User, r.Code)
		}
	}
	f(fsmtest.AccessKeyID, func(r *http.Request) { r.URL.RawQuery = "a=1" })
	f("", func(r *http.Request) { r.Header.Del("Authorization") })
	f("", func(r *http.Request) {
		r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=~, SignedHeaders=, Signature=")
	})
	// What was put there may be the secret key.
	claim := func(accessKey string) asking {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), fsmtest.AccessKeyID, accessKey, 1))
		}
	}
	f("UNKNOWN0ACCESSKEY002", claim("UNKNOWN0ACCESSKEY002"))
	f("", claim(secretKey))
	f("", claim("unknown0accesskey002"))
	f("", claim("UNKNOWN0ACCESSKEY0021"))
}

// On a full disk nothing is answered whose trace cannot be written, and the
// refusal says why; what is refused anyhow goes on being refused by its own
// reason, as the log's reserve has room for those traces; and with room again
// all is as before.
func TestAFullDiskOfTraces(t *testing.T) {
	w := newWorld(t)
	id := w.createKey("orders")
	full := true
	var refused []string
	w.traces.through = func(_ context.Context, r *audit.Record) error {
		switch {
		case !full:
			return nil
		case r.Rating == audit.RatingNormal:
			return fmt.Errorf("%w: no space left on device", audit.ErrFull)
		}
		refused = append(refused, r.TraceName+" "+r.Code)
		return nil
	}
	crypto := map[string]string{
		"create-datakey":                   `{"key_id":"` + id + `","datakey_length":"512"}`,
		"create-datakey-without-plaintext": `{"key_id":"` + id + `","datakey_length":"512"}`,
		"encrypt-data":                     `{"key_id":"` + id + `","plain_text":"text"}`,
		"gen-random":                       `{"random_data_length":"512"}`,
	}
	for verb, body := range crypto {
		a := w.ask(verb, body)
		if a.status != 503 || !strings.Contains(a.body, `"KMS.0102"`) || !strings.Contains(a.body, "the disk for traces of this node is full") ||
			strings.Contains(a.body, "plain_text") || strings.Contains(a.body, "cipher_text") || strings.Contains(a.body, "random_data") {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
	if a := w.ask("describe-key", `{"key_id":"`+strings.Repeat("0", 8)+id[8:]+`"}`); a.status != 404 || len(refused) != 1 || refused[0] != "describeKey 404" {
		t.Errorf("%d %s, traced %q", a.status, a.body, refused)
	}
	full = false
	for verb, body := range crypto {
		if a := w.ask(verb, body); a.status != 200 {
			t.Errorf("with room again, %s: %d %s", verb, a.status, a.body)
		}
	}
}
