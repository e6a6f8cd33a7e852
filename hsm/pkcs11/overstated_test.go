package pkcs11_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// A device that says to have written more than there was room for gets an error
// for its caller, and neither ends the process nor reaches beyond the memory.
func TestOverstatedLengths(t *testing.T) {
	m, d := dying(t, nil)
	ctx := testContext(t)
	made := func(level hsm.Level, spec hsm.Spec, use hsm.Use) hsm.Wrapped {
		w, err := m.Generate(ctx, level, spec)
		ok(t, err)
		w.Use = use
		return w
	}
	load := func(w hsm.Wrapped) hsm.Loaded {
		k, err := m.Load(ctx, w)
		ok(t, err)
		t.Cleanup(func() { ok(t, k.Close()) })
		return k
	}
	aes := load(made(hsm.LevelHSM, hsm.SpecAES256, hsm.UseEncrypt)).(hsm.Key)
	pair := made(hsm.LevelHSM, hsm.SpecRSA2048, hsm.UseEncrypt)
	rsa := load(pair).(hsm.Decrypter)
	peer := made(hsm.LevelHSM, hsm.SpecECP256, hsm.UseAgree)
	ec := load(peer).(hsm.Agreer)
	software := made(hsm.LevelSoftware, hsm.SpecAES256, hsm.UseEncrypt)
	opens := func(how hsm.Padding) func() error {
		ciphertext, err := keypair.Encrypt(pair.Spec, pair.PublicKey, how, nil, []byte("secret"))
		ok(t, err)
		return func() error {
			plaintext, err := rsa.Decrypt(ctx, how, nil, ciphertext)
			if err == nil && string(plaintext) != "secret" {
				err = errors.New("opens to something else")
			}
			return err
		}
	}
	uses := map[string]func() error{
		"encrypting blocks": func() error {
			return aes.EncryptBlocks(ctx, make([]byte, 32), bytes.Repeat([]byte{1}, 32))
		},
		"OAEP in the device": opens(hsm.PaddingOAEPSHA1), // SoftHSM 2.6.1 knows SHA-1 alone
		"raw RSA":            opens(hsm.PaddingOAEPSHA256),
		"agreeing": func() error {
			secret, err := ec.Agree(ctx, peer.PublicKey)
			clear(secret)
			return err
		},
		"loading at SOFTWARE level": func() error {
			k, err := m.Load(ctx, software)
			if err != nil {
				return err
			}
			return k.Close()
		},
	}
	for _, more := range []int{1 << 12, 1 << 40, math.MinInt} {
		d.Overstate(more)
		for name, use := range uses {
			if err := use(); !errors.Is(err, hsm.ErrUnavailable) {
				t.Errorf("%s, %d bytes too much: %v", name, more, err)
			}
		}
		d.Overstate(0)
		awaitBack(t, m)
		for name, use := range uses {
			if err := use(); err != nil {
				t.Errorf("%s, after a length that was overstated: %v", name, err)
			}
		}
	}
}
