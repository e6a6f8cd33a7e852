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
)

// Window is how far X-Sdk-Date may be from the server's clock, either way.
const Window = 15 * time.Minute

const dateLayout = "20060102T150405Z"

// maxKeptCanonical is the largest buffer for canonical requests that is used
// again, in bytes.
const maxKeptCanonical = 16 << 10

// Verifier checks the signatures of requests. It is safe for concurrent use.
type Verifier struct {
	secrets *Secrets
	clock   func() time.Time
	buffers sync.Pool // of *[]byte, for canonical requests, which hold nothing secret
}

// NewVerifier returns a verifier that takes secret keys from secrets and the
// time from clock.
func NewVerifier(secrets *Secrets, clock func() time.Time) *Verifier {
	return &Verifier{
		secrets: secrets,
		clock:   clock,
		buffers: sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }},
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
	accessKey, known := ids.AccessKey(id)
	var secret [maxSecret]byte
	defer clear(secret[:])
	n := maxDummy
	if known {
		var err error
		if n, err = v.secrets.read(ctx, accessKey, &secret); err != nil {
			return Principal{}, fmt.Errorf("opening the secret key of access key %s: %w", id, err)
		}
	}
	mac := sig.sign(secret[:n], text)
	if matches := subtle.ConstantTimeCompare(mac[:], sig.mac[:]) == 1; !known {
		return Principal{}, refuseKey(id, "ak not exist")
	} else if !matches {
		return Principal{}, refuse(reasonSignature)
	}

	// Only the holder of the secret key is told what follows.
	if !accessKey.Enabled {
		return Principal{}, refuseKey(id, "ak is disabled")
	}
	user, ok := ids.User(accessKey.UserID)
	if !ok || !user.Enabled {
		return Principal{}, refuseKey(id, "user is disabled")
	}
	domain, ok := ids.Domain(user.DomainID)
	if !ok || !domain.Enabled {
		return Principal{}, refuseKey(id, "domain is disabled")
	}
	return Principal{UserID: user.ID, UserName: user.Name, DomainID: user.DomainID, AccessKeyID: accessKey.ID}, nil
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

// date returns X-Sdk-Date as sent, if it is near enough and the one of the scope.
func (v *Verifier) date(r *Request, sig *signature) (sent []byte, reason string) {
	sent, n := r.header(headerDate)
	if n != 1 || len(sent) != len(dateLayout) {
		return nil, reasonDate
	}
	at, err := time.Parse(dateLayout, string(sent))
	if err != nil || sig.layout != plain && !bytes.Equal(sig.date, sent[:8]) {
		return nil, reasonDate
	}
	if away := v.clock().Sub(at); away > Window || away < -Window {
		return nil, reasonExpired
	}
	return sent, ""
}

// appendStringToSign appends algorithm, date, scope (not in layout A) and the
// hash of the canonical request, line by line.
func (v *Verifier) appendStringToSign(dst []byte, r *Request, sig *signature, date []byte) (text []byte, reason string) {
	buffer := v.buffers.Get().(*[]byte)
	canonical, reason := appendCanonical((*buffer)[:0], r, sig)
	hash := sha256.Sum256(canonical)
	if *buffer = canonical; cap(canonical) <= maxKeptCanonical {
		v.buffers.Put(buffer)
	}
	if reason != "" {
		return dst, reason
	}
	dst = append(append(dst, sig.algorithm...), '\n')
	dst = append(append(dst, date...), '\n')
	if sig.layout != plain {
		dst = append(append(dst, sig.scope...), '\n')
	}
	return hex.AppendEncode(dst, hash[:]), ""
}
