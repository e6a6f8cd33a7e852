package kwp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/raftkms/raftkms/hsm/kwp"
)

// Wrapping has one right answer, and most of the vectors are blobs with a
// padding that is wrong in one way: an import brings such a blob from outside.
func TestWycheproof(t *testing.T) {
	b, err := fs.ReadFile(wycheproof.TestVectors, "aes_kwp_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Tests []struct {
				ID                            int `json:"tcId"`
				Comment, Key, Msg, Ct, Result string
			} `json:"tests"`
		} `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	for _, g := range file.Groups {
		for _, v := range g.Tests {
			tried[v.Result]++
			block := newCipher(t, unhex(t, v.Key))
			message, blob := unhex(t, v.Msg), unhex(t, v.Ct)
			plain, err := kwp.Unwrap(block, blob)
			if v.Result == "invalid" {
				if !errors.Is(err, kwp.ErrUnwrap) || plain != nil {
					t.Errorf("vector %d (%s): opens to %x, %v", v.ID, v.Comment, plain, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(plain, message) {
				t.Errorf("vector %d (%s): opens to %x, %v", v.ID, v.Comment, plain, err)
			}
			if wrapped, err := kwp.Wrap(block, message); err != nil || !bytes.Equal(wrapped, blob) {
				t.Errorf("vector %d (%s): wraps to %x, %v", v.ID, v.Comment, wrapped, err)
			}
		}
	}
	if tried["valid"] < 77 || tried["invalid"] < 177 {
		t.Errorf("tried %v vectors", tried)
	}
}
