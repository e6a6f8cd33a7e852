package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/kwp"
)

// Opening what was wrapped under a wrapping pair.
//
// With OAEP nobody can make a ciphertext that opens but by knowing what is
// inside, so it may be said what is wrong with what opened. With PKCS #1 v1.5
// whether a block opens is an oracle (Bleichenbacher). So with it there is one
// error for everything that does not end in a key, and the same work is done
// for it. Besides, a token ends after ten failures of any kind.

// openMaterial opens the material of a key of a spec.
func openMaterial(ctx context.Context, d hsm.Decrypter, algorithm byte, spec hsm.Spec, req ImportRequest) ([]byte, error) {
	if !spec.Pair() {
		material, err := openWrapped(ctx, d, algorithm, req.Material)
		if err == nil && len(material) != 32 {
			clear(material)
			err = Refuse(KindMaterialSize, "the material of an AES-256 key has 32 bytes")
		}
		return material, err
	}
	if algorithm == wrapPKCS1 {
		return openPairPKCS1(ctx, d, spec, req)
	}
	temporary, err := openWrapped(ctx, d, algorithm, req.Material)
	if err != nil {
		return nil, err
	}
	defer clear(temporary)
	if len(temporary) != 16 && len(temporary) != 32 {
		return nil, Refuse(KindTemporaryKey, "the temporary key has 16 or 32 bytes")
	}
	private, err := openPrivateKey(spec, temporary, req.PrivateKey)
	if err != nil {
		return nil, &Error{Kind: KindPrivateKeyInvalid, Message: "the private key does not open, or is none of the spec " + string(spec), Err: err}
	}
	return private, nil
}

// openWrapped opens one RSA block. PKCS #1 v1.5 opens 32 bytes only.
func openWrapped(ctx context.Context, d hsm.Decrypter, algorithm byte, ciphertext []byte) ([]byte, error) {
	if algorithm == wrapPKCS1 {
		plain, opened, err := openPKCS1(ctx, d, ciphertext, 32)
		if err == nil && !opened {
			return nil, errUnwrap(hsm.ErrDecrypt)
		}
		return plain, err
	}
	how := hsm.PaddingOAEPSHA256
	if algorithm == wrapOAEPSHA1 {
		how = hsm.PaddingOAEPSHA1
	}
	plain, err := d.Decrypt(ctx, how, nil, ciphertext)
	switch {
	case errors.Is(err, hsm.ErrDecrypt):
		return nil, errUnwrap(err)
	case err != nil:
		return nil, moduleError("opening the wrapped key", err)
	}
	return plain, nil
}

func errUnwrap(cause error) error {
	return &Error{Kind: KindImportUnwrap, Message: "the wrapped key does not open", Err: cause}
}

// openPKCS1 opens a block of so many bytes. Of one that does not open random
// bytes are returned, in the same time; an error says that the module failed.
func openPKCS1(ctx context.Context, d hsm.Decrypter, ciphertext []byte, size int) (plain []byte, opened bool, err error) {
	random := make([]byte, size)
	if _, err := rand.Read(random); err != nil {
		return nil, false, &Error{Kind: KindInternal, Message: "drawing random bytes", Err: err}
	}
	plain = bytes.Clone(random)
	err = d.DecryptPKCS1(ctx, plain, ciphertext)
	switch {
	case errors.Is(err, hsm.ErrDecrypt): // of a length that no block has: anybody can see that
	case err != nil:
		return nil, false, moduleError("opening the wrapped key", err)
	}
	return plain, subtle.ConstantTimeCompare(plain, random) == 0, nil
}

// openPairPKCS1 opens a private key under a temporary key of 32 or 16 bytes. It
// tries both to the end, whatever the blocks hold.
func openPairPKCS1(ctx context.Context, d hsm.Decrypter, spec hsm.Spec, req ImportRequest) ([]byte, error) {
	var found []byte
	for _, size := range [...]int{32, 16} {
		temporary, _, err := openPKCS1(ctx, d, req.Material, size)
		if err != nil {
			clear(found)
			return nil, err
		}
		if private, err := openPrivateKey(spec, temporary, req.PrivateKey); err == nil {
			found = private
		}
		clear(temporary)
	}
	if found == nil {
		return nil, errUnwrap(hsm.ErrDecrypt)
	}
	return found, nil
}

// openPrivateKey opens PKCS#8 of a spec under a temporary key of 16 or 32 bytes.
func openPrivateKey(spec hsm.Spec, temporary, wrapped []byte) ([]byte, error) {
	block, err := aes.NewCipher(temporary)
	if err != nil {
		return nil, err
	}
	private, err := kwp.Unwrap(block, wrapped)
	if err == nil {
		_, err = keypair.Public(spec, private)
	}
	if err != nil {
		clear(private)
		return nil, err
	}
	return private, nil
}
