package kms

import (
	"context"
	"crypto/hmac"

	"github.com/raftkms/raftkms/hsm"
)

// MACRequest asks for the MAC of a message, or with MAC for its verification.
type MACRequest struct {
	Key       string
	Algorithm string // HMAC_SHA_256 …, the one of the key's spec
	Message   []byte
	MAC       []byte
}

// macAlgorithms are the names of the MACs of each spec.
var macAlgorithms = map[hsm.Spec]string{
	hsm.SpecHMAC256: "HMAC_SHA_256",
	hsm.SpecHMAC384: "HMAC_SHA_384",
	hsm.SpecHMAC512: "HMAC_SHA_512",
	hsm.SpecHMACSM3: "HMAC_SM3",
}

// GenerateMAC makes a MAC.
func (s *Service) GenerateMAC(ctx context.Context, c *Call, req MACRequest) (keyID string, mac []byte, err error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Symbol("mac_algorithm", req.Algorithm)
	key, err := c.usableFor(req.Key, UsageGenerateVerifyMAC)
	if err != nil {
		return "", nil, err
	}
	if own := macAlgorithms[hsm.Spec(key.Spec)]; req.Algorithm != own {
		return "", nil, &Error{Kind: KindInvalid, Parameter: "mac_algorithm", Message: "the MAC algorithm of a key of the spec " + key.Spec + " is " + own}
	}
	if len(req.Message) < 1 || len(req.Message) > MaxMessageBytes {
		return "", nil, &Error{Kind: KindInvalid, Parameter: "message", Message: "a message has 1 to 4096 bytes"}
	}
	version, ok := c.Root.Version(key.ID, key.PrimaryVersion)
	if !ok {
		return "", nil, Refuse(KindInternal, "the key's primary version is missing")
	}
	loaded, err := s.use(ctx, key, version)
	if err != nil {
		return "", nil, err
	}
	defer s.keys.release(loaded)
	macer, is := loaded.key.(hsm.MACer)
	if !is {
		return "", nil, Refuse(KindInternal, "a key for MACs was loaded as something else")
	}
	if mac, err = withRoom(s.keys, func() ([]byte, error) { return macer.MAC(ctx, req.Message) }); err != nil {
		return "", nil, moduleError("making a MAC with the key", err)
	}
	return key.ID, mac, nil
}

// VerifyMAC tells, in constant time, whether a MAC is one of the key over the
// message.
func (s *Service) VerifyMAC(ctx context.Context, c *Call, req MACRequest) (keyID string, valid bool, err error) {
	keyID, mac, err := s.GenerateMAC(ctx, c, req)
	if err != nil {
		return "", false, err
	}
	defer clear(mac)
	valid = hmac.Equal(mac, req.MAC)
	c.answered.Flag("valid", valid)
	return keyID, valid, nil
}
