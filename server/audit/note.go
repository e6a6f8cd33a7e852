package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoints are signed with ECDSA on P-256 rather than with Ed25519, the usual
// key of signed notes: P-256 is what devices have, so that the private key can
// stay in the node's module. The note has the form that C2SP gives it (signature
// type 2: its key hash is the beginning of SHA-256 of the public key, a DER
// SubjectPublicKeyInfo), which other readers of notes know, too.
const (
	noteECDSA   = 2
	maxVerifier = 512 // bytes of a verifier key
)

// ErrVerifierKey: a text is no public key that checkpoints are verified with.
var ErrVerifierKey = errors.New("this is no public key of a trace log")

// VerifierKey is the public key (DER SubjectPublicKeyInfo, P-256) of the log
// that is called name, as text: NAME+HASH+KEY.
func VerifierKey(name string, publicKey []byte) (string, error) {
	v, err := newVerifier(name, publicKey)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%08x+%s", name, v.hash, base64.StdEncoding.EncodeToString(append([]byte{noteECDSA}, publicKey...))), nil
}

// verifier implements [note.Verifier].
type verifier struct {
	name string
	hash uint32
	key  *ecdsa.PublicKey
}

func newVerifier(name string, publicKey []byte) (*verifier, error) {
	parsed, err := x509.ParsePKIXPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerifierKey, err)
	}
	key, is := parsed.(*ecdsa.PublicKey)
	if !is || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: it is not of P-256", ErrVerifierKey)
	}
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return nil, fmt.Errorf("%w: its name is %q", ErrVerifierKey, name)
	}
	sum := sha256.Sum256(publicKey)
	return &verifier{name: name, hash: binary.BigEndian.Uint32(sum[:]), key: key}, nil
}

// parseVerifier reads what [VerifierKey] has written.
func parseVerifier(text string) (*verifier, error) {
	name, rest, _ := strings.Cut(text, "+")
	hash, key, ok := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(key)
	if !ok || len(text) > maxVerifier || err != nil || len(raw) == 0 || raw[0] != noteECDSA {
		return nil, ErrVerifierKey
	}
	v, err := newVerifier(name, raw[1:])
	if err != nil {
		return nil, err
	}
	if said, err := strconv.ParseUint(hash, 16, 32); err != nil || len(hash) != 8 || uint32(said) != v.hash {
		return nil, fmt.Errorf("%w: its hash is not that of the key", ErrVerifierKey)
	}
	return v, nil
}

// Name implements [note.Verifier].
func (v *verifier) Name() string { return v.name }

// KeyHash implements [note.Verifier].
func (v *verifier) KeyHash() uint32 { return v.hash }

// Verify implements [note.Verifier].
func (v *verifier) Verify(msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return ecdsa.VerifyASN1(v.key, digest[:], sig)
}

// signer implements [note.Signer].
type signer struct {
	*verifier
	sign func(digest []byte) ([]byte, error)
}

// Sign implements [note.Signer].
func (s *signer) Sign(msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	return s.sign(digest[:])
}

// NewSigner signs checkpoints of the log that is called name with the private
// key that belongs to publicKey: sign returns the signature (ASN.1 DER) of a
// SHA-256 digest.
func NewSigner(name string, publicKey []byte, sign func(digest []byte) ([]byte, error)) (note.Signer, error) {
	v, err := newVerifier(name, publicKey)
	if err != nil {
		return nil, err
	}
	return &signer{v, sign}, nil
}
