package hsmtest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
)

func (s *suite) binding(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	w, _ := generate(t, m, hsm.LevelHSM)
	other, _ := generate(t, m, hsm.LevelHSM)
	b := hsm.Binding{
		KeyID: [16]byte{1, 2, 3}, Version: 1, Spec: w.Spec, Usage: "ENCRYPT_DECRYPT", Origin: "kms",
		Level: w.Level, Generation: w.Generation, Blob: w.Blob,
	}
	mac, err := hsm.Bind(ctx, m, b)
	ok(t, err)
	ok(t, hsm.VerifyBinding(ctx, m, b, mac))
	m = s.restart(t, m)
	ok(t, hsm.VerifyBinding(ctx, m, b, mac))
	for name, change := range map[string]func(b *hsm.Binding){
		"key id":     func(b *hsm.Binding) { b.KeyID[15] = 1 },
		"version":    func(b *hsm.Binding) { b.Version++ },
		"spec":       func(b *hsm.Binding) { b.Spec = "SM4" },
		"usage":      func(b *hsm.Binding) { b.Usage = "SIGN_VERIFY" },
		"origin":     func(b *hsm.Binding) { b.Origin = "external" },
		"level":      func(b *hsm.Binding) { b.Level = hsm.LevelSoftware },
		"generation": func(b *hsm.Binding) { b.Generation++ },
		"blob":       func(b *hsm.Binding) { b.Blob = other.Blob },
		"public key": func(b *hsm.Binding) { b.PublicKey = []byte{1} },
		"shift":      func(b *hsm.Binding) { b.Usage, b.Origin = b.Usage+b.Origin[:1], b.Origin[1:] },
	} {
		altered := b
		change(&altered)
		if err := hsm.VerifyBinding(ctx, m, altered, mac); !errors.Is(err, hsm.ErrMAC) {
			t.Errorf("%s altered: %v", name, err)
		}
	}
	if err := hsm.VerifyBinding(ctx, s.rooted(t), b, mac); !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("under another root set: %v", err)
	}
}

func (s *suite) mac(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for _, message := range [][]byte{[]byte("a"), make([]byte, 16<<10)} {
		mac, err := m.MAC(ctx, message)
		ok(t, err)
		if len(mac) != 32 {
			t.Fatalf("a MAC of %d bytes", len(mac))
		}
		ok(t, m.VerifyMAC(ctx, message, mac))
		flipped := bytes.Clone(mac)
		flipped[31] ^= 1
		for name, wrong := range map[string][]byte{"flipped": flipped, "short": mac[:16], "long": append(bytes.Clone(mac), 0), "empty": nil} {
			if err := m.VerifyMAC(ctx, message, wrong); !errors.Is(err, hsm.ErrMAC) {
				t.Errorf("a MAC that is %s: %v", name, err)
			}
		}
		if err := m.VerifyMAC(ctx, append([]byte("x"), message...), mac); !errors.Is(err, hsm.ErrMAC) {
			t.Errorf("another message: %v", err)
		}
	}
	ok(t, m.Check(ctx))
}

func (s *suite) envelope(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			ctx := testContext(t)
			m := s.rooted(t)
			w, loaded := generate(t, m, level)
			key, err := envelope.NewKey(ctx, loaded)
			ok(t, err)
			about, err := envelope.MapContext(map[string]string{"table": "users", "row": "7"})
			ok(t, err)
			fields := envelope.Fields{Purpose: envelope.PurposeData, KeyID: [16]byte{9}, KeyVersion: 3}
			plaintext := []byte("what nobody else may read")
			sealed, err := envelope.Seal(ctx, key, fields, plaintext, about)
			ok(t, err)

			m = s.restart(t, m)
			key, err = envelope.NewKey(ctx, load(t, m, w))
			ok(t, err)
			header, err := envelope.ParseHeader(sealed)
			ok(t, err)
			if header.Fields != fields {
				t.Errorf("the header says %+v", header.Fields)
			}
			opened, err := envelope.Open(ctx, key, header, sealed, about)
			ok(t, err)
			if !bytes.Equal(opened, plaintext) {
				t.Error("another plaintext came back")
			}
			if _, err := envelope.Open(ctx, key, header, sealed, envelope.NoContext()); !errors.Is(err, envelope.ErrAuthentication) {
				t.Errorf("without its context: %v", err)
			}
			_, stranger := generate(t, m, level)
			key, err = envelope.NewKey(ctx, stranger)
			ok(t, err)
			if _, err := envelope.Open(ctx, key, header, sealed, about); !errors.Is(err, envelope.ErrAuthentication) {
				t.Errorf("under another key: %v", err)
			}
		})
	}
}

func (s *suite) secret(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	label := []byte("access-key-secret\x00AKIA1")
	key, err := envelope.NewKey(ctx, sealKey(t, m))
	ok(t, err)
	sealed, err := envelope.SealSecret(ctx, key, 1, []byte("secret"), label)
	ok(t, err)
	m = s.restart(t, m)
	key, err = envelope.NewKey(ctx, sealKey(t, m))
	ok(t, err)
	opened, err := envelope.OpenSecret(ctx, key, sealed, label)
	ok(t, err)
	if string(opened) != "secret" {
		t.Error("another secret came back")
	}
	if _, err := envelope.OpenSecret(ctx, key, sealed, []byte("access-key-secret\x00AKIA2")); !errors.Is(err, envelope.ErrAuthentication) {
		t.Errorf("under another label: %v", err)
	}
	key, err = envelope.NewKey(ctx, sealKey(t, s.rooted(t)))
	ok(t, err)
	if _, err := envelope.OpenSecret(ctx, key, sealed, label); !errors.Is(err, envelope.ErrAuthentication) {
		t.Errorf("under another root set: %v", err)
	}
}
