package kms

import (
	"context"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// ReEncryptRequest asks for a ciphertext to be sealed under another key, or
// under the newest version of the same, without its plaintext being seen.
type ReEncryptRequest struct {
	Source      DecryptRequest
	Destination EncryptRequest // its plaintext is the source's
	// DataKey says that the ciphertext of a pair is one of a data key; an
	// envelope says so itself.
	DataKey bool
}

// ReEncrypt needs the permission to decrypt what is inside on the one key, and
// to encrypt it on the other. What is
// inside stays what it is: data stays data, and a data key a data key.
func (s *Service) ReEncrypt(ctx context.Context, c *Call, req ReEncryptRequest) (from, to *Sealed, err error) {
	purpose := envelope.PurposeData
	if header, err := envelope.ParseHeader(req.Source.Ciphertext); err == nil {
		purpose = header.Purpose
	} else if req.DataKey {
		purpose = envelope.PurposeDataKey
	}
	open, seal := &reEncryptData, &reEncryptDataTo
	if purpose == envelope.PurposeDataKey {
		open, seal = &reEncryptDataKey, &reEncryptDataKeyTo
	}
	c.acting = open
	if from, err = s.decrypt(ctx, c, req.Source, purpose); err != nil {
		return nil, nil, err
	}
	defer from.Wipe()
	c.other = c.key
	c.asked.Text("destination_key_id", req.Destination.Key)
	c.acting = seal
	key, err := c.usableFor(req.Destination.Key, UsageEncryptDecrypt)
	if err != nil {
		return nil, nil, err
	}
	req.Destination.Plaintext = from.Plaintext
	to, err = s.sealUnder(ctx, c, key, purpose, req.Destination)
	return from, to, err
}

// The halves of re-encrypting, by what is inside. Policies allow them as they
// allow to decrypt and to encrypt; grants can allow them alone.
var (
	reEncryptData      = Operation{"reEncryptDataFrom", OpDecryptData.Action, "cmk"}
	reEncryptDataTo    = Operation{"reEncryptDataTo", OpEncryptData.Action, "cmk"}
	reEncryptDataKey   = Operation{"reEncryptDatakeyFrom", OpDecryptDataKey.Action, "cmk"}
	reEncryptDataKeyTo = Operation{"reEncryptDatakeyTo", OpEncryptDataKey.Action, "cmk"}
)

// DataKeyPair is a fresh pair whose private half is sealed. Wipe zeroes it.
type DataKeyPair struct {
	Sealed           // of the private key, PKCS#8; Plaintext only when it was asked for
	PublicKey []byte // DER SubjectPublicKeyInfo
}

// CreateDataKeyPair makes a pair for use outside and seals its private half as
// data, since it is larger than a data key: decrypt-data opens it.
func (s *Service) CreateDataKeyPair(ctx context.Context, c *Call, ref, spec string, about envelope.Context, plaintext bool) (*DataKeyPair, error) {
	c.asked.Text("key_id", ref)
	c.asked.Symbol("key_spec", spec)
	c.askedContext(about)
	if !plaintext { // which grants tell apart
		c.acting = &Operation{c.in.Operation.Name + "WithoutPlaintext", c.in.Operation.Action, c.in.Operation.Resource}
	}
	key, err := c.usableFor(ref, UsageEncryptDecrypt)
	if err != nil {
		return nil, err
	}
	if hsm.Spec(key.Spec).Pair() {
		return nil, Refuse(KindPairKey, "a private key is sealed under a symmetric key only")
	}
	if !hsm.Spec(spec).Pair() {
		return nil, &Error{Kind: KindUnsupported, Parameter: "spec", Message: "there are no pairs of that spec"}
	}
	private, public, err := keypair.Generate(hsm.Spec(spec))
	if err != nil {
		return nil, &Error{Kind: KindInternal, Message: "making a pair", Err: err}
	}
	sealed, err := s.seal(ctx, c, key, envelope.PurposeData, private, about)
	if err != nil || !plaintext {
		clear(private)
	}
	if err != nil {
		return nil, err
	}
	if plaintext {
		sealed.Plaintext = private
	}
	return &DataKeyPair{Sealed: *sealed, PublicKey: public}, nil
}
