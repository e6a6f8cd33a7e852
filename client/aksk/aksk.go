// Package aksk signs HTTP requests with an access key and its secret key: the
// layout "Access=, SignedHeaders=, Signature=" of SDK-HMAC-SHA256, as the
// Huawei SDKs (v3) send it.
//
// What it promises: the signature covers the method, the path, the query, the
// headers that it is given, the time and the body. What it never does: log,
// store or return the secret key.
package aksk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The algorithm of the layout and the header that carries the time.
const (
	Algorithm  = "SDK-HMAC-SHA256"
	DateHeader = "X-Sdk-Date"
)

// dateFormat is that of X-Sdk-Date: UTC, to the second.
const dateFormat = "20060102T150405Z"

// FormatDate is the X-Sdk-Date of a time. A server accepts it for 15 minutes
// either way.
func FormatDate(t time.Time) string { return t.UTC().Format(dateFormat) }

// Signer signs for one access key. It is safe for concurrent use.
type Signer struct {
	accessKey string
	secretKey []byte
}

// NewSigner returns a signer for a pair of keys.
func NewSigner(accessKey, secretKey string) *Signer {
	return &Signer{accessKey: accessKey, secretKey: []byte(secretKey)}
}

// Request is what a signature covers.
type Request struct {
	Method string
	Path   string // decoded, e.g. /v1.0/PROJECT/kms/create-key
	Query  url.Values
	// Headers are the further headers to sign, by lower-case name; X-Sdk-Date
	// is always signed. The request must carry each with exactly this value.
	Headers map[string]string
	Body    []byte
	Date    string // as FormatDate returns it
}

// Authorization returns the value of the Authorization header of a request.
func (s *Signer) Authorization(r Request) string {
	canonical, signed := r.canonical()
	digest := sha256.Sum256(canonical)
	mac := hmac.New(sha256.New, s.secretKey)
	mac.Write([]byte(Algorithm + "\n" + r.Date + "\n" + hex.EncodeToString(digest[:])))
	return Algorithm + " Access=" + s.accessKey +
		", SignedHeaders=" + signed +
		", Signature=" + hex.EncodeToString(mac.Sum(nil))
}

// canonical returns the canonical request and the list of signed headers.
func (r Request) canonical() (request []byte, signed string) {
	date := strings.ToLower(DateHeader)
	names := []string{date}
	for name := range r.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	signed = strings.Join(names, ";")

	body := sha256.Sum256(r.Body)
	request = append(request, r.Method...)
	request = append(request, '\n')
	request = append(request, canonicalPath(r.Path)...)
	request = append(request, '\n')
	request = append(request, canonicalQuery(r.Query)...)
	request = append(request, '\n')
	for _, name := range names {
		value := r.Headers[name]
		if name == date {
			value = r.Date
		}
		request = append(request, name+":"+strings.TrimSpace(value)+"\n"...)
	}
	request = append(request, '\n')
	request = append(request, signed...)
	request = append(request, '\n')
	request = append(request, hex.EncodeToString(body[:])...)
	return request, signed
}

// canonicalPath escapes each segment and ends in a slash.
func canonicalPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	escaped := strings.Join(segments, "/")
	if !strings.HasSuffix(escaped, "/") {
		escaped += "/"
	}
	return escaped
}

// canonicalQuery sorts by key, and by value within a key.
func canonicalQuery(query url.Values) string {
	var pairs []string
	keys := make([]string, 0, len(query))
	for key := range query {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&")
}

// escape percent-encodes every byte outside A-Za-z0-9-_.~ with upper-case hex.
func escape(text string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(text) {
		b := text[i]
		if 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-_.~", b) >= 0 {
			out.WriteByte(b)
			continue
		}
		out.Write([]byte{'%', digits[b>>4], digits[b&15]})
	}
	return out.String()
}
