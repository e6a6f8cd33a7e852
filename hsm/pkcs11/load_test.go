package pkcs11_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// caller asks the module for one thing over and over.
type caller struct {
	name string
	// ask returns what it was told that is wrong, if anything, or an error.
	ask func(ctx context.Context) (wrong string, err error)
	// inside says that it asks no device, so that its answers do not show that one serves.
	inside bool
	good   atomic.Int64
}

// load keeps a module busy until stop, in every way there is, and counts answers.
// Each is held against what this process computes; wrong ones are errors of the
// test, and so is a caller that never had an answer. good are those of the device.
func load(ctx context.Context, t *testing.T, w *worked, stop <-chan struct{}) (good *atomic.Int64, wait func()) {
	good = new(atomic.Int64)
	var wg sync.WaitGroup
	callers := append(w.blockCallers(ctx), w.keyCallers(ctx)...)
	callers = append(callers, w.makingCallers()...)
	for _, c := range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				call, cancel := context.WithTimeout(ctx, time.Second)
				wrong, err := c.ask(call)
				cancel()
				if wrong != "" {
					t.Errorf("%s: a wrong answer: %s", c.name, wrong)
				}
				for _, untrue := range []error{hsm.ErrMAC, hsm.ErrUnwrap, hsm.ErrNoRoots, hsm.ErrDecrypt, hsm.ErrPublicKey, hsm.ErrFull, hsm.ErrUnsupported} {
					if errors.Is(err, untrue) {
						t.Errorf("%s: told what is not so: %v", c.name, err)
					}
				}
				if err == nil {
					c.good.Add(1)
					if !c.inside {
						good.Add(1)
					}
				}
				if err != nil || c.inside {
					time.Sleep(time.Millisecond) // who waits for no device leaves the others no processor
				}
			}
		})
	}
	return good, func() {
		wg.Wait()
		for _, c := range callers {
			t.Logf("%s: %d answers, each compared", c.name, c.good.Load())
			if c.good.Load() == 0 {
				t.Errorf("%s: not one answer", c.name)
			}
		}
	}
}

// differ says that the answer is another, if it is.
func differ(err error, got, want []byte) (wrong string, _ error) {
	if err == nil && !bytes.Equal(got, want) {
		return "not what this process computes", nil
	}
	return "", err
}

// blockCallers encrypt blocks, with keys that stay and with keys that are loaded
// for it, and have records verified and random bytes drawn.
func (w *worked) blockCallers(ctx context.Context) []*caller {
	callers := []*caller{{name: "verify a record", ask: func(ctx context.Context) (string, error) {
		return "", w.VerifyMAC(ctx, []byte("record"), w.mac)
	}}}
	var last [64]byte
	callers = append(callers, &caller{name: "draw", ask: func(ctx context.Context) (string, error) {
		before := last
		if err := w.Random(ctx, last[:]); err != nil {
			return "", err
		}
		if last == before {
			return "the bytes of the last time", nil
		}
		return "", nil
	}})
	names := []string{"encrypt blocks, level HSM", "encrypt blocks, level SOFTWARE", "encrypt blocks, seal"}
	for _, k := range []int{0, 0, 1, 2, 2} {
		callers = append(callers, &caller{name: names[k], inside: k == 1, ask: func(ctx context.Context) (string, error) {
			out := input()
			err := w.keys[k].EncryptBlocks(ctx, out, out)
			return differ(err, out, w.expect[k])
		}})
	}
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		material := bytes.Repeat([]byte{byte(level)}, 32)
		block, err := aes.NewCipher(material)
		ok(w.t, err)
		want := input()
		for at := 0; at < len(want); at += aes.BlockSize {
			block.Encrypt(want[at:], want[at:])
		}
		wrapped, err := w.Import(ctx, level, hsm.SpecAES256, material)
		ok(w.t, err)
		callers = append(callers, &caller{name: "load and encrypt, level " + level.String(), ask: func(ctx context.Context) (string, error) {
			k, err := hsm.LoadKey(ctx, w, wrapped)
			if err != nil {
				return "", err
			}
			out := input()
			err = k.EncryptBlocks(ctx, out, out)
			return differ(errors.Join(err, k.Close()), out, want)
		}})
	}
	return callers
}

// keyCallers sign, decrypt, agree and make MACs with keys of the level HSM that
// stay loaded, as far as the device lets them.
func (w *worked) keyCallers(ctx context.Context) []*caller {
	ec := w.generated(ctx, hsm.SpecECP256)
	signer := loadedFor[hsm.Signer](ctx, w, ec, hsm.UseSign)
	agreer := loadedFor[hsm.Agreer](ctx, w, ec, hsm.UseAgree)
	private, public, err := keypair.Generate(hsm.SpecECP256)
	ok(w.t, err)
	common, err := keypair.Agree(hsm.SpecECP256, private, ec.PublicKey)
	ok(w.t, err)

	pair := w.generated(ctx, hsm.SpecRSA2048)
	rsaSigner := loadedFor[hsm.Signer](ctx, w, pair, hsm.UseSign)
	decrypter := loadedFor[hsm.Decrypter](ctx, w, pair, hsm.UseEncrypt)
	ciphertext, err := keypair.Encrypt(hsm.SpecRSA2048, pair.PublicKey, hsm.PaddingOAEPSHA256, nil, input())
	ok(w.t, err)

	secret := bytes.Repeat([]byte{7}, 32)
	hash := hmac.New(sha256.New, secret)
	hash.Write(input())
	mac := hash.Sum(nil)
	imported, err := w.Import(ctx, hsm.LevelHSM, hsm.SpecHMAC256, secret)
	ok(w.t, err)
	macer := loadedFor[hsm.MACer](ctx, w, imported, hsm.UseMAC)

	return []*caller{
		{name: "sign, EC_P256", ask: func(ctx context.Context) (string, error) {
			return signs(ctx, signer, ec, hsm.SchemeECDSASHA256)
		}},
		{name: "sign, RSA_2048", ask: func(ctx context.Context) (string, error) {
			return signs(ctx, rsaSigner, pair, hsm.SchemePSSSHA256)
		}},
		{name: "decrypt, RSA_2048", ask: func(ctx context.Context) (string, error) {
			opened, err := decrypter.Decrypt(ctx, hsm.PaddingOAEPSHA256, nil, ciphertext)
			return differ(err, opened, input())
		}},
		{name: "agree, EC_P256", ask: func(ctx context.Context) (string, error) {
			got, err := agreer.Agree(ctx, public)
			return differ(err, got, common)
		}},
		{name: "make a MAC, HMAC_256", ask: func(ctx context.Context) (string, error) {
			got, err := macer.MAC(ctx, input())
			return differ(err, got, mac)
		}},
	}
}

// makingCallers make pairs, load them and sign: what was wrapped must be the
// private half of what was read.
func (w *worked) makingCallers() (callers []*caller) {
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		callers = append(callers, &caller{name: "make a pair, load it and sign, level " + level.String(), ask: func(ctx context.Context) (string, error) {
			made, err := w.Generate(ctx, level, hsm.SpecECP256)
			if err != nil {
				return "", err
			}
			made.Use = hsm.UseSign
			k, err := w.Load(ctx, made)
			if err != nil {
				return "", err
			}
			wrong, err := signs(ctx, k.(hsm.Signer), made, hsm.SchemeECDSASHA256)
			return wrong, errors.Join(err, k.Close())
		}})
	}
	return callers
}

func (w *worked) generated(ctx context.Context, spec hsm.Spec) hsm.Wrapped {
	w.t.Helper()
	made, err := w.Generate(ctx, hsm.LevelHSM, spec)
	ok(w.t, err)
	return made
}

// loadedFor loads a key that is closed when the test ends.
func loadedFor[K hsm.Loaded](ctx context.Context, w *worked, wrapped hsm.Wrapped, use hsm.Use) K {
	w.t.Helper()
	wrapped.Use = use
	loaded, err := w.Load(ctx, wrapped)
	ok(w.t, err)
	w.t.Cleanup(func() { ok(w.t, loaded.Close()) })
	return loaded.(K)
}

// signs has a digest signed and verifies that with the public key.
func signs(ctx context.Context, k hsm.Signer, w hsm.Wrapped, scheme hsm.Scheme) (wrong string, err error) {
	digest := sha256.Sum256(input())
	signature, err := k.Sign(ctx, scheme, digest[:])
	if err != nil {
		return "", err
	}
	valid, err := keypair.Verify(w.Spec, w.PublicKey, scheme, digest[:], signature)
	if err == nil && !valid {
		wrong = "the public key does not verify the signature"
	}
	return wrong, err
}
