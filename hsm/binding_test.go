package hsm_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm"
)

// The bytes that every record MAC in the world was made over.
func TestBindingGolden(t *testing.T) {
	b := hsm.Binding{
		KeyID:   [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		Version: 0x01020304, Spec: hsm.SpecAES256, Usage: "ENCRYPT_DECRYPT", Origin: "kms",
		Level: hsm.LevelSoftware, Generation: 0x05060708, Blob: []byte{0xb1, 0x0b}, PublicKey: []byte{0x30},
	}
	want := strings.Join([]string{
		"00000011" + hex.EncodeToString([]byte("raftkms record v1")),
		"000102030405060708090a0b0c0d0e0f",
		"01020304",
		"00000007" + hex.EncodeToString([]byte("AES_256")),
		"0000000f" + hex.EncodeToString([]byte("ENCRYPT_DECRYPT")),
		"00000003" + hex.EncodeToString([]byte("kms")),
		"02",
		"05060708",
		"00000002" + "b10b",
		"00000001" + "30",
	}, "")
	if got := hex.EncodeToString(b.AppendBytes(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := b.AppendBytes([]byte("prefix")); hex.EncodeToString(got) != hex.EncodeToString([]byte("prefix"))+want {
		t.Error("AppendBytes lost what was there")
	}
}

// Different bindings have different bytes. The parts are drawn from few values
// of different lengths, so that neighbours get the chance to run together.
func TestBindingIsUnambiguous(t *testing.T) {
	parts := rapid.SampledFrom([]string{"", "a", "aa", "aaa", "\x00", "\x00\x00\x00\x01"})
	draw := func(t *rapid.T) hsm.Binding {
		return hsm.Binding{
			Version: rapid.Uint32Range(1, 2).Draw(t, "version"),
			Spec:    hsm.Spec(parts.Draw(t, "spec")), Usage: parts.Draw(t, "usage"), Origin: parts.Draw(t, "origin"),
			Level: hsm.Level(rapid.Uint8Range(1, 2).Draw(t, "level")),
			Blob:  []byte(parts.Draw(t, "blob")), PublicKey: []byte(parts.Draw(t, "public key")),
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		same := a.Version == b.Version && a.Spec == b.Spec && a.Usage == b.Usage && a.Origin == b.Origin && a.Level == b.Level &&
			bytes.Equal(a.Blob, b.Blob) && bytes.Equal(a.PublicKey, b.PublicKey)
		if bytes.Equal(a.AppendBytes(nil), b.AppendBytes(nil)) != same {
			t.Fatalf("%+v and %+v", a, b)
		}
	})
}
