package iam

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const someMAC = "55741b610f3c9fa3ae40b5a8021ebf7ebc2a28a603fc62d25cb3bfe6608e1994"

func TestParseAuthorization(t *testing.T) {
	f := func(header string, want *scheme, accessKey, scope string) {
		t.Helper()
		sig, reason := parseAuthorization([]byte(header))
		if reason != "" || sig.scheme != want || string(sig.accessKey) != accessKey || string(sig.scope) != scope {
			t.Errorf("%q: scheme %v, access key %q, scope %q, reason %q", header, sig.scheme, sig.accessKey, sig.scope, reason)
		}
	}
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date, Signature="+someMAC, plain, "AK1", "")
	f("SDK-HMAC-SHA256 Access=AK1,SignedHeaders=a;X-Sdk-Date,Signature="+strings.ToUpper(someMAC), plain, "AK1", "")
	f("SDK-HMAC-SHA256 Credential=AK1/20261122///sdk_request, SignedHeaders=host;x-sdk-date, Signature="+someMAC, scoped, "AK1", "20261122///sdk_request")
	f("SDK-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms/sdk_request, SignedHeaders=host;x-sdk-date, Signature="+someMAC, scoped, "AK1", "20261122/eu-de/kms/sdk_request")
	f("V11-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms, SignedHeaders=x-sdk-date, Signature="+someMAC, derived, "AK1", "20261122/eu-de/kms")
}

func TestParseAuthorizationRefuses(t *testing.T) {
	f := func(header string) {
		t.Helper()
		if sig, reason := parseAuthorization([]byte(header)); reason == "" {
			t.Errorf("%q: accepted as %v", header, sig.scheme)
		}
	}
	const rest = ", SignedHeaders=x-sdk-date, Signature=" + someMAC
	f("")
	f("Bearer abc")
	f("SDK-HMAC-SM3 Access=AK1" + rest)
	f("SDK-ECDSA-P256-SHA256 Access=AK1" + rest)
	f("SDK-HMAC-SHA256")
	f("SDK-HMAC-SHA256 ")
	f("SDK-HMAC-SHA256 Access=" + rest)
	f("SDK-HMAC-SHA256 Access=AK 1" + rest)
	f("SDK-HMAC-SHA256 Access=AK\n" + rest)
	f("SDK-HMAC-SHA256 Access=" + strings.Repeat("A", maxAccessKey+1) + rest)
	f("SDK-HMAC-SHA256 Access=AK1, Access=AK2" + rest)
	f("SDK-HMAC-SHA256 Access=AK1, Credential=AK1/20261122///sdk_request" + rest)
	f("SDK-HMAC-SHA256 Access=AK1, Extra=1" + rest)
	f("SDK-HMAC-SHA256 Access=AK1,, SignedHeaders=x-sdk-date, Signature=" + someMAC)
	f("V11-HMAC-SHA256 Access=AK1" + rest)
	f("V11-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms/sdk_request" + rest)
	f("SDK-HMAC-SHA256 Credential=AK1" + rest)
	f("V11-HMAC-SHA256 Credential=AK1" + rest)
	f("V11-HMAC-SHA256 Credential=AK1/20261122/eu-de" + rest)
	f("SDK-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms" + rest)
	f("SDK-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms/aws4_request" + rest)
	f("SDK-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms/sdk_request/more" + rest)
	f("SDK-HMAC-SHA256 Credential=AK1/20261122/eu de/kms/sdk_request" + rest)
	f("SDK-HMAC-SHA256 Credential=/20261122///sdk_request" + rest)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=host, Signature=" + someMAC)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date;, Signature=" + someMAC)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date;X-SDK-DATE, Signature=" + someMAC)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date;a b, Signature=" + someMAC)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date;" + strings.Repeat("a;", 40) + "b, Signature=" + someMAC)
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date, Signature=" + someMAC[2:])
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date, Signature=" + someMAC + "00")
	f("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=x-sdk-date, Signature=" + strings.Repeat("zz", 32))
	f("SDK-HMAC-SHA256 Access=AK1" + rest + strings.Repeat(" ", maxAuthorization))
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=host;x-sdk-date, Signature=" + someMAC)
	f.Add("SDK-HMAC-SHA256 Credential=AK1/20261122///sdk_request, SignedHeaders=x-sdk-date, Signature=" + someMAC)
	f.Add("V11-HMAC-SHA256 Credential=AK1/20261122/eu-de/kms, SignedHeaders=x-sdk-date, Signature=" + someMAC)
	f.Fuzz(func(t *testing.T, header string) {
		sig, reason := parseAuthorization([]byte(header))
		if reason != "" {
			return
		}
		if !isAccessKey(sig.accessKey) || !sig.headersAreSane() {
			t.Errorf("%q: a bad access key or list of headers got through", header)
		}
		if (sig.scheme == plain) != (sig.scope == nil) {
			t.Errorf("%q: scheme %v with scope %q", header, sig.scheme, sig.scope)
		}
		// What the parser accepts can be signed and made canonical, whatever it is.
		var space [maxSigningKey]byte
		hmacSHA256(sig.signingKey(&space, []byte("secret"), new(macs)), []byte("text"))
		r := Request{Method: []byte("POST"), Path: []byte(header), Query: []byte(header), Headers: []Header{{Name: []byte("X-Sdk-Date"), Value: []byte(header)}}}
		appendCanonical(nil, &r, &sig, new(query))
	})
}

func TestHMACIsTheStandardOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "key")
		message := rapid.SliceOfN(rapid.Byte(), 0, 1200).Draw(t, "message")
		standard := hmac.New(sha256.New, key)
		standard.Write(message)
		if got := hmacSHA256(key, message); !hmac.Equal(got[:], standard.Sum(nil)) {
			t.Fatalf("HMAC of %d bytes under %d bytes differs", len(message), len(key))
		}
	})
}
