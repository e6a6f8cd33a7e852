package kms

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// CreateDataKey draws a fresh data key and seals it under a key.
func (s *Service) CreateDataKey(ctx context.Context, c *Call, req CreateDataKeyRequest) (*Sealed, error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Number("bits", int64(req.Bytes)*8)
	c.askedContext(req.Context)
	key, err := s.usableFor(ctx, c, req.Key, UsageEncryptDecrypt)
	if err != nil {
		return nil, err
	}
	if err := checkDataKeySize(req.Bytes); err != nil {
		return nil, err
	}
	fresh := make([]byte, req.Bytes)
	if err := s.entropy.Read(ctx, fresh); err != nil {
		return nil, moduleError("drawing the data key", err)
	}
	sealed, err := s.sealUnder(ctx, c, key, envelope.PurposeDataKey, EncryptRequest{Plaintext: fresh, Context: req.Context})
	if err != nil || !req.Plaintext {
		clear(fresh)
		return sealed, err
	}
	sealed.Plaintext = fresh
	return sealed, nil
}

func checkDataKeySize(bytes int) error {
	if bytes < 1 || bytes > MaxDataKeyBytes {
		return &Error{Kind: KindInvalid, Parameter: "bytes", Message: "a data key has 1 to 1024 bytes"}
	}
	return nil
}

// CreateDataKeys draws many fresh data keys and seals them under a symmetric
// key: one decision, one trace, and few calls of the module for all of them.
func (s *Service) CreateDataKeys(ctx context.Context, c *Call, req CreateDataKeysRequest) (*SealedKeys, error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Number("bits", int64(req.Bytes)*8)
	c.asked.Number("count", int64(req.Count))
	c.askedContext(req.Context)
	key, err := s.usableFor(ctx, c, req.Key, UsageEncryptDecrypt)
	switch {
	case err != nil:
		return nil, err
	case hsm.Spec(key.Spec).Pair():
		return nil, Refuse(KindPairKey, "many data keys at once are made under a symmetric key only")
	}
	if err := checkDataKeySize(req.Bytes); err != nil {
		return nil, err
	}
	if req.Count < 1 || req.Count > MaxDataKeys {
		return nil, &Error{Kind: KindInvalid, Parameter: "count", Message: "1 to 1000 data keys at a time"}
	}
	fresh := make([]byte, req.Count*req.Bytes)
	sealed, err := s.sealMany(ctx, c, key, fresh, req)
	if err != nil || !req.Plaintext {
		clear(fresh)
		return sealed, err
	}
	sealed.Plaintexts = fresh
	return sealed, nil
}

// sealMany fills fresh with data keys, and seals them.
func (s *Service) sealMany(ctx context.Context, c *Call, key *state.Key, fresh []byte, req CreateDataKeysRequest) (*SealedKeys, error) {
	for part := range slices.Chunk(fresh, entropy.DrawBytes) {
		if err := s.entropy.Read(ctx, part); err != nil {
			return nil, moduleError("drawing data keys", err)
		}
	}
	version, loaded, err := s.primary(ctx, c, key)
	if err != nil {
		return nil, err
	}
	defer s.keys.release(loaded)
	fields := envelope.Fields{Purpose: envelope.PurposeDataKey, KeyID: loaded.id, KeyVersion: version.Number}
	ciphertexts, err := envelope.AppendSealMany(ctx, nil, loaded.sealer, fields, fresh, req.Bytes, req.Context)
	if err != nil {
		return nil, moduleError("sealing under the key", err)
	}
	c.answered.Number("key_version", int64(version.Number))
	return &SealedKeys{KeyID: key.ID, Ciphertexts: ciphertexts}, nil
}

// EncryptDataKey seals a data key that the caller has.
func (s *Service) EncryptDataKey(ctx context.Context, c *Call, req EncryptRequest) (*Sealed, error) {
	return s.encrypt(ctx, c, req, envelope.PurposeDataKey, MaxDataKeyBytes)
}

// EncryptData seals up to MaxDataBytes of the caller's data.
func (s *Service) EncryptData(ctx context.Context, c *Call, req EncryptRequest) (*Sealed, error) {
	return s.encrypt(ctx, c, req, envelope.PurposeData, MaxDataBytes)
}

func (s *Service) encrypt(ctx context.Context, c *Call, req EncryptRequest, purpose envelope.Purpose, most int) (*Sealed, error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Number("bits", int64(len(req.Plaintext))*8)
	c.askedContext(req.Context)
	c.asked.Symbol("encryption_algorithm", req.Algorithm)
	key, err := s.usableFor(ctx, c, req.Key, UsageEncryptDecrypt)
	if err != nil {
		return nil, err
	}
	if len(req.Plaintext) < 1 || len(req.Plaintext) > most {
		return nil, Refuse(KindInvalid, "the plaintext has 1 to %d bytes", most)
	}
	return s.sealUnder(ctx, c, key, purpose, req)
}

// sealUnder encrypts the plaintext of req as the kind of the key demands.
func (s *Service) sealUnder(ctx context.Context, c *Call, key *state.Key, purpose envelope.Purpose, req EncryptRequest) (*Sealed, error) {
	if hsm.Spec(key.Spec).Pair() {
		return s.sealToPair(ctx, c, key, purpose, req)
	}
	if err := checkSymmetric(req.Algorithm); err != nil {
		return nil, err
	}
	if err := unversioned(req.Version); err != nil {
		return nil, err
	}
	return s.seal(ctx, c, key, purpose, req.Plaintext, req.Context)
}

// checkSymmetric lets the one algorithm of symmetric keys pass.
func checkSymmetric(algorithm string) error {
	if algorithm != "" && algorithm != AlgorithmSymmetric {
		return Refuse(KindSymmetricAlgorithm, "a symmetric key encrypts with %s only", AlgorithmSymmetric)
	}
	return nil
}

// DecryptDataKey opens a sealed data key.
func (s *Service) DecryptDataKey(ctx context.Context, c *Call, req DecryptRequest) (*Sealed, error) {
	return s.decrypt(ctx, c, req, envelope.PurposeDataKey)
}

// DecryptData opens sealed data.
func (s *Service) DecryptData(ctx context.Context, c *Call, req DecryptRequest) (*Sealed, error) {
	return s.decrypt(ctx, c, req, envelope.PurposeData)
}

// decrypt opens an envelope. The envelope's purpose must be the operation's:
// the purpose decides which permission opening needs, whatever the endpoint.
// What is no envelope is about no key.
func (s *Service) decrypt(ctx context.Context, c *Call, req DecryptRequest, purpose envelope.Purpose) (*Sealed, error) {
	c.asked.Text("key_id", req.Key)
	c.askedContext(req.Context)
	c.asked.Symbol("encryption_algorithm", req.Algorithm)
	var named *state.Key
	if req.Key != "" {
		var err error
		if named, err = c.findAuthorised(req.Key); err != nil {
			return nil, err
		}
		if hsm.Spec(named.Spec).Pair() {
			return s.openWithPair(ctx, c, named, purpose, req)
		}
	}
	header, err := envelope.ParseHeader(req.Ciphertext)
	if err != nil || header.Purpose != purpose {
		if refusal := c.authorise(); refusal != nil {
			return nil, refusal
		}
		if problem := checkSymmetric(req.Algorithm); problem != nil {
			return nil, problem
		}
		return nil, errCiphertext(err)
	}
	keyID := uuid.UUID(header.KeyID).String()
	if named != nil && named.ID != keyID {
		return nil, errCiphertext(nil)
	}
	key, err := c.findAuthorised(keyID)
	if err != nil {
		return nil, err
	}
	if err := checkSymmetric(req.Algorithm); err != nil {
		return nil, err
	}
	if err := unversioned(req.Version); err != nil {
		return nil, err
	}
	if err := c.mayDo(key, UsageEncryptDecrypt); err != nil {
		return nil, err
	}
	c.answered.Number("key_version", int64(header.KeyVersion))
	version, ok := c.Root.Version(key.ID, header.KeyVersion)
	if !ok {
		return nil, errCiphertext(nil)
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return nil, err
	}
	defer s.keys.release(loaded)
	if loaded.sealer == nil { // an envelope that was forged to name a pair
		return nil, errCiphertext(nil)
	}
	plaintext, err := envelope.Open(ctx, loaded.sealer, header, req.Ciphertext, req.Context)
	switch {
	case errors.Is(err, envelope.ErrMalformed), errors.Is(err, envelope.ErrAuthentication):
		return nil, errCiphertext(err)
	case err != nil:
		return nil, moduleError("opening the ciphertext", err)
	}
	return &Sealed{KeyID: key.ID, Spec: key.Spec, Plaintext: plaintext}, nil
}

// errCiphertext is the one answer to everything wrong with a ciphertext.
func errCiphertext(cause error) error {
	return &Error{Kind: KindCiphertext, Message: "the ciphertext is not one of this key, or it or its context was altered", Err: cause}
}

// seal makes an envelope under the key's primary version.
func (s *Service) seal(ctx context.Context, c *Call, key *state.Key, purpose envelope.Purpose, plaintext []byte, encContext envelope.Context) (*Sealed, error) {
	version, loaded, err := s.primary(ctx, c, key)
	if err != nil {
		return nil, err
	}
	defer s.keys.release(loaded)
	ciphertext, err := envelope.Seal(ctx, loaded.sealer, envelope.Fields{Purpose: purpose, KeyID: loaded.id, KeyVersion: version.Number}, plaintext, encContext)
	if err != nil {
		return nil, moduleError("sealing under the key", err)
	}
	c.answered.Number("key_version", int64(version.Number))
	return &Sealed{KeyID: key.ID, Spec: key.Spec, Ciphertext: ciphertext}, nil
}

// primary loads the version that encrypts. It is given back with release.
func (s *Service) primary(ctx context.Context, c *Call, key *state.Key) (*state.Version, *loadedKey, error) {
	version, ok := c.Root.Version(key.ID, key.PrimaryVersion)
	if !ok {
		return nil, nil, Refuse(KindInternal, "the key's primary version is missing")
	}
	loaded, err := s.use(ctx, key, version)
	return version, loaded, err
}

// GenerateRandom returns bytes of the module's own generator.
func (s *Service) GenerateRandom(ctx context.Context, c *Call, n int) ([]byte, error) {
	c.asked.Number("bits", int64(n)*8)
	if err := c.authorise(); err != nil {
		return nil, err
	}
	if n < 1 || n > MaxRandomBytes {
		return nil, &Error{Kind: KindInvalid, Parameter: "bytes", Message: "1 to 1024 random bytes at a time"}
	}
	p := make([]byte, n)
	if err := s.entropy.Draw(ctx, p); err != nil {
		return nil, moduleError("drawing random bytes", err)
	}
	return p, nil
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
