package iam

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
)

// The headers that carry a credential.
const (
	headerAuthorization = "authorization"
	headerToken         = "x-auth-token"
)

// unsignedPayload in place of the body's hash says that the body is not signed.
const unsignedPayload = "UNSIGNED-PAYLOAD"

// Request is a request as it was received: nothing in it is normalised. Its
// slices are only read, and not kept.
type Request struct {
	Method  []byte
	Path    []byte // as in the request line, without the query
	Query   []byte // as in the request line, without the question mark
	Headers []Header
	Body    []byte
	Peer    []*x509.Certificate // the client's chain as it was sent, unverified
}

// Header is one header line; names are compared without regard to case.
type Header struct {
	Name, Value []byte
}

// header returns a header that is there once; n is how often it is there.
func (r *Request) header(name string) (value []byte, n int) {
	for i := range r.Headers {
		if sameName(r.Headers[i].Name, []byte(name)) {
			value = r.Headers[i].Value
			n++
		}
	}
	return value, n
}

// scratch is the room of one check. It holds nothing secret.
type scratch struct {
	canonical []byte
	query     query
}

// appendCanonical appends the canonical request that the signature covers.
// reason is empty when there is one.
func appendCanonical(dst []byte, r *Request, sig *signature, q *query) (canonical []byte, reason string) {
	dst = append(append(dst, r.Method...), '\n')
	dst, ok := appendPath(dst, r.Path, sig.scheme)
	if !ok {
		return dst, reasonURL
	}
	dst = append(dst, '\n')

	body := sha256.Sum256(r.Body)
	if len(r.Query) > 0 {
		if !q.parse(r.Query) {
			return dst, reasonURL
		}
		if sig.scheme.queryAsBody && len(r.Body) == 0 && string(r.Method) == "POST" {
			start := len(dst)
			dst = q.appendForm(dst)
			body = sha256.Sum256(dst[start:])
			dst = dst[:start]
		} else if dst, ok = q.appendCanonical(dst, sig.scheme); !ok {
			return dst, reasonURL
		}
	}
	dst = append(dst, '\n')

	if dst, ok = appendHeaders(dst, r, sig); !ok {
		return dst, reasonHeader
	}
	dst = append(append(append(dst, '\n'), sig.signedHeaders...), '\n')
	return appendPayload(dst, r, sig.scheme, body)
}

// appendPath appends the path decoded and encoded again.
func appendPath(dst, path []byte, sch *scheme) ([]byte, bool) {
	if only(path, plainPath) {
		dst, path = append(dst, path...), nil
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if i+3 > len(path) {
				return dst, false
			}
			var decoded [1]byte
			if _, err := hex.Decode(decoded[:], path[i+1:i+3]); err != nil {
				return dst, false
			}
			c = decoded[0]
			i += 2
		}
		if c == '/' {
			dst = append(dst, c)
		} else {
			dst = appendEncoded(dst, c)
		}
	}
	if sch.endsInSlash && dst[len(dst)-1] != '/' {
		dst = append(dst, '/')
	}
	return dst, true
}

// appendHeaders appends the signed headers in the order they are listed in,
// each with a line's end.
func appendHeaders(dst []byte, r *Request, sig *signature) ([]byte, bool) {
	for rest, more := sig.signedHeaders, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte(";"))
		found := -1
		for i := range r.Headers {
			if sameName(r.Headers[i].Name, name) {
				if found >= 0 {
					return dst, false
				}
				found = i
			}
		}
		if found < 0 {
			return dst, false
		}
		for _, c := range name {
			dst = append(dst, lower(c))
		}
		dst = append(dst, ':')
		value := bytes.Trim(r.Headers[found].Value, " \t")
		if sig.scheme.collapses {
			dst = appendCollapsed(dst, value)
		} else {
			dst = append(dst, value...)
		}
		dst = append(dst, '\n')
	}
	return dst, true
}

// appendCollapsed appends a header's value with runs of white space as one space.
func appendCollapsed(dst, value []byte) []byte {
	space := false
	for _, c := range value {
		if c == ' ' || c == '\t' {
			if !space {
				dst = append(dst, ' ')
			}
			space = true
			continue
		}
		space = false
		dst = append(dst, c)
	}
	return dst
}

// appendPayload appends the hash of the body. A client may send it in a header
// of its own; then it has to be right. Every body of the API is JSON, for
// which no client leaves the body unsigned, so only an empty one may be.
func appendPayload(dst []byte, r *Request, sch *scheme, body [sha256.Size]byte) ([]byte, string) {
	sent, n := r.header(sch.payloadHeader)
	switch {
	case n == 0:
		return hex.AppendEncode(dst, body[:]), ""
	case n > 1:
		return dst, reasonHeader
	case string(sent) == unsignedPayload:
		if len(r.Body) > 0 {
			return dst, reasonPayload
		}
		return append(dst, sent...), ""
	}
	var claimed [sha256.Size]byte
	if len(sent) != hex.EncodedLen(len(claimed)) {
		return dst, reasonPayload
	}
	if _, err := hex.Decode(claimed[:], sent); err != nil || claimed != body {
		return dst, reasonPayload
	}
	return append(dst, sent...), ""
}

func appendEncoded(dst []byte, c byte) []byte {
	if unreserved.has(c) {
		return append(dst, c)
	}
	const upper = "0123456789ABCDEF"
	return append(dst, '%', upper[c>>4], upper[c&15])
}
