package sealing_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/sealing"
)

var update = flag.Bool("update", false, "rewrite testdata: a change of the format, which needs a new version")

const keyID = "0b8d5c4e-1111-4222-8333-444455556666"

// service makes and opens data keys in this process and counts the calls.
type service struct {
	keys         map[string]sealedKey
	next         func() []byte
	made, opened int
	refused      error
}

type sealedKey struct {
	plaintext []byte
	context   map[string]string
}

func newService() *service {
	return &service{keys: map[string]sealedKey{}, next: func() []byte {
		key := make([]byte, 32)
		rand.Read(key)
		return key
	}}
}

func (s *service) CreateDataKey(_ context.Context, _ string, o client.DataKeyOptions) (client.DataKey, error) {
	if s.refused != nil {
		return client.DataKey{}, s.refused
	}
	s.made++
	plaintext, wrapped := s.next(), fmt.Sprintf("encrypted data key %d", s.made)
	s.keys[wrapped] = sealedKey{bytes.Clone(plaintext), o.Context}
	return client.DataKey{KeyID: keyID, Plaintext: plaintext, Ciphertext: []byte(wrapped)}, nil
}

var errWrongKey = errors.New("the ciphertext is not one of this key")

func (s *service) DecryptDataKey(_ context.Context, key string, wrapped []byte, o client.DataKeyOptions) ([]byte, error) {
	if s.refused != nil {
		return nil, s.refused
	}
	s.opened++
	k, ok := s.keys[string(wrapped)]
	if !ok || key != keyID || !maps.Equal(k.context, o.Context) {
		return nil, errWrongKey
	}
	return bytes.Clone(k.plaintext), nil
}

func text(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 31 >> 3)
	}
	return p
}

func TestSealAndOpen(t *testing.T) {
	ctx := context.Background()
	f := func(n int) {
		t.Helper()
		s := sealing.New(newService(), sealing.Options{})
		sealed, err := s.Seal(ctx, "alias/k", text(n), map[string]string{"a": "b"})
		if err != nil {
			t.Fatal(err)
		}
		opened, err := s.Open(ctx, sealed, map[string]string{"a": "b"})
		if err != nil || !bytes.Equal(opened, text(n)) {
			t.Fatalf("%d bytes: opened %d, %v", n, len(opened), err)
		}
		if n >= 32 && bytes.Contains(sealed, text(n)[:32]) {
			t.Fatalf("%d bytes: the plaintext is in what was sealed", n)
		}
		if _, err := s.Open(ctx, sealed, map[string]string{"a": "c"}); !errors.Is(err, errWrongKey) {
			t.Fatalf("another context: %v", err)
		}
	}
	for _, n := range []int{0, 1, 31, 4039, 4040, 4041, 4096, 8191, 100_000, 1 << 20, 1<<20 + 1, 3<<20 + 17} {
		f(n)
	}
}

// A stream in pieces is the same as one in a whole.
func TestStreams(t *testing.T) {
	ctx := context.Background()
	s := sealing.New(newService(), sealing.Options{})
	want := text(2<<20 + 12345)
	var sealed bytes.Buffer
	w, err := s.Writer(ctx, "alias/k", &sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 7777)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Reader(ctx, iotest.HalfReader(bytes.NewReader(sealed.Bytes())), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}

	broken := errors.New("the disk is gone")
	r, err = s.Reader(ctx, io.MultiReader(bytes.NewReader(sealed.Bytes()[:1<<20+500]), iotest.ErrReader(broken)), nil)
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, broken) || errors.Is(err, sealing.ErrAltered) {
		t.Fatalf("a broken source: %v", err)
	}
}

// Whatever is changed, cut or added is noticed.
func TestAltered(t *testing.T) {
	ctx := context.Background()
	s := sealing.New(newService(), sealing.Options{})
	sealed, err := s.Seal(ctx, "alias/k", text(9000), nil)
	if err != nil {
		t.Fatal(err)
	}
	noticed := func(what string, altered []byte) {
		t.Helper()
		_, err := s.Open(ctx, altered, nil)
		if !errors.Is(err, sealing.ErrAltered) && !errors.Is(err, sealing.ErrMalformed) && !errors.Is(err, errWrongKey) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		noticed(fmt.Sprintf("byte %d changed", i), altered)
	}
	for n := range sealed {
		if n < 200 || n%97 == 0 || n > len(sealed)-50 {
			noticed(fmt.Sprintf("cut to %d bytes", n), sealed[:n])
		}
	}
	noticed("one byte more", append(bytes.Clone(sealed), 0))
	head := len(sealed) - 9000 - 3*16 - 40
	second, third := sealed[head+4096:head+2*4096], sealed[head+2*4096:]
	noticed("segments exchanged", bytes.Join([][]byte{sealed[:head+4096], third, second}, nil))
	noticed("a segment left out", bytes.Join([][]byte{sealed[:head+4096], third}, nil))
}

// The format is what it was: a file of version 1 opens for ever.
func TestGolden(t *testing.T) {
	const file = "testdata/v1.hex"
	keys := newService()
	keys.next = func() []byte { return bytes.Repeat([]byte{0x42}, 32) }
	s := sealing.New(keys, sealing.Options{})
	if *update {
		sealed, err := s.Seal(context.Background(), "k", []byte("golden plaintext"), map[string]string{"c": "d"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(hex.EncodeToString(sealed)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	keys.keys["encrypted data key 1"] = sealedKey{bytes.Repeat([]byte{0x42}, 32), map[string]string{"c": "d"}}
	opened, err := s.Open(context.Background(), sealed, map[string]string{"c": "d"})
	if err != nil || string(opened) != "golden plaintext" {
		t.Fatalf("%q, %v", opened, err)
	}
}

func FuzzOpen(f *testing.F) {
	keys := newService()
	s := sealing.New(keys, sealing.Options{})
	sealed, err := s.Seal(context.Background(), "k", []byte("seed"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:60])
	f.Add([]byte("raftkms\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		opened, err := s.Open(context.Background(), data, nil)
		if err == nil && (!bytes.Equal(data, sealed) || string(opened) != "seed") {
			t.Fatalf("opened what was not sealed: %x", data)
		}
	})
}
