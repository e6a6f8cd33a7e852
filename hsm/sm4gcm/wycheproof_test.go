package sm4gcm_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/raftkms/raftkms/hsm/sm4gcm"
	"github.com/raftkms/raftkms/hsm/xaes"
)

// The vectors' keys stand for a message's key, and their nonces for the half of
// ours that GCM takes: those of 12 bytes, the only ones that we make.
func TestWycheproof(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "sm4_gcm_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			IVSize int `json:"ivSize"`
			Tests  []struct {
				ID                                          int `json:"tcId"`
				Comment, Key, IV, AAD, Msg, Ct, Tag, Result string
			} `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		raw, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	tried := map[string]int{}
	for _, g := range file.Groups {
		if g.IVSize != 96 {
			continue
		}
		for _, v := range g.Tests {
			tried[v.Result]++
			nonce := append(make([]byte, 12), unhex(v.IV)...)
			sealed := append(unhex(v.Ct), unhex(v.Tag)...)
			opened, err := sm4gcm.Open(nil, unhex(v.Key), nonce, sealed, unhex(v.AAD))
			if v.Result == "invalid" {
				if !errors.Is(err, xaes.ErrOpen) {
					t.Errorf("vector %d (%s): opens to %x, %v", v.ID, v.Comment, opened, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(opened, unhex(v.Msg)) {
				t.Errorf("vector %d (%s): opens to %x, %v", v.ID, v.Comment, opened, err)
			}
			if got := sm4gcm.Seal(nil, unhex(v.Key), nonce, unhex(v.Msg), unhex(v.AAD)); !bytes.Equal(got, sealed) {
				t.Errorf("vector %d (%s): sealed to %x", v.ID, v.Comment, got)
			}
		}
	}
	if tried["valid"] < 20 || tried["invalid"] < 20 {
		t.Errorf("tried %v vectors", tried)
	}
}
