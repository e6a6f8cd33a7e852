package iam

import (
	"bytes"
	"encoding/hex"
)

// layout is one of the three ways of signing. They share the canonical request,
// almost, and differ in the header's form and in the key.
type layout uint8

const (
	plain   layout = iota + 1 // A: signed with the secret key itself
	scoped                    // B: signed with a key derived by an HMAC chain
	derived                   // C: signed with a key derived by HKDF
)

const (
	algorithmSDK = "SDK-HMAC-SHA256"
	algorithmV11 = "V11-HMAC-SHA256"
	scopeSuffix  = "sdk_request"
)

// Bounds of the Authorization header, in bytes.
const (
	maxAuthorization = 2048
	maxAccessKey     = 64
	maxSignedHeaders = 32 // names
	maxHeaderName    = 64
	maxScopePart     = 64
)

// signature is a parsed Authorization header. Its slices are those of the header.
type signature struct {
	layout        layout
	algorithm     string
	accessKey     []byte
	scope         []byte // the text after AK/ in the credential; nil in layout A
	date          []byte // of the scope, yyyymmdd
	region        []byte // may be empty
	service       []byte // may be empty
	signedHeaders []byte // as sent
	mac           [32]byte
}

// parseAuthorization reads an Authorization header:
//
//	A: SDK-HMAC-SHA256 Access=AK, SignedHeaders=a;b, Signature=hex
//	B: SDK-HMAC-SHA256 Credential=AK/yyyymmdd/region/service/sdk_request, SignedHeaders=a;b, Signature=hex
//	C: V11-HMAC-SHA256 Credential=AK/yyyymmdd/region/service, SignedHeaders=a;b, Signature=hex
//
// reason is empty when it is one of them.
func parseAuthorization(header []byte) (sig signature, reason string) {
	if len(header) > maxAuthorization {
		return signature{}, reasonMalformed
	}
	algorithm, rest, _ := bytes.Cut(header, []byte(" "))
	switch string(algorithm) {
	case algorithmSDK:
		sig.algorithm = algorithmSDK
	case algorithmV11:
		sig.algorithm = algorithmV11
	default:
		return signature{}, reasonAlgorithm
	}
	var access, credential, mac []byte
	for len(rest) > 0 {
		var part []byte
		part, rest, _ = bytes.Cut(rest, []byte(","))
		name, value, _ := bytes.Cut(bytes.Trim(part, " "), []byte("="))
		var into *[]byte
		switch string(name) {
		case "Access":
			into = &access
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &sig.signedHeaders
		case "Signature":
			into = &mac
		default:
			return signature{}, reasonMalformed
		}
		if len(*into) > 0 || len(value) == 0 {
			return signature{}, reasonMalformed
		}
		*into = value
	}
	if !sig.credential(access, credential) || !sig.headersAreSane() || !sig.decodeMAC(mac) {
		return signature{}, reasonMalformed
	}
	return sig, ""
}

// credential takes the access key, and the scope where the layout has one.
func (s *signature) credential(access, credential []byte) bool {
	if len(credential) == 0 {
		s.layout = plain
		s.accessKey = access
		return s.algorithm == algorithmSDK && isAccessKey(access)
	}
	if len(access) > 0 {
		return false
	}
	s.layout = derived
	slashes := 2
	if s.algorithm == algorithmSDK {
		s.layout = scoped
		slashes = 3
	}
	s.accessKey, s.scope, _ = bytes.Cut(credential, []byte("/"))
	if bytes.Count(s.scope, []byte("/")) != slashes {
		return false
	}
	var rest, suffix []byte
	s.date, rest, _ = bytes.Cut(s.scope, []byte("/"))
	s.region, rest, _ = bytes.Cut(rest, []byte("/"))
	s.service, suffix, _ = bytes.Cut(rest, []byte("/"))
	if s.layout == scoped && string(suffix) != scopeSuffix {
		return false
	}
	return isAccessKey(s.accessKey) && isScopePart(s.region) && isScopePart(s.service)
}

func (s *signature) decodeMAC(text []byte) bool {
	if len(text) != hex.EncodedLen(len(s.mac)) {
		return false
	}
	_, err := hex.Decode(s.mac[:], text)
	return err == nil
}

// headersAreSane tells whether the list of signed headers holds X-Sdk-Date and
// only proper names, none of them twice.
func (s *signature) headersAreSane() bool {
	var space [maxSignedHeaders][]byte
	seen := space[:0]
	dated := false
	for rest, more := s.signedHeaders, true; more; {
		var name []byte
		name, rest, more = bytes.Cut(rest, []byte(";"))
		if !isHeaderName(name) || len(seen) == maxSignedHeaders {
			return false
		}
		for _, other := range seen {
			if bytes.EqualFold(name, other) {
				return false
			}
		}
		seen = append(seen, name)
		dated = dated || bytes.EqualFold(name, []byte(headerDate))
	}
	return dated
}

func isAccessKey(b []byte) bool {
	for _, c := range b {
		if !isAlphanumeric(c) {
			return false
		}
	}
	return 1 <= len(b) && len(b) <= maxAccessKey
}

func isScopePart(b []byte) bool {
	for _, c := range b {
		if !isUnreserved(c) {
			return false
		}
	}
	return len(b) <= maxScopePart
}

func isHeaderName(b []byte) bool {
	for _, c := range b {
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return 1 <= len(b) && len(b) <= maxHeaderName
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isUnreserved is the set of RFC 3986 §2.3, which canonical URLs keep as it is.
func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~'
}
