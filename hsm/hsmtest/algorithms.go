package hsmtest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// offered are the specs that the module has at that level, but those that only
// encrypt blocks, which other tests are about.
func offered(m hsm.Module, level hsm.Level) []hsm.Spec {
	return slices.DeleteFunc(hsm.Specs(), func(s hsm.Spec) bool {
		return s.Family() == hsm.FamilyAES || s.Family() == hsm.FamilySM4 || level == hsm.LevelHSM && !m.Describe().Carries(s)
	})
}

// The capability table is what the module does: what has a row works, and what
// has none is refused at HSM level and works at SOFTWARE level.
func (s *suite) capabilities(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	d := m.Describe()
	for _, row := range d.Capabilities {
		if !row.Spec.Allows(row.Use) || row.How == "" {
			t.Errorf("row %+v", row)
		}
	}
	for _, spec := range []hsm.Spec{hsm.SpecAES256, hsm.SpecRSA2048, hsm.SpecRSA3072, hsm.SpecRSA4096, hsm.SpecECP256, hsm.SpecECP384,
		hsm.SpecECP521, hsm.SpecHMAC256, hsm.SpecHMAC384, hsm.SpecHMAC512} {
		if !d.Carries(spec) {
			t.Errorf("no %s at HSM level", spec)
		}
	}
	for _, spec := range []hsm.Spec{hsm.SpecSM2, hsm.SpecSM4, hsm.SpecHMACSM3} {
		if d.Carries(spec) {
			t.Errorf("%s at HSM level", spec)
		}
		if _, err := m.Generate(ctx, hsm.LevelHSM, spec); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%s at HSM level: %v", spec, err)
		}
	}
}

// algorithms makes one key of every spec at every level and goes through what
// it is for.
func (s *suite) algorithms(t *testing.T) {
	m := s.rooted(t)
	for _, level := range levels {
		for _, spec := range offered(m, level) {
			// Large RSA keys take seconds to make; the level that differs more
			// from the standard library stands for both.
			if spec.Family() == hsm.FamilyRSA && spec != hsm.SpecRSA2048 && (level == hsm.LevelHSM) != m.Describe().Device {
				continue
			}
			t.Run(level.String()+"/"+string(spec), func(t *testing.T) {
				w, err := m.Generate(testContext(t), level, spec)
				ok(t, err)
				if spec.Pair() {
					ok(t, keypair.CheckPublic(spec, w.PublicKey))
				} else if len(w.PublicKey) != 0 {
					t.Error("a secret key has a public one")
				}
				for _, use := range spec.Uses() {
					w := w
					w.Use = use
					t.Run(use.String(), func(t *testing.T) {
						map[hsm.Use]func(*testing.T, hsm.Module, hsm.Wrapped){
							hsm.UseSign: s.signing, hsm.UseEncrypt: s.decrypting, hsm.UseAgree: s.agreement, hsm.UseMAC: s.macs,
						}[use](t, m, w)
					})
				}
				t.Run("refusals", func(t *testing.T) { s.loadRefusals(t, m, w) })
			})
		}
	}
}

func loadAs[K hsm.Loaded](t *testing.T, m hsm.Module, w hsm.Wrapped) K {
	t.Helper()
	loaded, err := m.Load(testContext(t), w)
	ok(t, err)
	t.Cleanup(func() { _ = loaded.Close() })
	k, is := loaded.(K)
	if !is {
		t.Fatalf("a %s key for %s is a %T", w.Spec, w.Use, loaded)
	}
	single(t, loaded)
	return k
}

// single makes sure that a loaded key is for one thing.
func single(t *testing.T, k hsm.Loaded) {
	t.Helper()
	n := 0
	for _, is := range []bool{is[hsm.Key](k), is[hsm.Signer](k), is[hsm.Decrypter](k), is[hsm.Agreer](k), is[hsm.MACer](k)} {
		if is {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%T is for %d things", k, n)
	}
}

func is[K any](k hsm.Loaded) bool {
	_, is := k.(K)
	return is
}

func (s *suite) signing(t *testing.T, m hsm.Module, w hsm.Wrapped) {
	ctx := testContext(t)
	k := loadAs[hsm.Signer](t, m, w)
	message := []byte("what is signed")
	for _, scheme := range hsm.Schemes() {
		if !scheme.Fits(w.Spec) {
			if _, err := k.Sign(ctx, scheme, make([]byte, 32)); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("%s: %v", scheme, err)
			}
			continue
		}
		digest, err := keypair.Digest(w.Spec, w.PublicKey, scheme, message)
		ok(t, err)
		signature, err := k.Sign(ctx, scheme, digest)
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		verify := func(what string, digest, signature []byte, want bool) {
			if valid, err := keypair.Verify(w.Spec, w.PublicKey, scheme, digest, signature); err != nil || valid != want {
				t.Errorf("%s: %s: valid %v, error %v", scheme, what, valid, err)
			}
		}
		verify("as it is", digest, signature, true)
		other := bytes.Clone(digest)
		other[0] ^= 1
		verify("another digest", other, signature, false)
		altered := bytes.Clone(signature)
		altered[len(altered)-1] ^= 1
		verify("altered", digest, altered, false)
		if scheme != hsm.SchemeEd25519 {
			if _, err := k.Sign(ctx, scheme, digest[1:]); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("%s: a digest that is too short: %v", scheme, err)
			}
		}
	}
}

// loadRefusals alters what is loaded in every way.
func (s *suite) loadRefusals(t *testing.T, m hsm.Module, w hsm.Wrapped) {
	ctx := testContext(t)
	other, public, err := softkey.Generate(w.Spec)
	ok(t, err)
	clear(other)
	for name, change := range map[string]func(w *hsm.Wrapped){
		"first byte":  func(w *hsm.Wrapped) { w.Blob[0] ^= 1 },
		"last byte":   func(w *hsm.Wrapped) { w.Blob[len(w.Blob)-1] ^= 0x80 },
		"shortened":   func(w *hsm.Wrapped) { w.Blob = w.Blob[:len(w.Blob)-8] },
		"cut":         func(w *hsm.Wrapped) { w.Blob = w.Blob[:len(w.Blob)-1] },
		"empty":       func(w *hsm.Wrapped) { w.Blob = nil },
		"other level": func(w *hsm.Wrapped) { w.Level = hsm.LevelHSM + hsm.LevelSoftware - w.Level },
	} {
		altered := w
		altered.Blob = bytes.Clone(w.Blob)
		change(&altered)
		if _, err := m.Load(ctx, altered); !errors.Is(err, hsm.ErrUnwrap) && !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.Level == hsm.LevelSoftware && w.Spec.Pair() {
		// Only material in this process can be compared; the record MAC binds both.
		borrowed := w
		borrowed.PublicKey = public
		if _, err := m.Load(ctx, borrowed); !errors.Is(err, hsm.ErrUnwrap) {
			t.Errorf("another's public key: %v", err)
		}
	}
	for _, use := range []hsm.Use{hsm.UseEncrypt, hsm.UseSign, hsm.UseMAC, hsm.UseAgree, 9} {
		wrong := w
		wrong.Use = use
		if w.Spec.Allows(use) {
			continue
		}
		if _, err := m.Load(ctx, wrong); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("for %s: %v", use, err)
		}
	}
}

func (s *suite) decrypting(t *testing.T, m hsm.Module, w hsm.Wrapped) {
	ctx := testContext(t)
	k := loadAs[hsm.Decrypter](t, m, w)
	for _, padding := range []hsm.Padding{hsm.PaddingOAEPSHA256, hsm.PaddingOAEPSHA1, hsm.PaddingSM2} {
		most := keypair.MaxPlaintext(w.Spec, padding)
		if most == 0 {
			if _, err := k.Decrypt(ctx, padding, nil, make([]byte, 256)); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("%s: %v", padding, err)
			}
			continue
		}
		for _, label := range [][]byte{nil, []byte("a label")} {
			if label != nil && padding == hsm.PaddingSM2 {
				continue
			}
			for _, size := range []int{1, 32, most} {
				plaintext := make([]byte, size)
				_, _ = rand.Read(plaintext)
				ciphertext, err := keypair.Encrypt(w.Spec, w.PublicKey, padding, label, plaintext)
				ok(t, err)
				opened, err := k.Decrypt(ctx, padding, label, ciphertext)
				if err != nil || !bytes.Equal(opened, plaintext) {
					t.Errorf("%s, label %q, %d bytes: error %v, the same %v", padding, label, size, err, bytes.Equal(opened, plaintext))
				}
			}
			s.decryptRefusals(t, k, w, padding, label)
		}
		if _, err := keypair.Encrypt(w.Spec, w.PublicKey, padding, nil, make([]byte, most+1)); err == nil {
			t.Errorf("%s encrypts %d bytes", padding, most+1)
		}
	}
}

func (s *suite) decryptRefusals(t *testing.T, k hsm.Decrypter, w hsm.Wrapped, padding hsm.Padding, label []byte) {
	ctx := testContext(t)
	good, err := keypair.Encrypt(w.Spec, w.PublicKey, padding, label, []byte("secret"))
	ok(t, err)
	for name, change := range map[string]func(c []byte) []byte{
		"altered":    func(c []byte) []byte { c[len(c)-1] ^= 1; return c },
		"shortened":  func(c []byte) []byte { return c[:len(c)-1] },
		"empty":      func(c []byte) []byte { return nil },
		"zeros":      func(c []byte) []byte { clear(c); return c },
		"ones":       func(c []byte) []byte { return bytes.Repeat([]byte{0xff}, len(c)) },
		"lengthened": func(c []byte) []byte { return append([]byte{0}, c...) },
	} {
		if _, err := k.Decrypt(ctx, padding, label, change(bytes.Clone(good))); !errors.Is(err, hsm.ErrDecrypt) {
			t.Errorf("%s, %s: %v", padding, name, err)
		}
	}
	if padding != hsm.PaddingSM2 {
		if _, err := k.Decrypt(ctx, padding, []byte("another label"), bytes.Clone(good)); !errors.Is(err, hsm.ErrDecrypt) {
			t.Errorf("%s, another label: %v", padding, err)
		}
	}
	if opened, err := k.Decrypt(ctx, padding, label, good); err != nil || string(opened) != "secret" {
		t.Errorf("%s after the refusals: %v", padding, err)
	}
}

func (s *suite) agreement(t *testing.T, m hsm.Module, w hsm.Wrapped) {
	ctx := testContext(t)
	k := loadAs[hsm.Agreer](t, m, w)
	private, public, err := keypair.Generate(w.Spec)
	ok(t, err)
	want, err := keypair.Agree(w.Spec, private, w.PublicKey)
	ok(t, err)
	got, err := k.Agree(ctx, public)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("error %v, the same secret %v", err, bytes.Equal(got, want))
	}
	outside := bytes.Clone(public)
	outside[len(outside)-1] ^= 1 // not on the curve
	for name, peer := range map[string][]byte{"no point": outside, "empty": nil, "cut": public[:len(public)-1]} {
		if _, err := k.Agree(ctx, peer); !errors.Is(err, hsm.ErrPublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (s *suite) macs(t *testing.T, m hsm.Module, w hsm.Wrapped) {
	ctx := testContext(t)
	k := loadAs[hsm.MACer](t, m, w)
	first, err := k.MAC(ctx, []byte("message"))
	ok(t, err)
	if len(first) != w.Spec.Bits()/8 { // a key is as long as its hash
		t.Errorf("a MAC of %d bytes", len(first))
	}
	again, err := k.MAC(ctx, []byte("message"))
	ok(t, err)
	other, err := k.MAC(ctx, []byte("another"))
	ok(t, err)
	if !bytes.Equal(first, again) || bytes.Equal(first, other) {
		t.Error("the MAC is not one of the message")
	}
	ok(t, k.Close())
	if _, err := k.MAC(ctx, []byte("message")); err == nil {
		t.Error("a closed key still works")
	}
	if same, err := loadAs[hsm.MACer](t, m, w).MAC(ctx, []byte("message")); err != nil || !bytes.Equal(same, first) {
		t.Errorf("loaded again: %v", err)
	}
}

// Imported material is used like that which was made in the module, at every level.
func (s *suite) imports(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for _, level := range levels {
		raw := bytes.Repeat([]byte{level.String()[0]}, 32)
		known := s.LoadKnown(ctx, t, m, level, bytes.Clone(raw))
		w, err := m.Import(ctx, level, hsm.SpecAES256, raw)
		ok(t, err)
		if !bytes.Equal(raw, make([]byte, 32)) {
			t.Errorf("%v: the material was not wiped", level)
		}
		if !bytes.Equal(encrypt(t, load(t, m, w), blocks(2)), encrypt(t, known, blocks(2))) {
			t.Errorf("%v: another AES key", level)
		}
		for _, spec := range []hsm.Spec{hsm.SpecRSA2048, hsm.SpecECP256, hsm.SpecSECP256K1} {
			private, public, err := keypair.Generate(spec)
			ok(t, err)
			w, err := m.Import(ctx, level, spec, private)
			ok(t, err)
			if !bytes.Equal(w.PublicKey, public) {
				t.Errorf("%v, %s: another public key", level, spec)
			}
			s.signing(t, m, w)
		}
		for spec, bad := range map[hsm.Spec][]byte{hsm.SpecAES256: make([]byte, 16), hsm.SpecECP256: make([]byte, 100), hsm.SpecRSA2048: nil} {
			if _, err := m.Import(ctx, level, spec, bad); !errors.Is(err, hsm.ErrUnwrap) {
				t.Errorf("%v, %s: %v", level, spec, err)
			}
		}
	}
}

// decryptsPKCS1 opens a block, or leaves what was there.
func (s *suite) decryptsPKCS1(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for _, level := range levels {
		w, err := m.Generate(ctx, level, hsm.SpecRSA2048)
		ok(t, err)
		w.Use = hsm.UseEncrypt
		k := loadAs[hsm.Decrypter](t, m, w)
		parsed, err := x509.ParsePKIXPublicKey(w.PublicKey)
		ok(t, err)
		secret := bytes.Repeat([]byte{7}, 32)
		//lint:ignore SA1019 RSAES_PKCS1_V1_5 is one of the three wrapping algorithms of the guides; ten failures end a token
		ciphertext, err := rsa.EncryptPKCS1v15(rand.Reader, parsed.(*rsa.PublicKey), secret)
		ok(t, err)
		before := bytes.Repeat([]byte{9}, 32)
		dst := bytes.Clone(before)
		ok(t, k.DecryptPKCS1(ctx, dst, ciphertext))
		if !bytes.Equal(dst, secret) {
			t.Errorf("%v: opens to %x", level, dst)
		}
		short := make([]byte, 16)
		ok(t, k.DecryptPKCS1(ctx, short, ciphertext))
		ciphertext[100] ^= 1
		copy(dst, before)
		if err := k.DecryptPKCS1(ctx, dst, ciphertext); err != nil || !bytes.Equal(dst, before) || !bytes.Equal(short, make([]byte, 16)) {
			t.Errorf("%v: what does not open: error %v, %x, %x", level, err, dst, short)
		}
	}
}
