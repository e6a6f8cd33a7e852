package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLooks bounds how often EachFile looks anew because files keep going away.
const maxLooks = 100

// EachFile calls visit with every regular file below some directories, each
// once, although a node is at work there: a file that has gone away before it
// could be opened may stand under another name by then (a snapshot gets its
// final one when it is complete, a segment of traces is compressed), so
// EachFile looks again for what it has not seen until it meets nothing that
// goes away. Links are not followed, but for the directories themselves. The file
// is open for reading, and closed after visit. The first error of visit, or of
// reading a directory, ends it.
func EachFile(ctx context.Context, visit func(path string, f *os.File) error, dirs ...string) error {
	seen := make(map[string]bool)
	for range maxLooks {
		gone := false
		look := func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				gone = true
				return nil
			}
			if err != nil || !entry.Type().IsRegular() || seen[path] {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				gone = true
				return nil
			}
			if err != nil {
				return err
			}
			defer f.Close()
			seen[path] = true
			return visit(path, f)
		}
		for _, dir := range dirs {
			// The separator has a directory looked into that is a link.
			if err := filepath.WalkDir(dir+string(filepath.Separator), look); err != nil {
				return fmt.Errorf("looking through %s: %w", dir, err)
			}
		}
		if !gone {
			return nil
		}
	}
	return fmt.Errorf("looking through the files: at each of %d looks one had gone away", maxLooks)
}
