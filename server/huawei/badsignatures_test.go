package huawei_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// A signature that is not the one thing it must be is refused with 401 in the
// gateway's shape, by a handler that has looked at nothing else: whether the
// key that the request is about exists changes no byte of the answer.
func TestBadSignatures(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(name, message string, alter asking) {
		t.Helper()
		var first string
		for _, about := range []string{key, fsmtest.KeyID("not there")} {
			a := w.ask("describe-key", `{"key_id":"`+about+`"}`, alter)
			if a.status != 401 || a.code(t) != "APIGW.0301" || !strings.Contains(a.body, message) {
				t.Errorf("%s: %d %s, want 401 and %q", name, a.status, a.body, message)
			}
			body := strings.Replace(a.body, a.header.Get("X-Request-Id"), "", 1)
			if first == "" {
				first = body
			}
			if body != first || strings.Contains(body, about) {
				t.Errorf("%s: %s, before %s", name, body, first)
			}
			if trace := w.traces.last(t); trace.ErrorCode != "APIGW.0301" || trace.User.ID != "" {
				t.Errorf("%s is traced as %+v", name, trace)
			}
		}
	}
	const fails = "verify aksk signature fail"
	authorization := func(change func(string) string) asking {
		return func(r *http.Request) { r.Header.Set("Authorization", change(r.Header.Get("Authorization"))) }
	}
	replace := func(old, with string) asking {
		return authorization(func(s string) string { return strings.Replace(s, old, with, 1) })
	}
	signedHeaders := func(change func(names string) string) asking {
		return authorization(func(s string) string {
			before, rest, _ := strings.Cut(s, "SignedHeaders=")
			names, after, _ := strings.Cut(rest, ",")
			return before + "SignedHeaders=" + change(names) + "," + after
		})
	}

	for _, algorithm := range []string{"SDK-HMAC-SM3", "SDK-ECDSA-P256-SHA256", "SDK-SM2-SM3", "AWS4-HMAC-SHA256", "sdk-hmac-sha256", "SDK-HMAC-SHA1", "none", "Basic"} {
		f("the algorithm "+algorithm, "algorithm is not supported", replace("SDK-HMAC-SHA256", algorithm))
	}
	f("another layout's algorithm", "malformed", replace("SDK-HMAC-SHA256", "V11-HMAC-SHA256"))
	f("another layout's credential", "malformed", replace("Access=", "Credential="))
	f("an empty one", "not supported", authorization(func(string) string { return "" }))
	f("the algorithm alone", "malformed", authorization(func(string) string { return "SDK-HMAC-SHA256" }))
	f("cut", "malformed", authorization(func(s string) string { return s[:len(s)-1] }))
	f("longer", "malformed", authorization(func(s string) string { return s + "0" }))
	f("another digit", fails, authorization(func(s string) string {
		last := "0"
		if strings.HasSuffix(s, "0") {
			last = "1"
		}
		return s[:len(s)-1] + last
	}))
	f("a member twice", "malformed", authorization(func(s string) string { return s + ", " + s[strings.LastIndex(s, "Signature="):] }))
	f("huge", "malformed", authorization(func(s string) string { return strings.Replace(s, ", ", ","+strings.Repeat(" ", 3000), 1) }))

	f("the date is not signed", "malformed", signedHeaders(func(names string) string { return strings.Replace(names, "x-sdk-date", "accept", 1) }))
	f("no header is signed", "malformed", signedHeaders(func(string) string { return "" }))
	f("a header is signed twice", "malformed", signedHeaders(func(names string) string { return names + ";X-Sdk-Date" }))
	f("a header is signed that is not there", "missing", signedHeaders(func(names string) string { return names + ";x-not-there" }))
	f("a header is there twice that is signed", "more than once", func(r *http.Request) {
		signedHeaders(func(names string) string { return names + ";x-twice" })(r)
		r.Header["X-Twice"] = []string{"a", "a"}
	})
	f("another header is said to be signed", fails, signedHeaders(func(names string) string { return names + ";user-agent" }))
	f("more headers than are read", "malformed", signedHeaders(func(names string) string {
		for i := range 40 {
			names += fmt.Sprintf(";x-%d", i)
		}
		return names
	}))
	f("no date", "X-Sdk-Date", func(r *http.Request) { r.Header.Del("X-Sdk-Date") })
	f("two dates", "X-Sdk-Date", func(r *http.Request) { r.Header.Add("X-Sdk-Date", r.Header.Get("X-Sdk-Date")) })
	for _, date := range []string{"tomorrow", "20261122", "20261122T053400", "99991231T235959Z", "", "20261122T053400Z "} {
		f("the date "+date, "X-Sdk-Date", func(r *http.Request) { r.Header.Set("X-Sdk-Date", date) })
	}
	f("the hash of another body", "X-Sdk-Content-Sha256", func(r *http.Request) { r.Header.Set("X-Sdk-Content-Sha256", strings.Repeat("0", 64)) })
	f("two hashes", "", func(r *http.Request) {
		r.Header["X-Sdk-Content-Sha256"] = []string{"UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD"}
	})
	f("a token beside it", "decrypt token fail", func(r *http.Request) { r.Header.Set("X-Auth-Token", "AAAA") })

	// Headers that nobody signs are passed over, however many there are.
	many := func(n int) asking {
		return func(r *http.Request) {
			for i := range n {
				r.Header.Add(fmt.Sprintf("X-Filler-%d", i), "x")
			}
		}
	}
	if a := w.ask("describe-key", `{"key_id":"`+key+`"}`, many(150)); a.status != 200 {
		t.Errorf("150 headers more: %d %s", a.status, a.body)
	}
	// Written at once: the server hangs up before it has read them all.
	if a := w.raw("POST /v1.0/p/kms/describe-key HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-Filler: x\r\n", 5000) + "\r\n"); a.status != 431 || a.code(t) != "KMS.0203" {
		t.Errorf("5000 headers more: %d %s", a.status, a.body)
	}
	// Nor does a project make a difference that is not the credential's.
	const other = "0123456789abcdef0123456789abcdef"
	for _, project := range []string{other, fsmtest.DomainID, "x"} {
		a := w.askIn(project, fsmtest.AccessKeyID, secretKey, time.Now(), "describe-key", `{"key_id":"`+key+`"}`)
		if a.status != 403 || a.code(t) != "KMS.0321" || strings.Contains(a.body, key) {
			t.Errorf("in project %s: %d %s", project, a.status, a.body)
		}
	}
}
