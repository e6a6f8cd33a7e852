package iam_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
)

const (
	testAK = "RAFTKMS0ACCESSKEY001"
	testSK = "0123456789abcdefghijABCDEFGHIJ0123456789"
	path   = "/v1.0/0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b/kms/create-datakey"
	host   = "kms.example.com:8443"
)

var signedAt = time.Date(2026, 11, 22, 5, 34, 0, 0, time.UTC)

// directory is a state with one account, one user and one access key.
type directory struct {
	keys    map[string]*state.AccessKey
	users   map[string]*state.User
	domains map[string]*state.Domain
}

func newDirectory() *directory {
	return &directory{
		keys:    map[string]*state.AccessKey{testAK: {ID: testAK, UserID: "u1", SealedSecret: []byte(testSK), Enabled: true}},
		users:   map[string]*state.User{"u1": {ID: "u1", Name: "admin", DomainID: "d1", Enabled: true}},
		domains: map[string]*state.Domain{"d1": {ID: "d1", Name: "account", Enabled: true}},
	}
}

// openSealed opens "sealed" secrets, which in these tests are not.
func openSealed(_ context.Context, ak *state.AccessKey) ([]byte, error) {
	return slices.Clone(ak.SealedSecret), nil
}

func newVerifier(t testing.TB, now time.Time) *iam.Verifier {
	t.Helper()
	secrets := iam.NewSecrets(openSealed)
	t.Cleanup(func() {
		if err := secrets.Close(); err != nil {
			t.Error(err)
		}
	})
	return iam.NewVerifier(secrets, func() time.Time { return now })
}

// message is a request before it is signed.
type message struct {
	method, path, query, body string
	headers                   map[string]string
}

// sign is how a layout's client makes the headers of a request.
type sign func(t testing.TB, m message, ak, sk string, at time.Time) map[string]string

// signA signs with the vendor's SDK.
func signA(t testing.TB, m message, ak, sk string, at time.Time) map[string]string {
	return signWithSDK(t, m, at, func(r *request.DefaultHttpRequest) (map[string]string, error) {
		return signer.Sign(r, ak, sk)
	})
}

// signC signs with the vendor's SDK, with a derived key.
func signC(t testing.TB, m message, ak, sk string, at time.Time) map[string]string {
	return signWithSDK(t, m, at, func(r *request.DefaultHttpRequest) (map[string]string, error) {
		return signer.SignDerived(r, ak, sk, "kms", "region-1")
	})
}

func signWithSDK(t testing.TB, m message, at time.Time, sign func(r *request.DefaultHttpRequest) (map[string]string, error)) map[string]string {
	t.Helper()
	decoded, err := url.PathUnescape(m.path)
	if err != nil {
		t.Fatal(err)
	}
	b := request.NewHttpRequestBuilder().WithEndpoint("https://" + host).WithMethod(m.method).WithPath(decoded)
	if m.body != "" {
		b = b.WithBody("body", m.body)
	}
	query, err := url.ParseQuery(m.query)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range query {
		if len(values) == 1 {
			b = b.AddQueryParam(name, reflect.ValueOf(values[0]))
		} else {
			b = b.AddQueryParam(name, reflect.ValueOf(values))
		}
	}
	headers := map[string]string{}
	for name, value := range m.headers {
		headers[name] = value
		b = b.AddHeaderParam(name, value)
	}
	b = b.AddHeaderParam("X-Sdk-Date", at.UTC().Format("20060102T150405Z"))
	made, err := sign(b.Build())
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range made {
		headers[name] = value
	}
	return headers
}

// signB signs as the clients of the other family do, written from the
// reference: every header there is, the host among them, region and service
// empty, runs of white space collapsed.
func signB(t testing.TB, m message, ak, sk string, at time.Time) map[string]string {
	return signScoped(t, m, ak, sk, "", "", at)
}

func signScoped(t testing.TB, m message, ak, sk, region, service string, at time.Time) map[string]string {
	t.Helper()
	date := at.UTC().Format("20060102T150405Z")
	headers := map[string]string{"Host": host, "X-Sdk-Date": date}
	for name, value := range m.headers {
		headers[name] = value
	}
	var names []string
	for name := range headers {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	var block strings.Builder
	for _, name := range names {
		for original, value := range headers {
			if strings.EqualFold(original, name) {
				block.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
			}
		}
	}
	decoded, err := url.PathUnescape(m.path)
	if err != nil {
		t.Fatal(err)
	}
	segments := strings.Split(decoded, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	}
	canonicalPath := strings.Join(segments, "/")
	if !strings.HasSuffix(canonicalPath, "/") {
		canonicalPath += "/"
	}
	query, err := url.ParseQuery(m.query)
	if err != nil {
		t.Fatal(err)
	}
	canonicalQuery, payload := strings.ReplaceAll(query.Encode(), "+", "%20"), m.body
	if m.method == http.MethodPost && m.body == "" {
		canonicalQuery, payload = "", query.Encode()
	}
	list := strings.Join(names, ";")
	canonical := strings.Join([]string{m.method, canonicalPath, canonicalQuery, block.String(), list, hash(payload)}, "\n")
	scope := date[:8] + "/" + region + "/" + service + "/sdk_request"
	key := []byte("SDK" + sk)
	for _, part := range []string{date[:8], region, service, "sdk_request"} {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "SDK-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hash(canonical)))
	headers["Authorization"] = "SDK-HMAC-SHA256 Credential=" + ak + "/" + scope + ", SignedHeaders=" + list + ", Signature=" + signature
	return headers
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// received is the request as the server sees it: the signed headers, and the
// host, which every client sends.
func received(m message, headers map[string]string) *iam.Request {
	r := &iam.Request{Method: []byte(m.method), Path: []byte(m.path), Query: []byte(m.query), Body: []byte(m.body)}
	if _, ok := headers["Host"]; !ok {
		r.Headers = append(r.Headers, iam.Header{Name: []byte("Host"), Value: []byte(host)})
	}
	for name, value := range headers {
		r.Headers = append(r.Headers, iam.Header{Name: []byte(name), Value: []byte(value)})
	}
	return r
}

// PrincipalByKey implements [iam.Identities].
func (d *directory) PrincipalByKey(accessKeyID, _ string) *state.Principal {
	key, ok := d.keys[accessKeyID]
	if !ok {
		return nil
	}
	p := &state.Principal{AccessKey: key, User: d.users[key.UserID]}
	if p.User == nil {
		return p
	}
	p.Domain = d.domains[p.User.DomainID]
	p.UserID, p.UserName = p.User.ID, p.User.Name
	p.Usable = key.Enabled && p.User.Enabled && p.Domain != nil && p.Domain.Enabled
	return p
}
