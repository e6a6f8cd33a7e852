package kms

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
)

// FuzzImportToken: a token opens only as it was sealed, and every other one is
// refused in one way.
func FuzzImportToken(f *testing.F) {
	dir := f.TempDir()
	module, err := soft.Open(f.Context(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		f.Fatal(err)
	}
	defer module.Close()
	if err := module.CreateRoots(f.Context(), hsm.ClusterID(uuid.New()), 1); err != nil {
		f.Fatal(err)
	}
	s := &Service{module: module}
	token := importToken{id: uuid.New(), key: uuid.New(), expires: 1_700_000_000_000, algorithm: wrapPKCS1}
	sealed, err := sealToken(f.Context(), s.module, token)
	if err != nil {
		f.Fatal(err)
	}
	altered := bytes.Clone(sealed)
	altered[40] ^= 1
	for _, seed := range [][]byte{sealed, altered, sealed[:tokenBody], append(bytes.Clone(sealed), 0), nil, make([]byte, tokenSize)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		opened, err := s.openToken(t.Context(), b)
		if bytes.Equal(b, sealed) {
			if err != nil || opened != token {
				t.Fatalf("%+v, %v; want %+v", opened, err, token)
			}
			return
		}
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Kind != KindImportToken {
			t.Fatalf("%x opens as %+v, %v", b, opened, err)
		}
		// What is told apart is told apart for ever: the fields go back into the
		// bytes that they came from, but for what fills the token up.
		if parsed, ok := parseToken(b); ok && !bytes.Equal(parsed.body()[:tokenBody-tokenPadding], b[:tokenBody-tokenPadding]) {
			t.Fatalf("%x is read as %+v", b, parsed)
		}
	})
}
