package iam

import (
	"bytes"
	"encoding/hex"
)

// scheme is one way of signing a request. All of them hash a canonical
// request, put that hash under a few lines of text, and sign the text with
// HMAC-SHA-256; what differs between them is said here and nowhere else. A
// further family of clients (AWS's version 4 is built the same way) is a
// further row.
type scheme struct {
	algorithm     string // first word of the Authorization header, and first line of the text
	dateHeader    string // lower case; must be signed
	payloadHeader string // lower case; may carry the hash of the body
	scopeParts    int    // slashes in the scope; 0: the header names the key with Access= and has no scope
	suffix        string // last part of the scope; empty: none is fixed
	keyPrefix     string // goes before the secret key where the key is a chain of HMACs
	derivation    derivation

	endsInSlash bool // a slash is put at the end of the canonical path
	collapses   bool // runs of white space in header values count as one space
	firstValue  bool // only the first value of a query's key is signed; keys are ordered without regard to case
	queryAsBody bool // a POST without a body has its query hashed in the body's place
}

// derivation is how a secret key becomes the key that a text is signed with.
type derivation uint8

const (
	asItIs derivation = iota
	byChain
	byHKDF
)

// maxSigningKey is the longest key that a text is signed with: a secret key itself.
const maxSigningKey = maxSecret

// The schemes: the three layouts of the Huawei family.
var (
	// A: signed with the secret key itself.
	plain = &scheme{
		algorithm: "SDK-HMAC-SHA256", dateHeader: "x-sdk-date", payloadHeader: "x-sdk-content-sha256",
		endsInSlash: true,
	}
	// B: signed with a key derived from it by a chain of HMACs over the scope.
	scoped = &scheme{
		algorithm: "SDK-HMAC-SHA256", dateHeader: "x-sdk-date", payloadHeader: "x-sdk-content-sha256",
		scopeParts: 3, suffix: "sdk_request", keyPrefix: "SDK", derivation: byChain,
		endsInSlash: true, collapses: true, firstValue: true, queryAsBody: true,
	}
	// C: signed with a key derived from it by HKDF.
	derived = &scheme{
		algorithm: "V11-HMAC-SHA256", dateHeader: "x-sdk-date", payloadHeader: "x-sdk-content-sha256",
		scopeParts: 2, derivation: byHKDF, endsInSlash: true,
	}
)

// schemeOf returns the scheme by the algorithm's name and by whether the
// header holds a scope; nil when there is none.
func schemeOf(algorithm []byte, scope bool) *scheme {
	for _, s := range [...]*scheme{plain, scoped, derived} {
		if string(algorithm) == s.algorithm && scope == (s.scopeParts > 0) {
			return s
		}
	}
	return nil
}

// isAlgorithm tells whether any scheme has that name.
func isAlgorithm(name []byte) bool {
	return schemeOf(name, true) != nil || schemeOf(name, false) != nil
}

// signingKey returns the key that the text is signed with, in dst or, where
// that is the secret key, as that. Both are for the caller to wipe.
func (s *signature) signingKey(dst *[maxSigningKey]byte, secret []byte, work *macs) []byte {
	switch s.scheme.derivation {
	case byChain:
		return chainKey(dst, s, secret, work)
	case byHKDF:
		return hkdfKey(dst, s, secret, work)
	default:
		return secret
	}
}

// chainKey is HMAC over date, region, service and suffix, one after the other.
func chainKey(dst *[maxSigningKey]byte, s *signature, secret []byte, work *macs) []byte {
	var space [8 + maxSecret]byte
	start := append(append(space[:0], s.scheme.keyPrefix...), secret...)
	key := work.sum(start, s.date)
	clear(start)
	key = work.sum(key[:], s.region)
	key = work.sum(key[:], s.service)
	key = work.sum(key[:], []byte(s.scheme.suffix))
	n := copy(dst[:], key[:])
	clear(key[:])
	return dst[:n]
}

// hkdfKey is HKDF-SHA-256 (RFC 5869) of one block, extracted under the access
// key and expanded over the scope, as hex text.
func hkdfKey(dst *[maxSigningKey]byte, s *signature, secret []byte, work *macs) []byte {
	key := work.sum(s.accessKey, secret)
	var space [3*maxScopePart + 1]byte
	key = work.sum(key[:], append(append(space[:0], s.scope...), 1))
	n := hex.Encode(dst[:], key[:])
	clear(key[:])
	return dst[:n]
}

// splitScope takes date, region and service out of the scope.
func (s *signature) splitScope() bool {
	if bytes.Count(s.scope, []byte("/")) != s.scheme.scopeParts {
		return false
	}
	var rest, suffix []byte
	s.date, rest, _ = bytes.Cut(s.scope, []byte("/"))
	s.region, rest, _ = bytes.Cut(rest, []byte("/"))
	s.service, suffix, _ = bytes.Cut(rest, []byte("/"))
	return string(suffix) == s.scheme.suffix && isScopePart(s.region) && isScopePart(s.service)
}
