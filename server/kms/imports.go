package kms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/server/audit"
)

// Bring your own key. The wrapping pair is made in the module and lies wrapped
// in the key's record, so that any node can finish what another began.

// The operations of imports.
var (
	OpGetParametersForImport = Operation{"getParametersForImport", policy.ActionGetMaterial, "cmk"}
	OpImportKeyMaterial      = Operation{"importKeyMaterial", policy.ActionImportMaterial, "cmk"}
	OpDeleteKeyMaterial      = Operation{"deleteImportedKeyMaterial", policy.ActionDeleteMaterial, "cmk"}
	OpExpireImport           = Operation{"expireImportedKeyMaterial", "", "cmk"}
)

const importLife = 24 * time.Hour

// The wrapping algorithms.
const (
	WrapOAEPSHA256 = string(hsm.PaddingOAEPSHA256)
	WrapOAEPSHA1   = string(hsm.PaddingOAEPSHA1)
	WrapPKCS1      = "RSAES_PKCS1_V1_5"
)

// ImportParameters are what an import is made with.
type ImportParameters struct {
	KeyID     string
	Token     []byte
	PublicKey []byte // DER SubjectPublicKeyInfo of an RSA pair with 2048 bits
	Expires   time.Time
}

// ImportRequest brings material. For a symmetric key Material is the wrapped
// key; for a pair it is a temporary AES key, and PrivateKey the PKCS#8 under
// that one (RFC 5649).
type ImportRequest struct {
	Key        string
	Token      []byte
	Material   []byte
	PrivateKey []byte
	Expires    time.Time // zero: never
}

// pairLevel is where the private halves of wrapping pairs are.
func (s *Service) pairLevel() hsm.Level {
	if d := s.module.Describe(); d.Device && d.CarriesFor(hsm.SpecRSA2048, hsm.UseEncrypt) {
		return hsm.LevelHSM
	}
	return hsm.LevelSoftware
}

// verifyPair returns the wrapping pair of an import. Its level is that of the node
// that made it, whose HSM may carry what this node's does not; only the MAC tells.
func (s *Service) verifyPair(ctx context.Context, token importToken, pair state.ImportPair) (w hsm.Wrapped, err error) {
	own, other := s.pairLevel(), hsm.LevelHSM
	if own == other {
		other = hsm.LevelSoftware
	}
	for _, level := range []hsm.Level{own, other} {
		w = hsm.Wrapped{
			Level: level, Spec: hsm.SpecRSA2048, Use: hsm.UseEncrypt, Generation: hsm.RootGeneration(pair.RootGeneration),
			Blob: pair.Blob, PublicKey: pair.PublicKey,
		}
		if err = hsm.VerifyBinding(ctx, s.module, s.pairBinding(token, w), pair.MAC); !errors.Is(err, hsm.ErrMAC) {
			break
		}
	}
	return w, err
}

// findImporting finds a key whose material comes from elsewhere.
func (c *Call) findImporting(ref string) (*state.Key, error) {
	key, err := c.findAuthorised(ref)
	switch {
	case err != nil:
		return nil, err
	case key.Default:
		return nil, Refuse(KindDefaultKey, "this is not done to the default master key of a service")
	case key.Origin != OriginExternal:
		return nil, Refuse(KindNotExternal, "the material of this key is made by the service")
	default:
		return key, nil
	}
}

// awaitsImport asks whether the key waits for its material.
func awaitsImport(key *state.Key) error {
	switch key.State {
	case state.PendingImport:
		return nil
	case state.PendingDeletion:
		return Refuse(KindKeyPendingDeletion, "the key waits for its deletion at %s", isoTime(key.Deletion))
	default:
		return Refuse(KindNotPendingImport, "the key has its material")
	}
}

// GetParametersForImport makes a wrapping pair and the token that goes with it.
func (s *Service) GetParametersForImport(ctx context.Context, c *Call, ref, algorithm string) (*ImportParameters, error) {
	c.asked.Text("key_id", ref)
	c.asked.Symbol("wrapping_algorithm", algorithm)
	key, err := c.findImporting(ref)
	if err == nil {
		err = awaitsImport(key)
	}
	if err != nil {
		return nil, err
	}
	number, known := wrappingNumber(algorithm)
	if !known {
		return nil, &Error{Kind: KindUnsupported, Parameter: "wrapping_algorithm", Message: "the wrapping algorithm is " + WrapOAEPSHA256 + ", " + WrapOAEPSHA1 + " or " + WrapPKCS1}
	}
	if number != wrapOAEPSHA256 {
		if s.forbidWeakImport {
			return nil, &Error{Kind: KindUnsupported, Parameter: "wrapping_algorithm", Message: "this wrapping algorithm is forbidden here; use " + WrapOAEPSHA256}
		}
		c.Remark(audit.RatingWarning, "the material is to be wrapped with "+algorithm+", which is weaker than "+WrapOAEPSHA256)
	}
	if err := s.Healthy(); err != nil {
		return nil, moduleError("taking a wrapping pair", err)
	}
	wrapped, err := s.pairs.take(ctx, c.Root.Cluster().RootGeneration)
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(key.ID)
	if err != nil {
		return nil, &Error{Kind: KindInternal, Message: "reading the id of a stored key", Err: err}
	}
	token := importToken{id: uuid.New(), key: id, expires: max(c.Root.Now(), time.Now().UnixMilli()) + importLife.Milliseconds(), algorithm: number}
	mac, err := hsm.Bind(ctx, s.module, s.pairBinding(token, wrapped))
	if err != nil {
		return nil, moduleError("binding the wrapping pair", err)
	}
	sealed, err := sealToken(ctx, s.inUse(), token)
	if err != nil {
		return nil, err
	}
	body := command.OpenImport{
		ProjectID: key.ProjectID, KeyID: key.ID, TokenID: token.id[:], Expires: token.expires,
		RootGeneration: uint32(wrapped.Generation), Blob: wrapped.Blob, PublicKey: wrapped.PublicKey, MAC: mac,
	}
	if _, err := s.propose(ctx, c, body, key.ID, algorithm); err != nil {
		return nil, err
	}
	return &ImportParameters{KeyID: key.ID, Token: sealed, PublicKey: wrapped.PublicKey, Expires: time.UnixMilli(token.expires)}, nil
}

// pairBinding is what the MAC of a wrapping pair speaks about: also the token
// and the algorithm, so that neither can be used with another.
func (s *Service) pairBinding(t importToken, w hsm.Wrapped) hsm.Binding {
	return hsm.Binding{
		KeyID: t.key, Spec: hsm.SpecRSA2048, Usage: "IMPORT", Origin: hex.EncodeToString(append(t.id[:], t.algorithm)),
		Level: w.Level, Generation: w.Generation, Blob: w.Blob, PublicKey: w.PublicKey,
	}
}

// ImportKeyMaterial gives a key its material.
func (s *Service) ImportKeyMaterial(ctx context.Context, c *Call, req ImportRequest) error {
	c.asked.Text("key_id", req.Key)
	if !req.Expires.IsZero() {
		c.asked.Text("expires", isoTime(req.Expires.UnixMilli()))
	}
	if _, known, err := c.repeated(command.TypeImportMaterial); known || err != nil {
		return err
	}
	key, err := c.findImporting(req.Key)
	if err == nil {
		err = awaitsImport(key)
	}
	if err != nil {
		return err
	}
	now := max(c.Root.Now(), time.Now().UnixMilli())
	token, pair, err := s.openImport(ctx, key, req.Token, now)
	if err != nil {
		return err
	}
	spec := hsm.Spec(key.Spec)
	switch {
	case s.forbidWeakImport && token.algorithm != wrapOAEPSHA256:
		return Refuse(KindImportToken, "the wrapping algorithm of this import token is forbidden here; ask for new parameters with "+WrapOAEPSHA256)
	case spec.Pair() && !req.Expires.IsZero():
		return Refuse(KindPairMaterial, "the material of an asymmetric key does not expire")
	case !req.Expires.IsZero() && req.Expires.UnixMilli() <= now:
		return Refuse(KindImportExpiry, "the material would have expired already")
	case spec.Pair() && len(req.PrivateKey) == 0:
		return Refuse(KindPrivateKeyMissing, "the material of an asymmetric key is a private key under the wrapped one")
	}
	material, err := s.unwrapMaterial(ctx, spec, token, pair, req)
	if err != nil {
		switch KindOf(err) {
		case KindImportUnwrap, KindPrivateKeyInvalid, KindMaterialSize, KindTemporaryKey:
			failure := command.CountImportFailure{ProjectID: key.ProjectID, KeyID: key.ID, TokenID: token.id[:]}
			if _, cerr := s.propose(ctx, c, failure, key.ID, "failure"); cerr != nil {
				return cerr // a failure that is not counted is not told
			}
		}
		return err
	}
	defer clear(material)
	return s.bringMaterial(ctx, c, key, token, material, req.Expires)
}

// openImport finds the wrapping pair of a token, and says what is wrong with it.
func (s *Service) openImport(ctx context.Context, key *state.Key, sealed []byte, now int64) (importToken, state.ImportPair, error) {
	fail := func(err error) (importToken, state.ImportPair, error) { return importToken{}, state.ImportPair{}, err }
	token, err := s.openToken(ctx, sealed)
	if err != nil {
		return fail(err)
	}
	pair, ok := key.ImportPair(token.id[:])
	switch {
	case token.key.String() != key.ID:
		return fail(Refuse(KindImportOtherKey, "the import token belongs to another key"))
	case token.expires <= now, !ok, pair.Expires <= now:
		return fail(Refuse(KindImportExpired, "the import token has expired; ask for new parameters"))
	case pair.Ended():
		return fail(Refuse(KindImportToken, "the import token has failed too often; ask for new parameters"))
	default:
		return token, pair, nil
	}
}

// unwrapMaterial opens what was wrapped, inside the module, and has it in the
// memory of the process. Everything that does not open is one error.
func (s *Service) unwrapMaterial(ctx context.Context, spec hsm.Spec, token importToken, pair state.ImportPair, req ImportRequest) ([]byte, error) {
	w, err := s.verifyPair(ctx, token, pair)
	if err != nil {
		return nil, moduleError("the wrapping pair does not verify", err)
	}
	if w.Level == hsm.LevelHSM && !s.module.Describe().CarriesFor(w.Spec, w.Use) {
		// As while the module is away: a node is asked that carries it, as the one does that made it.
		return nil, moduleError("loading the wrapping pair", fmt.Errorf("%w for this import: its wrapping pair is an %s key of %s level, which the HSM of this node does not carry",
			hsm.ErrUnavailable, w.Spec, w.Level))
	}
	loaded, err := s.keys.loadMaterial(ctx, w)
	if err != nil {
		return nil, moduleError("loading the wrapping pair", err)
	}
	defer loaded.Close()
	decrypter, is := loaded.(hsm.Decrypter)
	if !is {
		return nil, Refuse(KindInternal, "the wrapping pair was loaded as something else")
	}
	return openMaterial(ctx, decrypter, token.algorithm, spec, req)
}

// bringMaterial has the module wrap the material and replicates it.
func (s *Service) bringMaterial(ctx context.Context, c *Call, key *state.Key, token importToken, material []byte, expires time.Time) error {
	print, err := s.fingerprint(ctx, key, token.key, material)
	if err != nil {
		return err
	}
	wrapped, err := withRoom(s.keys, func() (hsm.Wrapped, error) {
		return s.inUse().Import(ctx, hsm.Level(key.Level), hsm.Spec(key.Spec), bytes.Clone(material)) // which wipes what it is given
	})
	if err != nil {
		return moduleError("wrapping the material in the module", err)
	}
	mac, err := hsm.Bind(ctx, s.module, hsm.Binding{
		KeyID: token.key, Version: 1, Spec: wrapped.Spec, Usage: key.Usage, Origin: key.Origin, Level: wrapped.Level,
		Generation: wrapped.Generation, Blob: wrapped.Blob, PublicKey: wrapped.PublicKey,
	})
	if err != nil {
		return moduleError("binding the material to its record", err)
	}
	body := command.ImportMaterial{
		ProjectID: key.ProjectID, KeyID: key.ID, TokenID: token.id[:], Fingerprint: print,
		Version: command.NewVersion{Number: 1, RootGeneration: uint32(wrapped.Generation), Blob: wrapped.Blob, PublicKey: wrapped.PublicKey, MAC: mac},
	}
	if !expires.IsZero() {
		body.Expires = expires.UnixMilli()
	}
	_, err = s.propose(ctx, c, body, key.ID, hex.EncodeToString(token.id[:]))
	return err
}

// fingerprint is a hash of the material, sealed under root-seal so that it says
// nothing to who has it without the module; an earlier one of the key must be of
// the same. It is a seal and no MAC, so that it can be put under other roots.
func (s *Service) fingerprint(ctx context.Context, key *state.Key, id uuid.UUID, material []byte) ([]byte, error) {
	own := bytes.Clone(material)
	if spec := hsm.Spec(key.Spec); spec.Pair() { // one key has several encodings
		clear(own)
		var err error
		if own, _, err = keypair.Canonical(spec, material); err != nil {
			return nil, Refuse(KindPrivateKeyInvalid, "the private key is none of the spec %s", key.Spec)
		}
	}
	defer clear(own)
	digest := materialDigest(own)
	defer clear(digest[:])
	label := append(domain("raftkms import fingerprint v1"), id[:]...)
	if len(key.Fingerprint) == 0 {
		generation := hsm.RootGeneration(s.replica.Root().Cluster().RootGeneration)
		print, err := s.withSeal(ctx, generation, func(seal *envelope.Key) ([]byte, error) {
			return envelope.SealSecret(ctx, seal, generation, digest[:], label)
		})
		if err != nil {
			return nil, moduleError("making a fingerprint", err)
		}
		return print, nil
	}
	earlier, err := s.openFingerprint(ctx, id, key.Fingerprint)
	defer clear(earlier)
	switch {
	case err != nil:
		return nil, moduleError("comparing a fingerprint", err)
	case subtle.ConstantTimeCompare(earlier, digest[:]) != 1:
		return nil, Refuse(KindMaterialDiffers, "the key has had other material before, and only the same can be imported again")
	}
	return key.Fingerprint, nil
}

// materialDigest hashes material with its length. What is hashed lies in one slice
// that is wiped: a hash that is written to keeps what does not fill a block.
func materialDigest(material []byte) [sha256.Size]byte {
	b := make([]byte, 0, 4+len(material))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(material))), material...)
	defer clear(b)
	return sha256.Sum256(b)
}

// openFingerprint returns the hash of a key's first material, the caller's to wipe.
func (s *Service) openFingerprint(ctx context.Context, id uuid.UUID, sealed []byte) ([]byte, error) {
	generation, err := envelope.SecretGeneration(sealed)
	if err != nil {
		return nil, err
	}
	return s.withSeal(ctx, generation, func(seal *envelope.Key) ([]byte, error) {
		return envelope.OpenSecret(ctx, seal, sealed, append(domain("raftkms import fingerprint v1"), id[:]...))
	})
}

// withSeal lends root-seal of a generation.
func (s *Service) withSeal(ctx context.Context, generation hsm.RootGeneration, do func(seal *envelope.Key) ([]byte, error)) ([]byte, error) {
	raw, err := s.module.Under(generation).Seal(ctx)
	if err != nil {
		return nil, err
	}
	seal, err := envelope.NewKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	defer seal.Close()
	return do(seal)
}

// DeleteKeyMaterial erases the material of a symmetric key.
func (s *Service) DeleteKeyMaterial(ctx context.Context, c *Call, ref string) error {
	c.asked.Text("key_id", ref)
	key, err := c.findImporting(ref)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, c, command.DeleteMaterial{ProjectID: key.ProjectID, KeyID: key.ID}, key.ID)
	return err
}

// ExpireImports erases the material and the wrapping pairs whose time is over
// at now (Unix ms), in whatever state their keys are.
func (s *Service) ExpireImports(ctx context.Context, now int64) error {
	expires := func(key *state.Key) bool { due := key.ImportDue(); return due != 0 && due <= now }
	return s.forDue(ctx, now, expires, func(ctx context.Context, key *state.Key) error {
		due := key.ImportDue()
		return s.RunSystem(ctx, OpExpireImport, key.ProjectID, command.CallerSystem, func(ctx context.Context, c *Call) error {
			c.About(key)
			c.asked.Text("key_id", key.ID)
			c.asked.Text("due", isoTime(due))
			_, err := s.propose(ctx, c, command.ExpireImport{KeyID: key.ID, Due: due}, key.ID, isoTime(due))
			return err
		})
	})
}
