package envelope

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// MaxContext is the largest canonical form of a context, in bytes without its
// tag: a string of 8192 bytes, which is what dialects promise, and its length.
const MaxContext = 8192 + 4

// The first byte of a context's canonical form.
const (
	tagNone   = 0
	tagString = 1
	tagMap    = 2
)

// Context is what a caller wants a ciphertext bound to without storing it
// inside: nothing (the zero value), a string, or a map. Its canonical form is
//
//	none:   0
//	string: 1 length(4) bytes
//	map:    2 count(4) { length(4) key length(4) value }, sorted by the bytes of the key
type Context struct {
	encoded []byte // nil for none
}

// NoContext binds to nothing.
func NoContext() Context { return Context{} }

// StringContext binds to s. The empty string says nothing and is the same as
// [NoContext], because clients leave out what is empty. A string with a
// canonical form above [MaxContext] bytes is [ErrTooLong].
func StringContext(s string) (Context, error) {
	if s == "" {
		return Context{}, nil
	}
	if len(s) > MaxContext-4 {
		return Context{}, fmt.Errorf("%w: a context of %d bytes", ErrTooLong, len(s))
	}
	b := append(make([]byte, 0, 5+len(s)), tagString)
	return Context{encoded: appendPart(b, s)}, nil
}

// MapContext binds to all entries of m, in whatever order they come. The empty
// map is the same as [NoContext]. A map with a canonical form above
// [MaxContext] bytes is [ErrTooLong].
func MapContext(m map[string]string) (Context, error) {
	if len(m) == 0 {
		return Context{}, nil
	}
	size := 4
	keys := make([]string, 0, min(len(m), MaxContext/8))
	for k, v := range m {
		size += 8 + len(k) + len(v)
		if size > MaxContext {
			return Context{}, fmt.Errorf("%w: a context above %d bytes", ErrTooLong, MaxContext)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b := append(make([]byte, 0, 1+size), tagMap)
	b = binary.BigEndian.AppendUint32(b, uint32(len(keys)))
	for _, k := range keys {
		b = appendPart(b, k)
		b = appendPart(b, m[k])
	}
	return Context{encoded: b}, nil
}

// appendTo appends the canonical form.
func (c Context) appendTo(dst []byte) []byte {
	if c.encoded == nil {
		return append(dst, tagNone)
	}
	return append(dst, c.encoded...)
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}

// IsNone tells whether the context binds to nothing.
func (c Context) IsNone() bool { return c.encoded == nil }

// Digest is the SHA-256 of the context's canonical form.
func (c Context) Digest() [sha256.Size]byte { return sha256.Sum256(c.encoded) }

// Pairs returns the entries of a map, sorted by key; ok is false for every
// other context.
func (c Context) Pairs() (pairs iter.Seq2[string, string], ok bool) {
	if c.encoded == nil || c.encoded[0] != tagMap {
		return nil, false
	}
	return func(yield func(string, string) bool) {
		rest := c.encoded[5:]
		part := func() string {
			n := binary.BigEndian.Uint32(rest)
			text := rest[4 : 4+n]
			rest = rest[4+n:]
			return string(text)
		}
		for len(rest) > 0 {
			if k := part(); !yield(k, part()) {
				return
			}
		}
	}, true
}
