package pkcs11

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/padding"
)

// as makes of a loaded object what its spec and use say.
func (k *object) as(use hsm.Use) hsm.Loaded {
	switch {
	case k.wrapped.Spec == hsm.SpecAES256:
		return &blockObject{k}
	case use == hsm.UseSign:
		return &signObject{k}
	case use == hsm.UseEncrypt:
		return &decryptObject{k}
	case use == hsm.UseAgree:
		return &agreeObject{k}
	default:
		return &macObject{k}
	}
}

// compute runs f with a session and the handle.
func (k *object) compute(ctx context.Context, f func(s *session, h p11.ObjectHandle) ([]byte, error)) (result []byte, err error) {
	err = k.m.dev.call(ctx, k.m.dev.work, func(s *session) error {
		return k.use(ctx, func(h p11.ObjectHandle) (err error) {
			result, err = f(s, h)
			return err
		})
	})
	return result, err
}

type signObject struct{ *object }

// Sign signs in the device. What it asks for there is in the capability table.
func (k *signObject) Sign(ctx context.Context, scheme hsm.Scheme, digest []byte) ([]byte, error) {
	spec := k.wrapped.Spec
	if !scheme.Fits(spec) || !scheme.TakesDigest(len(digest)) {
		return nil, fmt.Errorf("signing %d bytes with %s and %s: %w", len(digest), spec, scheme, hsm.ErrUnsupported)
	}
	how, input, err := k.m.signing(spec, scheme, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	signature, err := k.compute(ctx, func(s *session, h p11.ObjectHandle) ([]byte, error) {
		return k.m.signWith(s, h, how, input)
	})
	if err == nil && spec.Family() == hsm.FamilyEC {
		signature, err = encodeECDSA(spec, signature)
	}
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}

// signing is the mechanism for a scheme, and its input.
func (m *Module) signing(spec hsm.Spec, scheme hsm.Scheme, digest []byte) (how []*p11.Mechanism, input []byte, err error) {
	switch hash := scheme.Hash(); {
	case spec.Family() != hsm.FamilyRSA:
		return mechanism(signMechanism(spec)), digest, nil
	case !scheme.PSS():
		input, err = padding.DigestInfo(hash, digest)
		return mechanism(p11.CKM_RSA_PKCS), input, err
	case m.can.pss[hash]:
		return pssMechanism(hash), digest, nil
	default:
		input, err = padding.PadPSS(hash, digest, spec.Bits())
		return mechanism(p11.CKM_RSA_X_509), input, err
	}
}

func (m *Module) signWith(s *session, key p11.ObjectHandle, how []*p11.Mechanism, input []byte) ([]byte, error) {
	if err := m.dev.api.SignInit(s.handle, how, key); err != nil {
		return nil, err
	}
	return m.dev.api.Sign(s.handle, input)
}

// encodeECDSA makes DER of the two numbers that a device gives.
func encodeECDSA(spec hsm.Spec, raw []byte) ([]byte, error) {
	if len(raw) != signatureSize(spec) {
		return nil, fmt.Errorf("%w: an ECDSA signature of %d bytes", hsm.ErrUnsupported, len(raw))
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
	})
	return b.Bytes()
}

type macObject struct{ *object }

// MAC computes in the device.
func (k *macObject) MAC(ctx context.Context, message []byte) ([]byte, error) {
	spec := k.wrapped.Spec
	mac, err := k.compute(ctx, func(s *session, h p11.ObjectHandle) ([]byte, error) {
		return k.m.signWith(s, h, mechanism(k.m.can.hmac[spec]), message)
	})
	if err == nil && len(mac) != spec.HMACHash().Size() {
		err = fmt.Errorf("%w: an %s of %d bytes", hsm.ErrUnsupported, spec, len(mac))
	}
	if err != nil {
		return nil, fmt.Errorf("making a MAC: %w", err)
	}
	return mac, nil
}

type agreeObject struct{ *object }

// Agree derives in the device and reads the secret from there.
func (k *agreeObject) Agree(ctx context.Context, peer []byte) ([]byte, error) {
	spec := k.wrapped.Spec
	if err := keypair.CheckPublic(spec, peer); err != nil {
		return nil, fmt.Errorf("agreeing on a secret: %w", err)
	}
	secret, err := k.compute(ctx, func(s *session, h p11.ObjectHandle) ([]byte, error) {
		return k.m.agreeWith(s, h, spec, k.m.can.curves[spec], peer)
	})
	if err != nil {
		return nil, fmt.Errorf("agreeing on a secret: %w", err)
	}
	return secret, nil
}

func (m *Module) agreeWith(s *session, key p11.ObjectHandle, spec hsm.Spec, c curve, peer []byte) (secret []byte, err error) {
	point, err := keypair.Point(spec, peer)
	if err == nil && c.pointDER {
		point, err = asn1.Marshal(point)
	}
	if err != nil {
		return nil, err
	}
	size := fieldSize(spec)
	derived, err := m.dev.api.DeriveKey(s.handle, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE,
		p11.NewECDH1DeriveParams(p11.CKD_NULL, nil, point))}, key, agreedSecret(size))
	if err != nil {
		return nil, err
	}
	secret = make([]byte, size)
	n, err := m.dev.api.ReadValue(s.handle, derived, secret)
	if err == nil && n != size {
		err = fmt.Errorf("%w: a common secret of %d bytes", hsm.ErrUnsupported, n)
	}
	if err = errors.Join(err, m.dev.api.DestroyObject(s.handle, derived)); err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

type decryptObject struct{ *object }

// Decrypt has the device unpad where it can, and else unpads what it computed.
func (k *decryptObject) Decrypt(ctx context.Context, how hsm.Padding, label, ciphertext []byte) ([]byte, error) {
	spec := k.wrapped.Spec
	if !how.Fits(spec) {
		return nil, fmt.Errorf("decrypting %s with %s: %w", spec, how, hsm.ErrUnsupported)
	}
	modulus, err := keypair.Modulus(spec, k.wrapped.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	// Told by the length or the size of a number that everybody can see.
	if len(ciphertext) != len(modulus) || bytes.Compare(ciphertext, modulus) >= 0 {
		return nil, hsm.ErrDecrypt
	}
	native := k.m.can.oaep[oaepWay{how.Hash(), len(label) > 0}]
	block := make([]byte, len(modulus))
	defer clear(block)
	plaintext, err := k.compute(ctx, func(s *session, h p11.ObjectHandle) ([]byte, error) {
		if native {
			n, err := k.m.decryptWith(s, h, oaepMechanism(how.Hash(), label), block, ciphertext)
			if err != nil {
				return nil, k.m.decryptRefused(s, err)
			}
			return bytes.Clone(block[:n]), nil
		}
		n, err := k.m.decryptWith(s, h, mechanism(p11.CKM_RSA_X_509), block, ciphertext)
		if err != nil {
			return nil, err
		}
		alignRight(block, n)
		message, ok := padding.UnpadOAEP(how.Hash(), label, block)
		if !ok {
			return nil, hsm.ErrDecrypt
		}
		return bytes.Clone(message), nil
	})
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	return plaintext, nil
}

// DecryptPKCS1 unpads what raw RSA gave: a device that unpads says whether it
// could, and that is what an attacker wants to know.
func (k *decryptObject) DecryptPKCS1(ctx context.Context, dst, ciphertext []byte) error {
	modulus, err := keypair.Modulus(k.wrapped.Spec, k.wrapped.PublicKey)
	switch {
	case err != nil:
		return fmt.Errorf("decrypting: %w", err)
	case !k.m.can.raw:
		return fmt.Errorf("decrypting: %w: the token has no CKM_RSA_X_509", hsm.ErrUnsupported)
	case len(ciphertext) != len(modulus) || bytes.Compare(ciphertext, modulus) >= 0:
		return hsm.ErrDecrypt
	}
	block := make([]byte, len(modulus))
	defer clear(block)
	_, err = k.compute(ctx, func(s *session, h p11.ObjectHandle) ([]byte, error) {
		n, err := k.m.decryptWith(s, h, mechanism(p11.CKM_RSA_X_509), block, ciphertext)
		if err != nil {
			return nil, err
		}
		alignRight(block, n)
		padding.UnpadPKCS1(dst, block)
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("decrypting: %w", err)
	}
	return nil
}

func (m *Module) decryptWith(s *session, key p11.ObjectHandle, how []*p11.Mechanism, dst, src []byte) (int, error) {
	if err := m.dev.api.DecryptInit(s.handle, how, key); err != nil {
		return 0, err
	}
	return m.dev.api.DecryptInto(s.handle, dst, src)
}

// decryptRefused tells a bad ciphertext from a device in trouble.
func (m *Module) decryptRefused(s *session, err error) error {
	refused, doubt := unwrapRefused(err)
	if !refused {
		return err
	}
	if doubt {
		t, terr := m.table(s)
		if terr != nil {
			return err
		}
		if _, serr := m.sign(s, t.sets[t.current][hsm.RecordMAC], []byte("raftkms check")); serr != nil {
			return err
		}
	}
	return hsm.ErrDecrypt
}

// alignRight moves the first n bytes to the end and puts zeros before them: some
// devices leave leading zeros of a block out.
func alignRight(block []byte, n int) {
	if n < len(block) {
		copy(block[len(block)-n:], block[:n])
		clear(block[:len(block)-n])
	}
}
