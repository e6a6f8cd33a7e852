package iam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
)

var layouts = map[string]sign{"A": signA, "B": signB, "C": signC}

var post = message{
	method: "POST", path: path, body: `{"key_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37f"}` + "\n",
	headers: map[string]string{"Content-Type": "application/json;charset=UTF-8", "User-Agent": "huaweicloud-usdk-go/3.0", "X-Project-Id": "0b0b"},
}

func wantReason(t *testing.T, err error, part string) {
	t.Helper()
	refused, ok := errors.AsType[*iam.Error](err)
	if !ok || !strings.Contains(refused.Reason, part) {
		t.Errorf("error = %v, want a refusal with %q", err, part)
	}
	if ok && !strings.HasPrefix(refused.Error(), "Incorrect IAM authentication information: ") {
		t.Errorf("error = %q, which is not how the gateway puts it", refused)
	}
}

func TestVerifyAcceptsWhatClientsSign(t *testing.T) {
	f := func(name string, m message) {
		t.Helper()
		for layout, sign := range layouts {
			r := received(m, sign(t, m, testAK, testSK, signedAt))
			got, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), r)
			want := iam.Principal{UserID: "u1", UserName: "admin", DomainID: "d1", AccessKeyID: testAK}
			if err != nil || got != want {
				t.Errorf("%s in layout %s: %+v, %v", name, layout, got, err)
			}
		}
	}
	f("a POST", post)
	f("a GET without anything", message{method: "GET", path: "/v3/projects"})
	f("a GET with a body", message{method: "GET", path: "/v3/projects", body: "{}"})
	f("the root", message{method: "GET", path: "/"})
	f("a path with a slash at its end", message{method: "GET", path: "/v3/projects/"})
	f("a path with escapes", message{method: "DELETE", path: "/v1.0/p/kms/k/tags/a%20b%3Ac~%C3%A9"})
	f("a path escaped without need", message{method: "DELETE", path: "/v1.0/p/kms/k/t%61gs"})
	f("a query", message{method: "GET", path: "/v3/projects", query: "name=region-1&limit=10&empty="})
	f("a query to be sorted and escaped", message{method: "GET", path: "/x", query: "b=2&a=1%2F2&c=x+y&d=%E4%B8%AD%2B"})
	f("a header with spaces", message{method: "GET", path: "/", headers: map[string]string{"X-Note": "  one   two  "}})
}

// Layout A sorts the values of a key; layout B signs the first one only, so
// more than one is refused there.
func TestVerifyRepeatedQueryKeys(t *testing.T) {
	m := message{method: "GET", path: "/x", query: "a=2&a=1"}
	if _, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), received(m, signA(t, m, testAK, testSK, signedAt))); err != nil {
		t.Errorf("layout A: %v", err)
	}
	_, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), received(m, signB(t, m, testAK, testSK, signedAt)))
	wantReason(t, err, "URL")
}

func TestVerifyQueryOfBodylessPostInLayoutB(t *testing.T) {
	m := message{method: "POST", path: "/x", query: "b=x+y&a=1"}
	if _, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), received(m, signB(t, m, testAK, testSK, signedAt))); err != nil {
		t.Error(err)
	}
	altered := received(m, signB(t, m, testAK, testSK, signedAt))
	altered.Query = []byte("b=x+y&a=2")
	_, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), altered)
	wantReason(t, err, "verify aksk signature fail")
}

// Signatures published with another implementation of layout B.
func TestVerifyKnownSignatures(t *testing.T) {
	at := time.Unix(1, 0).UTC()
	f := func(region, service, signature string) {
		t.Helper()
		d := newDirectory()
		d.keys["ak"] = &state.AccessKey{ID: "ak", UserID: "u1", SealedSecret: []byte("sk"), Enabled: true}
		r := &iam.Request{Method: []byte("GET"), Path: []byte("/"), Headers: []iam.Header{
			{Name: []byte("Host"), Value: []byte("example.com")},
			{Name: []byte("X-Sdk-Date"), Value: []byte("19700101T000001Z")},
			{Name: []byte("X-Project-Id"), Value: []byte("project")},
			{Name: []byte("Authorization"), Value: fmt.Appendf(nil,
				"SDK-HMAC-SHA256 Credential=ak/19700101/%s/%s/sdk_request, SignedHeaders=host;x-project-id;x-sdk-date, Signature=%s", region, service, signature)},
		}}
		if _, err := newVerifier(t, at).Verify(t.Context(), d, r); err != nil {
			t.Errorf("region %q, service %q: %v", region, service, err)
		}
	}
	f("", "", "ec385090522c25504a5b574c7195ac56bf37081d90f74fc093a2676f906cb057")
	f("", "service", "1feb87f00aa9a1ff67e17b7166f9e3f599ae8e134e38817bdf3135efa5317535")
	f("region", "", "0fc9c2559c07ac70d086fa9bef16f34273b7886b3d1b57f5b5af8e88769f2c8e")
	f("region", "service", "8bdb0e44341d71482390afe6536fa5f3ecfa6da7956ee95d1f8a60b7ab871240")
}

// set replaces a header, or adds it.
func set(r *iam.Request, name, value string) {
	for i := range r.Headers {
		if strings.EqualFold(string(r.Headers[i].Name), name) {
			r.Headers[i].Value = []byte(value)
			return
		}
	}
	add(r, name, value)
}

func add(r *iam.Request, name, value string) {
	r.Headers = append(r.Headers, iam.Header{Name: []byte(name), Value: []byte(value)})
}

func get(r *iam.Request, name string) string {
	for _, h := range r.Headers {
		if strings.EqualFold(string(h.Name), name) {
			return string(h.Value)
		}
	}
	return ""
}

func TestVerifyRefusesAlteredRequests(t *testing.T) {
	f := func(name, reason string, alter func(r *iam.Request)) {
		t.Helper()
		for layout, sign := range layouts {
			r := received(post, sign(t, post, testAK, testSK, signedAt))
			alter(r)
			got, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), r)
			if err == nil || got != (iam.Principal{}) {
				t.Errorf("%s in layout %s: accepted", name, layout)
				continue
			}
			wantReason(t, err, reason)
		}
	}
	const fails = "verify aksk signature fail"
	f("method", fails, func(r *iam.Request) { r.Method = []byte("PUT") })
	f("path", fails, func(r *iam.Request) { r.Path = append(r.Path, "-without-plaintext"...) })
	f("bad escape in the path", "URL", func(r *iam.Request) { r.Path = []byte("/v1.0/%4") })
	f("bad hex in the path", "URL", func(r *iam.Request) { r.Path = []byte("/v1.0/%zz") })
	f("query", fails, func(r *iam.Request) { r.Query = []byte("a=1") })
	f("bad query", "URL", func(r *iam.Request) { r.Query = []byte("a=%zz") })
	f("one byte of the body", fails, func(r *iam.Request) { r.Body[0]++ })
	f("no line's end in the body", fails, func(r *iam.Request) { r.Body = bytes.TrimSpace(r.Body) })
	f("signed header", fails, func(r *iam.Request) { set(r, "X-Project-Id", "0b0c") })
	f("signed header twice", "more than once", func(r *iam.Request) { add(r, "x-project-id", "0b0b") })
	f("signed header gone", "missing", func(r *iam.Request) {
		set(r, "Authorization", strings.Replace(get(r, "Authorization"), "x-project-id", "x-nothing", 1))
	})
	f("other date", fails, func(r *iam.Request) { set(r, "X-Sdk-Date", "20261122T053401Z") })
	f("no authorization", "x-auth-token not found", func(r *iam.Request) { r.Headers = without(r, "Authorization") })
	f("a token", "decrypt token fail", func(r *iam.Request) { r.Headers = without(r, "Authorization"); add(r, "X-Auth-Token", "MIIabc") })
	f("authorization twice", "malformed", func(r *iam.Request) { add(r, "Authorization", get(r, "Authorization")) })
	f("no date", "X-Sdk-Date is missing", func(r *iam.Request) { r.Headers = without(r, "X-Sdk-Date") })
	f("date twice", "X-Sdk-Date is missing", func(r *iam.Request) { add(r, "x-sdk-date", get(r, "X-Sdk-Date")) })
	f("date of another form", "X-Sdk-Date is missing", func(r *iam.Request) { set(r, "X-Sdk-Date", "2026-11-22T05:34") })
	f("date that is none", "X-Sdk-Date is missing", func(r *iam.Request) { set(r, "X-Sdk-Date", "20261322T053400Z") })
	f("hash of another body", "X-Sdk-Content-Sha256", func(r *iam.Request) { add(r, "X-Sdk-Content-Sha256", hash("other")) })
	f("hash that is none", "X-Sdk-Content-Sha256", func(r *iam.Request) { add(r, "X-Sdk-Content-Sha256", "sha") })
	f("hash in bad hex", "X-Sdk-Content-Sha256", func(r *iam.Request) { add(r, "X-Sdk-Content-Sha256", strings.Repeat("z", 64)) })
	f("hash twice", "more than once", func(r *iam.Request) {
		add(r, "X-Sdk-Content-Sha256", hash(post.body))
		add(r, "X-Sdk-Content-Sha256", hash(post.body))
	})
	f("unsigned body", "X-Sdk-Content-Sha256", func(r *iam.Request) { add(r, "X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD") })
	f("signature", fails, func(r *iam.Request) {
		value := get(r, "Authorization")
		last := "0"
		if strings.HasSuffix(value, last) {
			last = "1"
		}
		set(r, "Authorization", value[:len(value)-1]+last)
	})
}

func without(r *iam.Request, name string) []iam.Header {
	var rest []iam.Header
	for _, h := range r.Headers {
		if !strings.EqualFold(string(h.Name), name) {
			rest = append(rest, h)
		}
	}
	return rest
}

func TestVerifyTakesAHashSentInAHeader(t *testing.T) {
	m := post
	m.headers = map[string]string{"X-Sdk-Content-Sha256": hash(post.body)}
	for layout, sign := range map[string]sign{"A": signA, "C": signC} {
		if _, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), received(m, sign(t, m, testAK, testSK, signedAt))); err != nil {
			t.Errorf("layout %s: %v", layout, err)
		}
	}
	// An empty body may be left unsigned; clients do so for other types than JSON.
	m = message{method: "GET", path: "/x", headers: map[string]string{"Content-Type": "application/octet-stream"}}
	headers := signA(t, m, testAK, testSK, signedAt)
	headers["X-Sdk-Content-Sha256"] = "UNSIGNED-PAYLOAD" // as the SDK has added to what it signed
	if _, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), received(m, headers)); err != nil {
		t.Errorf("an unsigned empty body: %v", err)
	}
}

func TestVerifyWindow(t *testing.T) {
	f := func(away time.Duration, ok bool) {
		t.Helper()
		for layout, sign := range layouts {
			r := received(post, sign(t, post, testAK, testSK, signedAt))
			_, err := newVerifier(t, signedAt.Add(away)).Verify(t.Context(), newDirectory(), r)
			if ok && err != nil {
				t.Errorf("%v away in layout %s: %v", away, layout, err)
			}
			if !ok {
				wantReason(t, err, "15 minutes")
			}
		}
	}
	f(iam.Window, true)
	f(-iam.Window, true)
	f(iam.Window+time.Second, false)
	f(-iam.Window-time.Second, false)
	f(24*time.Hour, false)
}

// The scope's date is part of the key; it must be the request's.
func TestVerifyScopeDate(t *testing.T) {
	for _, sign := range []sign{signB, signC} {
		r := received(post, sign(t, post, testAK, testSK, signedAt))
		set(r, "Authorization", strings.Replace(get(r, "Authorization"), "/20261122/", "/20261121/", 1))
		_, err := newVerifier(t, signedAt).Verify(t.Context(), newDirectory(), r)
		wantReason(t, err, "X-Sdk-Date")
	}
}

func TestVerifyIdentities(t *testing.T) {
	f := func(name, reason, sk string, change func(d *directory)) {
		t.Helper()
		d := newDirectory()
		change(d)
		_, err := newVerifier(t, signedAt).Verify(t.Context(), d, received(post, signA(t, post, testAK, sk, signedAt)))
		wantReason(t, err, reason)
	}
	f("wrong secret", "verify aksk signature fail", testSK+"x", func(*directory) {})
	f("unknown key", "verify aksk signature fail", testSK, func(d *directory) { delete(d.keys, testAK) })
	f("disabled key", "ak is disabled", testSK, func(d *directory) { d.keys[testAK].Enabled = false })
	f("disabled key, wrong secret: nothing is told", "verify aksk signature fail", testSK+"x", func(d *directory) { d.keys[testAK].Enabled = false })
	f("no user", "user is disabled", testSK, func(d *directory) { delete(d.users, "u1") })
	f("disabled user", "user is disabled", testSK, func(d *directory) { d.users["u1"].Enabled = false })
	f("no domain", "domain is disabled", testSK, func(d *directory) { delete(d.domains, "d1") })
	f("disabled domain", "domain is disabled", testSK, func(d *directory) { d.domains["d1"].Enabled = false })
}

// Not being able to open a secret is not a refusal.
func TestVerifyPassesOnWhatOpeningSays(t *testing.T) {
	gone := errors.New("module gone")
	secrets := iam.NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) { return nil, gone })
	defer secrets.Close()
	v := iam.NewVerifier(secrets, func() time.Time { return signedAt })
	_, err := v.Verify(t.Context(), newDirectory(), received(post, signA(t, post, testAK, testSK, signedAt)))
	if _, refused := errors.AsType[*iam.Error](err); !errors.Is(err, gone) || refused {
		t.Errorf("error = %v, want the module's", err)
	}
}
