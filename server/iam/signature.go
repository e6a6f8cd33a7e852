package iam

import (
	"bytes"
	"encoding/hex"
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
	scheme        *scheme
	accessKey     []byte
	scope         []byte // the text after AK/ in the credential; nil where the scheme has none
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
	if !isAlgorithm(algorithm) {
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
	if !sig.credential(algorithm, access, credential) || !sig.headersAreSane() || !sig.decodeMAC(mac) {
		return signature{}, reasonMalformed
	}
	return sig, ""
}

// credential takes the access key, and the scope where the scheme has one.
func (s *signature) credential(algorithm, access, credential []byte) bool {
	s.scheme = schemeOf(algorithm, len(credential) > 0)
	switch {
	case s.scheme == nil, len(access) > 0 && len(credential) > 0:
		return false
	case len(credential) == 0:
		s.accessKey = access
		return isAccessKey(access)
	}
	s.accessKey, s.scope, _ = bytes.Cut(credential, []byte("/"))
	return isAccessKey(s.accessKey) && s.splitScope()
}

func (s *signature) decodeMAC(text []byte) bool {
	if len(text) != hex.EncodedLen(len(s.mac)) {
		return false
	}
	_, err := hex.Decode(s.mac[:], text)
	return err == nil
}

// headersAreSane tells whether the list of signed headers holds the date and
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
			if sameName(name, other) {
				return false
			}
		}
		seen = append(seen, name)
		dated = dated || sameName(name, []byte(s.scheme.dateHeader))
	}
	return dated
}

func isAccessKey(b []byte) bool {
	return 1 <= len(b) && len(b) <= maxAccessKey && only(b, alphanumeric)
}

func isScopePart(b []byte) bool { return len(b) <= maxScopePart && only(b, unreserved) }

func isHeaderName(b []byte) bool {
	return 1 <= len(b) && len(b) <= maxHeaderName && only(b, headerName)
}
