package doctor

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// errWrong is worse than any refusal: with what such a device makes, data would be
// lost, and what it verifies would mean nothing.
var errWrong = errors.New("wrong answer, so this device cannot carry a node")

// isWrong tells whether an operation was answered wrongly: told apart from what
// this process computes, or refused although what was given had just been made
// for it.
func isWrong(err error) bool {
	for _, wrong := range []error{errWrong, hsm.ErrDecrypt, hsm.ErrUnwrap, hsm.ErrMAC, hsm.ErrPublicKey} {
		if errors.Is(err, wrong) {
			return true
		}
	}
	return false
}

// same is errWrong unless both are.
func same(got, want []byte) error {
	if !bytes.Equal(got, want) {
		return errWrong
	}
	return nil
}

// refusesRecords sees to it that a record MAC is good for its own record alone.
func refusesRecords(ctx context.Context, m hsm.Module, message, mac []byte) error {
	for _, altered := range []struct{ message, mac []byte }{
		{append(bytes.Clone(message), '.'), mac},
		{message, append([]byte{mac[0] ^ 1}, mac[1:]...)},
	} {
		switch err := m.VerifyMAC(ctx, altered.message, altered.mac); {
		case err == nil:
			return errWrong
		case !errors.Is(err, hsm.ErrMAC):
			return err
		}
	}
	return nil
}

// known brings random material into the module, so that this process knows what
// the key must answer. The material is the caller's to wipe.
func known(ctx context.Context, m hsm.Module, level hsm.Level, spec hsm.Spec) (wrapped hsm.Wrapped, material []byte, err error) {
	material = make([]byte, spec.Bits()/8)
	rand.Read(material)
	wrapped, err = m.Import(ctx, level, spec, bytes.Clone(material))
	return wrapped, material, err
}

// examineKnown has an AES key that this process has too encrypt blocks: what a
// key that only the device has answers cannot be computed here.
func (r *Report) examineKnown(ctx context.Context, m hsm.Module, level hsm.Level, keys int) {
	var wrapped hsm.Wrapped
	var material []byte
	r.time(ctx, fmt.Sprintf("wrap an AES_256 key from elsewhere, level %v", level), 1, true, func(ctx context.Context) (err error) {
		wrapped, material, err = known(ctx, m, level, hsm.SpecAES256)
		return err
	})
	defer clear(material)
	if wrapped.Blob == nil {
		return
	}
	r.time(ctx, fmt.Sprintf("load it and derive %d data keys, level %v", keys, level), 1, true, func(ctx context.Context) error {
		block, err := aes.NewCipher(material)
		if err != nil {
			return fmt.Errorf("expanding a key: %w", err)
		}
		got := make([]byte, 32*keys)
		rand.Read(got)
		want := bytes.Clone(got)
		for at := 0; at < len(want); at += aes.BlockSize {
			block.Encrypt(want[at:], want[at:])
		}
		key, err := hsm.LoadKey(ctx, m, wrapped)
		if err != nil {
			return err
		}
		if err := errors.Join(key.EncryptBlocks(ctx, got, got), key.Close()); err != nil {
			return err
		}
		return same(got, want)
	})
}

// examineKnownMAC does the same with a MAC.
func (r *Report) examineKnownMAC(ctx context.Context, m hsm.Module, spec hsm.Spec) {
	r.time(ctx, fmt.Sprintf("wrap a key from elsewhere, load it and make a MAC, %s", spec), 1, false, func(ctx context.Context) error {
		wrapped, material, err := known(ctx, m, hsm.LevelHSM, spec)
		defer clear(material)
		if err != nil {
			return err
		}
		loaded, err := m.Load(ctx, wrapped)
		if err != nil {
			return err
		}
		key, is := loaded.(hsm.MACer)
		if !is {
			return errors.Join(errors.New("what was loaded makes no MACs"), loaded.Close())
		}
		message := []byte("raftkms doctor")
		got, err := key.MAC(ctx, message)
		if err := errors.Join(err, key.Close()); err != nil {
			return err
		}
		h := hmac.New(spec.HMACHash().New, material)
		h.Write(message)
		return same(got, h.Sum(nil))
	})
}

// verifies holds a signature against the public key.
func verifies(w hsm.Wrapped, scheme hsm.Scheme, digest, signature []byte) error {
	valid, err := keypair.Verify(w.Spec, w.PublicKey, scheme, digest, signature)
	if err == nil && !valid {
		err = errWrong
	}
	return err
}

// peerOf makes a pair here and the secret that the other side must come to. The
// secret is the caller's to wipe.
func peerOf(w hsm.Wrapped) (peer, secret []byte, err error) {
	private, peer, err := keypair.Generate(w.Spec)
	if err != nil {
		return nil, nil, err
	}
	defer clear(private)
	secret, err = keypair.Agree(w.Spec, private, w.PublicKey)
	return peer, secret, err
}
