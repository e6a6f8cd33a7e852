package envelope_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm/envelope"
)

var update = flag.Bool("update", false, "write the golden files anew; every ciphertext in the world then reads differently")

// goldenKeyID is 00 01 02 … 0f.
var goldenKeyID = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func goldenNonce() [24]byte { return [24]byte([]byte("ABCDEFGHIJKLMNOPQRSTUVWX")) }

// compare holds got against testdata/name.hex.
func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		var lines strings.Builder
		for at := 0; at < len(got); at += 32 {
			lines.WriteString(hex.EncodeToString(got[at:min(at+32, len(got))]) + "\n")
		}
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := readHex(t, path); !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", name, got, want)
	}
}

func readHex(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// The stored format: key of 32 bytes 0x01, the nonce of the XAES vectors.
func TestGoldenEnvelopes(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	for _, g := range []struct {
		name      string
		purpose   envelope.Purpose
		plaintext string
		about     envelope.Context
	}{
		{"datakey-none", envelope.PurposeDataKey, "0123456789abcdef0123456789abcdef", envelope.NoContext()},
		{"data-string", envelope.PurposeData, "a", stringContext(t, "tenant 7")},
		{"data-map", envelope.PurposeData, "", mapContext(t, map[string]string{"b": "2", "a": "1", "": "empty", "aa": ""})},
		{"data-long", envelope.PurposeData, strings.Repeat("x", 200), envelope.NoContext()},
	} {
		f := envelope.Fields{Purpose: g.purpose, KeyID: goldenKeyID, KeyVersion: 0x01020304}
		sealed, err := envelope.SealWithNonce(ctx, nil, key, f, goldenNonce(), []byte(g.plaintext), g.about)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, g.name, sealed)
		stored := readHex(t, filepath.Join("testdata", g.name+".hex"))
		h, err := envelope.ParseHeader(stored)
		if err != nil || h.Fields != f || h.Nonce != goldenNonce() || h.Algorithm != envelope.AlgorithmXAES256GCM {
			t.Errorf("%s: header %+v, %v", g.name, h, err)
		}
		opened, err := envelope.Open(ctx, key, h, stored, g.about)
		if err != nil || string(opened) != g.plaintext {
			t.Errorf("%s: opens to %q, %v", g.name, opened, err)
		}
	}
}

func TestGoldenSecret(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	label := []byte("access-key-secret\x00AKIA0")
	sealed, err := envelope.SealSecretWithNonce(ctx, key, 0x01020304, goldenNonce(), []byte("a secret"), label)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "secret", sealed)
	opened, err := envelope.OpenSecret(ctx, key, readHex(t, "testdata/secret.hex"), label)
	if err != nil || string(opened) != "a secret" {
		t.Errorf("opens to %q, %v", opened, err)
	}
}

// An envelope made by hand, from the description in doc.go and nothing else of
// this package, so that the golden files are not merely what the code does.
func TestGoldenByHand(t *testing.T) {
	header := append([]byte{1, 2}, goldenKeyID[:]...)
	header = append(header, 1, 2, 3, 4, 1)
	header = append(header, "ABCDEFGHIJKLMNOPQRSTUVWX"...)
	aad := append(bytes.Clone(header), 1, 0, 0, 0, 8)
	aad = append(aad, "tenant 7"...)
	padded := make([]byte, 141-47-16)
	padded[0], padded[1] = 'a', 0x80
	want := append(header, referenceXAES(t, bytes.Repeat([]byte{1}, 32), header[23:], padded, aad)...)
	if got := readHex(t, "testdata/data-string.hex"); !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}
