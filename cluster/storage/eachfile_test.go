package storage_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/cluster/storage"
)

// A file that gets another name while the directory is read, as a snapshot
// does that is complete, is not overlooked; every other one is seen once.
func TestEachFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	write("a/first")
	write("b/2-47.tmp/state")
	write("c/last")
	check(t, os.Symlink("nowhere", filepath.Join(dir, "a", "link")))
	var seen []string
	visit := func(path string, f *os.File) error {
		text, err := io.ReadAll(f)
		if filepath.Base(path) == "first" {
			// Its listing still has the old name: WalkDir has read dir already.
			check(t, os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a-b")))
		}
		seen = append(seen, string(text))
		return err
	}
	link := filepath.Join(t.TempDir(), "data")
	check(t, os.Symlink(dir, link))
	check(t, storage.EachFile(t.Context(), visit, link, filepath.Join(link, "a")))
	slices.Sort(seen)
	if want := []string{"a/first", "b/2-47.tmp/state", "c/last"}; !slices.Equal(seen, want) {
		t.Errorf("seen %v, want %v", seen, want)
	}

	broken := errors.New("broken")
	if err := storage.EachFile(t.Context(), func(string, *os.File) error { return broken }, dir); !errors.Is(err, broken) {
		t.Errorf("got %v, want what visit says", err)
	}
	// A directory that is not there never comes to rest: that is said.
	if err := storage.EachFile(t.Context(), visit, filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that does not exist was looked through")
	}
}
