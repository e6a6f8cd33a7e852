package kms

import (
	"context"
	"errors"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// AlgorithmSymmetric is the encryption algorithm of symmetric keys, and what an
// absent one means.
const AlgorithmSymmetric = "SYMMETRIC_DEFAULT"

// dataKeyLabel is the OAEP label of data keys: a bare RSA block does not say
// what is inside, and data must not be opened with the permission for data
// keys, nor the reverse.
const dataKeyLabel = "raftkms data key"

// MaxMessageBytes bounds what is signed or authenticated.
const MaxMessageBytes = 4096

// SignRequest asks for a signature, or with Signature for its verification.
type SignRequest struct {
	Key       string
	Version   uint32 // 0: the first
	Scheme    string
	Message   []byte
	Digest    bool // whether Message is the digest already
	Signature []byte
}

// pairVersion is the version of a pair that a call names; 0, which names none,
// is the first. A pair has no primary version: what it signed or encrypted does
// not say which one did, and a public key that was given away must stay the key's.
func (c *Call) pairVersion(key *state.Key, number uint32) (*state.Version, error) {
	if number != 0 {
		c.asked.Number("key_version", int64(number))
	}
	version, ok := c.Root.Version(key.ID, max(number, 1))
	switch {
	case ok:
		return version, nil
	case number <= 1:
		return nil, Refuse(KindInternal, "the key's first version is missing")
	default:
		return nil, &Error{Kind: KindInvalid, Parameter: "key_version", Message: "the key has no such version"}
	}
}

// unversioned refuses to name the version of a key that finds it by itself.
func unversioned(number uint32) error {
	if number == 0 {
		return nil
	}
	return &Error{Kind: KindInvalid, Parameter: "key_version", Message: "only versions of an asymmetric key are named: a symmetric key encrypts with the primary one, and a ciphertext names its own"}
}

// GetPublicKey returns the public half of a version of a pair as DER
// SubjectPublicKeyInfo; 0: of the first.
func (s *Service) GetPublicKey(ctx context.Context, c *Call, ref string, number uint32) (*state.Key, []byte, error) {
	c.asked.Text("key_id", ref)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, nil, err
	}
	if !hsm.Spec(key.Spec).Pair() {
		return nil, nil, Refuse(KindSymmetricKey, "a key of the spec %s has no public half", key.Spec)
	}
	if err := c.mayDo(key, key.Usage); err != nil {
		return nil, nil, err
	}
	version, err := c.pairVersion(key, number)
	if err != nil {
		return nil, nil, err
	}
	loaded, err := s.use(ctx, key, version) // a record is believed only once it was verified
	if err != nil {
		return nil, nil, err
	}
	s.keys.release(loaded)
	return key, version.PublicKey, nil
}

// Sign signs a message or a digest.
func (s *Service) Sign(ctx context.Context, c *Call, req SignRequest) (keyID string, signature []byte, err error) {
	key, version, digest, err := s.signing(ctx, c, req)
	if err != nil {
		return "", nil, err
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return "", nil, err
	}
	defer s.keys.release(loaded)
	signer, is := loaded.key.(hsm.Signer)
	if !is {
		return "", nil, Refuse(KindInternal, "a key for signing was loaded as something else")
	}
	signature, err = withRoom(s.keys, func() ([]byte, error) { return signer.Sign(ctx, hsm.Scheme(req.Scheme), digest) })
	if err != nil {
		return "", nil, moduleError("signing with the key", err)
	}
	return key.ID, signature, nil
}

// Verify tells whether a signature is one of the key over the message.
func (s *Service) Verify(ctx context.Context, c *Call, req SignRequest) (keyID string, valid bool, err error) {
	key, version, digest, err := s.signing(ctx, c, req)
	if err != nil {
		return "", false, err
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return "", false, err
	}
	s.keys.release(loaded)
	if valid, err = keypair.Verify(hsm.Spec(key.Spec), version.PublicKey, hsm.Scheme(req.Scheme), digest, req.Signature); err != nil {
		return "", false, &Error{Kind: KindInternal, Message: "verifying with a stored key", Err: err}
	}
	c.answered.Flag("valid", valid)
	return key.ID, valid, nil
}

// signing is what sign and verify have in common: a key that may, a scheme that
// is its own, and what is signed.
func (s *Service) signing(_ context.Context, c *Call, req SignRequest) (*state.Key, *state.Version, []byte, error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Symbol("signing_algorithm", req.Scheme)
	fail := func(err error) (*state.Key, *state.Version, []byte, error) { return nil, nil, nil, err }
	key, err := c.usableFor(req.Key, UsageSignVerify)
	if err != nil {
		return fail(err)
	}
	spec, scheme := hsm.Spec(key.Spec), hsm.Scheme(req.Scheme)
	if !scheme.Fits(spec) {
		return fail(Refuse(KindSigningScheme, "keys of the spec %s do not sign with that algorithm", key.Spec))
	}
	if len(req.Message) > MaxMessageBytes {
		return fail(&Error{Kind: KindInvalid, Parameter: "message", Message: "a message has at most 4096 bytes; sign the digest of a longer one"})
	}
	version, err := c.pairVersion(key, req.Version)
	if err != nil {
		return fail(err)
	}
	if !req.Digest {
		digest, err := keypair.Digest(spec, version.PublicKey, scheme, req.Message)
		if err != nil {
			return fail(&Error{Kind: KindInternal, Message: "hashing for a stored key", Err: err})
		}
		return key, version, digest, nil
	}
	if scheme == hsm.SchemeEd25519 {
		return fail(Refuse(KindDigest, "Ed25519 signs messages, not digests: the message type must be RAW"))
	}
	if !scheme.TakesDigest(len(req.Message)) {
		return fail(Refuse(KindDigest, "the digest is not as long as the hash of the signing algorithm"))
	}
	return key, version, req.Message, nil
}

// DeriveSharedSecret agrees with a peer by elliptic curve Diffie-Hellman, with a
// version of the key (0: the first). The secret is the caller's to wipe.
func (s *Service) DeriveSharedSecret(ctx context.Context, c *Call, ref string, number uint32, peer []byte) (keyID string, secret []byte, err error) {
	c.asked.Text("key_id", ref)
	key, err := c.usableFor(ref, UsageKeyAgreement)
	if err != nil {
		return "", nil, err
	}
	version, err := c.pairVersion(key, number)
	if err != nil {
		return "", nil, err
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return "", nil, err
	}
	defer s.keys.release(loaded)
	agreer, is := loaded.key.(hsm.Agreer)
	if !is {
		return "", nil, Refuse(KindInternal, "a key for agreement was loaded as something else")
	}
	secret, err = withRoom(s.keys, func() ([]byte, error) { return agreer.Agree(ctx, peer) })
	switch {
	case errors.Is(err, hsm.ErrPublicKey):
		return "", nil, &Error{Kind: KindInvalid, Parameter: "public_key", Message: "the public key is not one of the spec " + key.Spec + " in DER", Err: err}
	case err != nil:
		return "", nil, moduleError("agreeing on a secret", err)
	}
	return key.ID, secret, nil
}

// paddingFor is how a pair encrypts for a purpose, with the label that says so.
func paddingFor(key *state.Key, purpose envelope.Purpose, algorithm string) (hsm.Padding, []byte, error) {
	spec := hsm.Spec(key.Spec)
	if purpose == envelope.PurposeDataKey {
		if spec.Family() != hsm.FamilyRSA {
			return "", nil, Refuse(KindPairKey, "keys of the spec %s encrypt data, not data keys", key.Spec)
		}
		return hsm.PaddingOAEPSHA256, []byte(dataKeyLabel), nil
	}
	padding := hsm.Padding(algorithm)
	if !padding.Fits(spec) {
		return "", nil, Refuse(KindPairAlgorithm, "keys of the spec %s do not encrypt with that algorithm", key.Spec)
	}
	return padding, nil, nil
}

// sealToPair encrypts to the public half: a bare block without an envelope.
func (s *Service) sealToPair(ctx context.Context, c *Call, key *state.Key, purpose envelope.Purpose, req EncryptRequest) (*Sealed, error) {
	padding, label, err := paddingFor(key, purpose, req.Algorithm)
	if err != nil {
		return nil, err
	}
	if !req.Context.IsNone() {
		return nil, errPairContext()
	}
	spec := hsm.Spec(key.Spec)
	if most := keypair.MaxPlaintext(spec, padding); len(req.Plaintext) > most {
		return nil, Refuse(KindTooLong, "a key of the spec %s encrypts at most %d bytes with %s", key.Spec, most, padding)
	}
	version, err := c.pairVersion(key, req.Version)
	if err != nil {
		return nil, err
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return nil, err
	}
	s.keys.release(loaded)
	ciphertext, err := keypair.Encrypt(spec, version.PublicKey, padding, label, req.Plaintext)
	if err != nil {
		return nil, &Error{Kind: KindInternal, Message: "encrypting to a stored key", Err: err}
	}
	return &Sealed{KeyID: key.ID, Spec: key.Spec, Ciphertext: ciphertext}, nil
}

// errPairContext: nothing of a bare block is bound to a context, so to take one
// would be to promise what is not kept.
func errPairContext() error {
	return &Error{Kind: KindInvalid, Parameter: "encryption_context", Message: "a ciphertext of a pair is not bound to a context; leave it out"}
}

// openWithPair is the inverse of sealToPair.
func (s *Service) openWithPair(ctx context.Context, c *Call, key *state.Key, purpose envelope.Purpose, req DecryptRequest) (*Sealed, error) {
	if err := c.mayDo(key, UsageEncryptDecrypt); err != nil {
		return nil, err
	}
	padding, label, err := paddingFor(key, purpose, req.Algorithm)
	if err != nil {
		return nil, err
	}
	if !req.Context.IsNone() {
		return nil, errPairContext()
	}
	version, err := c.pairVersion(key, req.Version)
	if err != nil {
		return nil, err
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return nil, err
	}
	defer s.keys.release(loaded)
	decrypter, is := loaded.key.(hsm.Decrypter)
	if !is {
		return nil, Refuse(KindInternal, "a key for decryption was loaded as something else")
	}
	plaintext, err := withRoom(s.keys, func() ([]byte, error) { return decrypter.Decrypt(ctx, padding, label, req.Ciphertext) })
	switch {
	case errors.Is(err, hsm.ErrDecrypt):
		return nil, errCiphertext(err)
	case err != nil:
		return nil, moduleError("opening the ciphertext", err)
	}
	return &Sealed{KeyID: key.ID, Spec: key.Spec, Plaintext: plaintext}, nil
}
