package softkey_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/softkey"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	ok(t, err)
	return b
}

// The example of GB/T 32907-2016, appendix A.
func TestSM4Blocks(t *testing.T) {
	arena := locked.NewArena(1 << 20)
	defer arena.Close()
	key := unhex(t, "0123456789abcdeffedcba9876543210")
	plain := bytes.Clone(key)
	loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: hsm.SpecSM4}, key)
	ok(t, err)
	if !bytes.Equal(key, make([]byte, 16)) {
		t.Error("the material was not wiped")
	}
	dst := make([]byte, 32)
	ok(t, loaded.(hsm.Key).EncryptBlocks(context.Background(), dst, append(plain, plain...)))
	if got := hex.EncodeToString(dst); got != "681edf34d206965e86b3e94f536e4246681edf34d206965e86b3e94f536e4246" {
		t.Errorf("encrypts to %s", got)
	}
	for _, size := range [][2]int{{0, 0}, {15, 15}, {16, 32}, {32, 16}} {
		if err := loaded.(hsm.Key).EncryptBlocks(context.Background(), make([]byte, size[0]), make([]byte, size[1])); err == nil {
			t.Errorf("room for %d bytes, input of %d: accepted", size[0], size[1])
		}
	}
	ok(t, loaded.Close())
	if err := loaded.(hsm.Key).EncryptBlocks(context.Background(), dst, dst); err == nil {
		t.Error("a closed key still works")
	}
}

func TestWycheproofHMAC(t *testing.T) {
	f := func(name string, spec hsm.Spec) {
		t.Helper()
		b, err := fs.ReadFile(wycheproof.TestVectors, name)
		ok(t, err)
		var file struct {
			Groups []struct {
				Tests []struct {
					ID                    int `json:"tcId"`
					Key, Msg, Tag, Result string
				} `json:"tests"`
				KeySize, TagSize int
			} `json:"testGroups"`
		}
		ok(t, json.Unmarshal(b, &file))
		arena := locked.NewArena(1 << 20)
		defer arena.Close()
		n := 0
		for _, g := range file.Groups {
			if g.KeySize != spec.Bits() || g.TagSize != spec.Bits() {
				continue
			}
			for _, v := range g.Tests {
				loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: spec}, unhex(t, v.Key))
				ok(t, err)
				mac, err := loaded.(hsm.MACer).MAC(context.Background(), unhex(t, v.Msg))
				ok(t, err)
				if bytes.Equal(mac, unhex(t, v.Tag)) != (v.Result == "valid") {
					t.Errorf("%s: vector %d is %s, but the MAC is %x", name, v.ID, v.Result, mac)
				}
				ok(t, loaded.Close())
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s: no vectors for %s", name, spec)
		}
	}
	f("hmac_sha256_test.json", hsm.SpecHMAC256)
	f("hmac_sha384_test.json", hsm.SpecHMAC384)
	f("hmac_sha512_test.json", hsm.SpecHMAC512)
	f("hmac_sm3_test.json", hsm.SpecHMACSM3)
}

// HMAC-SM3 as OpenSSL makes it: openssl dgst -sm3 -mac HMAC.
func TestHMACSM3(t *testing.T) {
	arena := locked.NewArena(1 << 20)
	defer arena.Close()
	loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: hsm.SpecHMACSM3}, bytes.Repeat([]byte{1}, 32))
	ok(t, err)
	mac, err := loaded.(hsm.MACer).MAC(t.Context(), []byte("message"))
	ok(t, err)
	if want := unhex(t, "85ab4ae39cb74752444e0332bbaa271741af9fd905243efcecd35a07a6f67c50"); !bytes.Equal(mac, want) {
		t.Errorf("%x, want %x", mac, want)
	}
	ok(t, loaded.Close())
}

// Closing the memory waits for who is inside, and nobody gets in afterwards.
func TestArenaCloses(t *testing.T) {
	arena := locked.NewArena(1 << 20)
	material, public, err := softkey.Generate(hsm.SpecECP256)
	ok(t, err)
	loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: hsm.SpecECP256, PublicKey: public}, material)
	ok(t, err)
	done := make(chan error)
	started := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			_, err := loaded.(hsm.Signer).Sign(context.Background(), hsm.SchemeECDSASHA256, make([]byte, 32))
			if first {
				close(started)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	<-started
	ok(t, arena.Close())
	if err := <-done; err == nil {
		t.Error("a key in memory that is gone still signs")
	}
	ok(t, loaded.Close())
}
