package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/fsm/state"
)

// blobFinder finds wrapped material in a stream by what is kept of it: its size
// and its SHA-256. In every file of a node such material stands as one string of
// bytes in CBOR, behind a head that tells its size, so only what follows such a
// head is hashed. A page of the log's file that is free, or the end of a torn
// write, is found as well as a record.
type blobFinder struct {
	heads  map[int][]byte                     // size → CBOR head
	wanted map[int]map[[sha256.Size]byte]bool // size → hashes
	most   int                                // of a head and what follows it
}

func newBlobFinder(prints []state.BlobPrint) *blobFinder {
	f := &blobFinder{heads: make(map[int][]byte), wanted: make(map[int]map[[sha256.Size]byte]bool)}
	for _, p := range prints {
		size := int(p.Size)
		if f.wanted[size] == nil {
			f.wanted[size] = make(map[[sha256.Size]byte]bool)
			f.heads[size] = cborHead(size)
			f.most = max(f.most, len(f.heads[size])+size)
		}
		f.wanted[size][p.Hash] = true
	}
	return f
}

// cborHead begins a string of that many bytes (RFC 8949, major type 2).
func cborHead(size int) []byte {
	switch {
	case size < 24:
		return []byte{0x40 | byte(size)}
	case size < 1<<8:
		return []byte{0x58, byte(size)}
	default:
		return []byte{0x59, byte(size >> 8), byte(size)}
	}
}

// chunk is how much of a file is looked at at once, in bytes.
const chunk = 1 << 20

// find tells whether something wanted stands in the stream.
func (f *blobFinder) find(ctx context.Context, r io.Reader) (found bool, read int64, err error) {
	window := make([]byte, 0, chunk+f.most)
	in := bufio.NewReaderSize(r, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return false, read, err
		}
		kept := len(window)
		n, err := io.ReadFull(in, window[kept:kept+chunk])
		read += int64(n)
		window = window[:kept+n]
		if f.inside(window) {
			return true, read, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, read, nil
		}
		if err != nil {
			return false, read, err
		}
		// What begins in the end of this window is whole in the next one.
		window = append(window[:0], window[len(window)-min(len(window), f.most-1):]...)
	}
}

func (f *blobFinder) inside(window []byte) bool {
	for size, head := range f.heads {
		for at := 0; ; {
			next := bytes.Index(window[at:], head)
			if next < 0 || at+next+len(head)+size > len(window) {
				break
			}
			at += next
			if f.wanted[size][sha256.Sum256(window[at+len(head):at+len(head)+size])] {
				return true
			}
			at++
		}
	}
	return false
}

// findBlobs returns the files below the directories in which something of a
// key stands, and how many bytes it has read.
func findBlobs(ctx context.Context, prints []state.BlobPrint, dirs ...string) (files []string, read int64, err error) {
	if len(prints) == 0 {
		return nil, 0, nil
	}
	finder := newBlobFinder(prints)
	err = storage.EachFile(ctx, func(path string, f *os.File) error {
		found, n, err := finder.find(ctx, f)
		if read += n; found {
			files = append(files, path)
		}
		return err
	}, dirs...)
	return files, read, err
}
