package aksk_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"

	"github.com/raftkms/raftkms/client/aksk"
)

// TestAgainstTheSDK has the vendor's SDK sign the same requests: its signature
// and ours must be the same text.
func TestAgainstTheSDK(t *testing.T) {
	now := time.Now()
	date := aksk.FormatDate(now)
	f := func(method, path string, query url.Values, headers map[string]string, body string) {
		t.Helper()
		builder := request.NewHttpRequestBuilder().WithEndpoint("https://kms.example.com").
			WithPath(path).WithMethod(method).AddHeaderParam(aksk.DateHeader, date)
		for name, value := range headers {
			builder.AddHeaderParam(http.CanonicalHeaderKey(name), value)
		}
		for key, values := range query {
			builder.AddQueryParam(key, reflect.ValueOf(values))
		}
		if body != "" {
			builder.WithBody("", body)
		}
		theirs, err := signer.Sign(builder.Build(), "AKEXAMPLE", "secret-example")
		if err != nil {
			t.Fatal(err)
		}
		ours := aksk.NewSigner("AKEXAMPLE", "secret-example").Authorization(aksk.Request{
			Method: method, Path: path, Query: query, Headers: headers, Body: []byte(body), Date: date,
		})
		if want := theirs["Authorization"]; ours != want {
			t.Errorf("%s %s:\n got %s\nwant %s", method, path, ours, want)
		}
	}
	f("GET", "/", nil, nil, "")
	f("GET", "/v3/projects", url.Values{"name": {"region-1"}}, nil, "")
	f("GET", "/v1.0/p/kms", url.Values{"b": {"2"}, "a": {"x y", "ä/~*"}, "empty": {""}}, nil, "")
	f("POST", "/v1.0/p/kms/create-key", nil, map[string]string{"x-project-id": "p", "x-client-token": " spaced "}, "")
}

func TestTheBodyIsCovered(t *testing.T) {
	s := aksk.NewSigner("AK", "SK")
	r := aksk.Request{Method: "POST", Path: "/a", Date: aksk.FormatDate(time.Unix(0, 0)), Body: []byte(`{"a":1}`)}
	one := s.Authorization(r)
	r.Body = append(r.Body, '\n')
	if one == s.Authorization(r) {
		t.Error("a changed body keeps its signature")
	}
}

const goldenSignature = "19c176b53e6c3628ff918548122912ff0449023976efc70fb571d096e31f8a92"

// TestGolden pins the text of one signature, calculated with another implementation of
// the layout.
func TestGolden(t *testing.T) {
	got := aksk.NewSigner("AKEXAMPLE", "secret-example").Authorization(aksk.Request{
		Method: "POST", Path: "/v1.0/0123/kms/create-datakey",
		Headers: map[string]string{"host": "127.0.0.1:8440"},
		Body:    []byte(`{"key_id":"k"}`), Date: "20261122T000000Z",
	})
	want := "SDK-HMAC-SHA256 Access=AKEXAMPLE, SignedHeaders=host;x-sdk-date, Signature="
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %s", got)
	}
	if sig := strings.TrimPrefix(got, want); sig != goldenSignature {
		t.Errorf("signature %s, want %s", sig, goldenSignature)
	}
}
