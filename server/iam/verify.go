package iam

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
)

// Window is how far X-Sdk-Date may be from the server's clock, either way.
const Window = 15 * time.Minute

// maxKeptCanonical is the largest buffer for canonical requests that is used
// again, in bytes.
const maxKeptCanonical = 16 << 10

// Verifier checks the signatures of requests. It is safe for concurrent use.
type Verifier struct {
	secrets *Secrets
	clock   func() time.Time
	rooms   sync.Pool // of *scratch
}

// NewVerifier returns a verifier that takes secret keys from secrets and the
// time from clock.
func NewVerifier(secrets *Secrets, clock func() time.Time) *Verifier {
	return &Verifier{
		secrets: secrets,
		clock:   clock,
		rooms:   sync.Pool{New: func() any { return &scratch{canonical: make([]byte, 0, 1024)} }},
	}
}

// Verify returns who signed the request, as the given state knows it. A request
// that nobody there signed is refused with an [*Error]; any other error says
// that it could not be found out, and wraps what the opening of the secret key
// returned.
func (v *Verifier) Verify(ctx context.Context, ids Identities, r *Request) (Principal, error) {
	sig, reason := signatureOf(r)
	if reason != "" {
		return Principal{}, refuse(reason)
	}
	date, reason := v.date(r, &sig)
	if reason != "" {
		return Principal{}, refuse(reason)
	}
	var space [320]byte
	text, reason := v.appendStringToSign(space[:0], r, &sig, date)
	if reason != "" {
		return Principal{}, refuse(reason)
	}

	id := string(sig.accessKey)
	p := ids.PrincipalByKey(id, "")
	var accessKey *state.AccessKey
	if p != nil {
		accessKey = p.AccessKey
	}
	var work macs
	matches, err := v.matches(ctx, accessKey, &sig, text, &work)
	switch {
	case err != nil:
		return Principal{}, fmt.Errorf("opening the secret key of access key %s: %w", id, err)
	case !matches: // also where there is no such access key: that is not told
		return Principal{}, refuse(reasonSignature)
	}

	// Only the holder of the secret key is told what follows.
	switch {
	case p.Usable:
	case !accessKey.Enabled:
		return Principal{}, refuseKey(id, "ak is disabled")
	case p.User == nil || !p.User.Enabled:
		return Principal{}, refuseKey(id, "user is disabled")
	default:
		return Principal{}, refuseKey(id, "domain is disabled")
	}
	return Principal{UserID: p.UserID, UserName: p.UserName, DomainID: p.Domain.ID, AccessKeyID: accessKey.ID}, nil
}

// matches tells whether the signature is that of the text under the access
// key's secret. Whoever asks without knowing the secret cannot tell by the work
// whether there is such an access key (nil: there is none), nor by which scope
// its holder signs: a no costs as many MACs in each case.
func (v *Verifier) matches(ctx context.Context, accessKey *state.AccessKey, sig *signature, text []byte, work *macs) (bool, error) {
	var secret, derived [maxSigningKey]byte
	defer clear(secret[:])
	defer clear(derived[:])
	if sig.scheme.derivation != asItIs {
		// The key that the secret was last derived to is tried first. Where it is
		// not for this scope, something that proves nothing stands for it.
		key := v.secrets.derived(accessKey, sig, &derived)
		kept := key != nil
		if !kept {
			key = derived[:sha256.Size]
		}
		mac := work.sum(key, text)
		if subtle.ConstantTimeCompare(mac[:], sig.mac[:]) == 1 && kept {
			return true, nil
		}
	}
	n := maxDummy
	if accessKey != nil {
		var err error
		if n, err = v.secrets.read(ctx, accessKey, &secret); err != nil {
			return false, err
		}
	} else {
		v.secrets.cached(nil, &secret) // the look that a known one costs; there is nothing
	}
	key := sig.signingKey(&derived, secret[:n], work)
	mac := work.sum(key, text)
	if subtle.ConstantTimeCompare(mac[:], sig.mac[:]) != 1 || accessKey == nil {
		return false, nil
	}
	// Only a scope that the holder has signed under is worth the room.
	v.secrets.keepDerived(accessKey, sig, key)
	return true, nil
}

// maxDummy is the length of the secret that an unknown access key is checked
// with: that of the secret keys that raftkms makes.
const maxDummy = 40

// signatureOf finds and parses the signature of a request.
func signatureOf(r *Request) (sig signature, reason string) {
	header, n := r.header(headerAuthorization)
	switch n {
	case 1:
		return parseAuthorization(header)
	case 0:
		if _, tokens := r.header(headerToken); tokens > 0 {
			return signature{}, reasonToken
		}
		return signature{}, reasonNoCredential
	default:
		return signature{}, reasonMalformed
	}
}

// date returns the date header as sent, if it is near enough and the one of the scope.
func (v *Verifier) date(r *Request, sig *signature) (sent []byte, reason string) {
	sent, n := r.header(sig.scheme.dateHeader)
	if n != 1 {
		return nil, reasonDate
	}
	at, ok := parseDate(sent)
	if !ok || sig.scope != nil && !bytes.Equal(sig.date, sent[:8]) {
		return nil, reasonDate
	}
	if away := v.clock().Sub(at); away > Window || away < -Window {
		return nil, reasonExpired
	}
	return sent, ""
}

// parseDate reads a time in the form 20060102T150405Z.
func parseDate(b []byte) (time.Time, bool) {
	const form = "20060102T150405Z"
	if len(b) != len(form) || b[8] != 'T' || b[15] != 'Z' {
		return time.Time{}, false
	}
	number := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				return -1
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(4, 6), number(6, 8)
	hour, minute, second := number(9, 11), number(11, 13), number(13, 15)
	if year < 0 || month < 1 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return time.Time{}, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// A month or day that there is not has been taken for another one.
	return at, at.Month() == time.Month(month) && at.Day() == day
}

// appendStringToSign appends algorithm, date, scope (where the scheme has one)
// and the hash of the canonical request, line by line.
func (v *Verifier) appendStringToSign(dst []byte, r *Request, sig *signature, date []byte) (text []byte, reason string) {
	room := v.rooms.Get().(*scratch)
	canonical, reason := appendCanonical(room.canonical[:0], r, sig, &room.query)
	hash := sha256.Sum256(canonical)
	if room.canonical = canonical; cap(canonical)+cap(room.query.decoded) <= maxKeptCanonical {
		v.rooms.Put(room)
	}
	if reason != "" {
		return dst, reason
	}
	dst = append(append(dst, sig.scheme.algorithm...), '\n')
	dst = append(append(dst, date...), '\n')
	if sig.scope != nil {
		dst = append(append(dst, sig.scope...), '\n')
	}
	return hex.AppendEncode(dst, hash[:]), ""
}
