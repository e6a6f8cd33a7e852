package iam

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" // of HOTP, which every authenticator speaks; inside an HMAC it is sound
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"net/url"

	"github.com/raftkms/raftkms/fsm/command"
)

// One-time codes by the time: RFC 6238 over RFC 4226, as every authenticator
// knows them: HMAC-SHA1, 6 digits, 30 seconds.
const (
	totpDigits  = 6
	totpModulus = 1_000_000
	totpStep    = command.CodeStep
	// totpSkew is how many steps a clock may be off; RFC 6238 §5.2 recommends one.
	totpSkew = 1
	// totpSecret is the size of a secret in bytes; RFC 4226 §4 recommends it.
	totpSecret = 20
)

// NewTOTPSecret draws the secret of a second factor; the caller wipes it.
func NewTOTPSecret() []byte {
	secret := make([]byte, totpSecret)
	rand.Read(secret) // never fails: the process ends instead
	return secret
}

// TOTPText is a secret as people type it into an authenticator: base32.
func TOTPText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// TOTPURI is a secret as authenticators read it from a picture.
func TOTPURI(secret []byte, account, user string) string {
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/raftkms:" + account + "/" + user}
	u.RawQuery = url.Values{"secret": {TOTPText(secret)}, "issuer": {"raftkms"}}.Encode()
	return u.String()
}

// TOTPStep finds the time step of a code at an instant (Unix ms), among those
// after the last one that was taken. It takes the same time for every code.
func TOTPStep(secret []byte, code string, now, last int64) (step int64, ok bool) {
	if len(code) != totpDigits || len(secret) == 0 {
		return 0, false
	}
	for at := now/totpStep - totpSkew; at <= now/totpStep+totpSkew; at++ {
		want := hotp(secret, uint64(at))
		same := subtle.ConstantTimeCompare(want[:], []byte(code)) == 1
		if same && at > last && at > 0 && !ok {
			step, ok = at, true
		}
	}
	return step, ok
}

// TOTPCode is the code of a secret at an instant (Unix ms).
func TOTPCode(secret []byte, now int64) string { return TOTPCodeOf(secret, now/totpStep) }

// TOTPCodeOf is the code of a secret in a time step.
func TOTPCodeOf(secret []byte, step int64) string {
	code := hotp(secret, uint64(step))
	return string(code[:])
}

// hotp is RFC 4226 §5.3.
func hotp(secret []byte, counter uint64) (code [totpDigits]byte) {
	var message [8]byte
	binary.BigEndian.PutUint64(message[:], counter)
	mac := hmac.New(sha1.New, secret)
	mac.Write(message[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	number := (binary.BigEndian.Uint32(sum[at:]) & 0x7fff_ffff) % totpModulus
	for i := range code {
		code[totpDigits-1-i] = byte('0' + number%10)
		number /= 10
	}
	return code
}
