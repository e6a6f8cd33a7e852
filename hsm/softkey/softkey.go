// Package softkey is keys in the locked memory of this process: those of the
// software module, and the SOFTWARE level keys of any module.
//
// Material is what a module wraps: the bytes of a secret key, or the PKCS#8 of a
// pair. What it promises: the material lies in locked memory until Close and is
// wiped then, and a loaded key does what it was loaded for and nothing else.
// What libraries make of it (a parsed private key, a key schedule) lives on the
// Go heap for the length of a call; only AES-256 keys are expanded in locked memory.
package softkey

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"fmt"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/locked"
)

// Generate makes the material of a spec, and the public half of a pair. The
// material is the caller's to wipe.
func Generate(spec hsm.Spec) (material, public []byte, err error) {
	if spec.Pair() {
		return keypair.Generate(spec)
	}
	size := secretSize(spec)
	if size == 0 {
		return nil, nil, fmt.Errorf("making a key: spec %q: %w", spec, hsm.ErrUnsupported)
	}
	material = make([]byte, size)
	if _, err := rand.Read(material); err != nil {
		return nil, nil, fmt.Errorf("drawing key material: %w", err)
	}
	return material, nil, nil
}

// secretSize is the size of a symmetric key in bytes, 0 for what is none.
func secretSize(spec hsm.Spec) int {
	if spec.Pair() {
		return 0
	}
	return spec.Bits() / 8
}

// Imported brings material from elsewhere into its one form, which is the
// caller's to wipe, with the public half of a pair.
func Imported(spec hsm.Spec, material []byte) (own, public []byte, err error) {
	if !spec.Pair() {
		return bytes.Clone(material), nil, Check(spec, material, nil)
	}
	if own, public, err = keypair.Canonical(spec, material); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", hsm.ErrUnwrap, err)
	}
	return own, public, nil
}

// Check returns an error wrapping [hsm.ErrUnwrap] unless the material is that of
// the spec and, for a pair, of the public key.
func Check(spec hsm.Spec, material, public []byte) error {
	if !spec.Pair() {
		if size := secretSize(spec); size == 0 || len(material) != size {
			return fmt.Errorf("%w: %d bytes are no %s key", hsm.ErrUnwrap, len(material), spec)
		}
		return nil
	}
	own, err := keypair.Public(spec, material)
	if err != nil {
		return fmt.Errorf("%w: %w", hsm.ErrUnwrap, err)
	}
	if !bytes.Equal(own, public) {
		return fmt.Errorf("%w: the public key of the record is another one's", hsm.ErrUnwrap)
	}
	return nil
}

// Load makes a key of the material, for w.Use. It wipes material whether it
// succeeds or not. Of w only spec, use and public key matter.
func Load(arena *locked.Arena, w hsm.Wrapped, material []byte) (hsm.Loaded, error) {
	defer clear(material)
	use, ok := w.UseOf()
	if !ok {
		return nil, fmt.Errorf("spec %q for %s: %w", w.Spec, w.Use, hsm.ErrUnsupported)
	}
	if err := Check(w.Spec, material, w.PublicKey); err != nil {
		return nil, err
	}
	if w.Spec == hsm.SpecAES256 {
		return arena.NewKey(material)
	}
	secret, err := arena.NewSecret(material)
	if err != nil {
		return nil, err
	}
	held := held{Secret: secret, spec: w.Spec}
	switch use {
	case hsm.UseEncrypt:
		if w.Spec == hsm.SpecSM4 {
			return &blocks{held}, nil
		}
		return &decrypter{held}, nil
	case hsm.UseSign:
		return &signer{held}, nil
	case hsm.UseAgree:
		return &agreer{held}, nil
	default:
		return &macer{held}, nil
	}
}

// held is material that is lent to one computation after the other.
type held struct {
	*locked.Secret
	spec hsm.Spec
}

// compute has f make a result of the material.
func (h held) compute(ctx context.Context, f func(material []byte) ([]byte, error)) (result []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = h.Lend(func(material []byte) (err error) {
		result, err = f(material)
		return err
	})
	return result, err
}

type signer struct{ held }

func (k *signer) Sign(ctx context.Context, scheme hsm.Scheme, digest []byte) ([]byte, error) {
	return k.compute(ctx, func(private []byte) ([]byte, error) {
		return keypair.Sign(k.spec, private, scheme, digest)
	})
}

type decrypter struct{ held }

func (k *decrypter) Decrypt(ctx context.Context, padding hsm.Padding, label, ciphertext []byte) ([]byte, error) {
	return k.compute(ctx, func(private []byte) ([]byte, error) {
		return keypair.Decrypt(k.spec, private, padding, label, ciphertext)
	})
}

func (k *decrypter) DecryptPKCS1(ctx context.Context, dst, ciphertext []byte) error {
	_, err := k.compute(ctx, func(private []byte) ([]byte, error) {
		return nil, keypair.DecryptPKCS1(k.spec, private, dst, ciphertext)
	})
	return err
}

type agreer struct{ held }

func (k *agreer) Agree(ctx context.Context, peer []byte) ([]byte, error) {
	return k.compute(ctx, func(private []byte) ([]byte, error) {
		return keypair.Agree(k.spec, private, peer)
	})
}

type macer struct{ held }

func (k *macer) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return k.compute(ctx, func(secret []byte) ([]byte, error) {
		newHash := sm3.New
		if k.spec != hsm.SpecHMACSM3 {
			newHash = k.spec.HMACHash().New
		}
		h := hmac.New(newHash, secret)
		h.Write(message)
		return h.Sum(nil), nil
	})
}

// blocks is an SM4 key. Its schedule is made for each call.
type blocks struct{ held }

func (k *blocks) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(src) == 0 || len(src)%sm4.BlockSize != 0 || len(src) > locked.MaxBlocks*sm4.BlockSize {
		return fmt.Errorf("encrypting blocks: %d bytes are not 1 to %d blocks", len(src), locked.MaxBlocks)
	}
	if len(dst) != len(src) {
		return fmt.Errorf("encrypting blocks: room for %d bytes, input of %d", len(dst), len(src))
	}
	return k.Lend(func(secret []byte) error {
		block, err := sm4.NewCipher(secret)
		if err != nil {
			return fmt.Errorf("using an SM4 key: %w", err)
		}
		for at := 0; at < len(src); at += sm4.BlockSize {
			block.Encrypt(dst[at:at+sm4.BlockSize], src[at:at+sm4.BlockSize])
		}
		return nil
	})
}

// Capabilities is the table of a module whose keys of every level are in the
// memory of this process.
func Capabilities() []hsm.Capability {
	var all []hsm.Capability
	for _, spec := range hsm.Specs() {
		if spec.SoftwareOnly() {
			continue
		}
		for _, use := range spec.Uses() {
			all = append(all, hsm.Capability{Spec: spec, Use: use, How: "in the process, in locked memory"})
		}
	}
	return all
}
