package server

import (
	"crypto/sha256"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/state"
)

// Wrapped material is found wherever it stands in a file: in a record of any
// size, over the border of two chunks, at the very end.
func TestBlobsAreFound(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	random := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	var prints []state.BlobPrint
	var records [][]byte
	for _, size := range []int{10, 40, 40, 300, 5000} {
		blob := random(size)
		prints = append(prints, state.BlobPrint{Size: uint32(size), Hash: sha256.Sum256(blob)})
		records = append(records, canonical.MustMarshal(&state.Version{KeyID: "k", Number: 1, Blob: blob, MAC: random(32)}))
	}
	f := func(name string, content []byte, want bool) {
		t.Helper()
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "deep", "file")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files, read, err := findBlobs(t.Context(), prints, dir, dir)
		if err != nil || slices.Contains(files, path) != want || !want && read != int64(len(content)) {
			t.Errorf("%s: found %v in %d bytes of %d, %v", name, files, read, len(content), err)
		}
	}
	for _, record := range records {
		for _, before := range []int{0, 1, 4095, chunk - 1, chunk - len(record), chunk - len(record)/2, chunk + 1, 2*chunk - 7} {
			content := slices.Concat(random(before), record, random(100))
			f("a record", content, true)
			if before < chunk {
				f("at the end", slices.Concat(random(before), record), true)
			}
		}
	}
	f("empty", nil, false)
	f("other material", slices.Concat(random(chunk), canonical.MustMarshal(&state.Version{Blob: random(40)}), random(chunk)), false)
}
