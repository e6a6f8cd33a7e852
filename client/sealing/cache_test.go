package sealing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/client/sealing"
)

// Each bound of a cache makes the service be asked again.
func TestCacheBounds(t *testing.T) {
	ctx := context.Background()
	f := func(c *sealing.Cache, seals, size, wantMade int) {
		t.Helper()
		keys := newService()
		s := sealing.New(keys, sealing.Options{Cache: c})
		for range seals {
			sealed, err := s.Seal(ctx, "k", make([]byte, size), nil)
			if err != nil {
				t.Fatal(err)
			}
			if opened, err := s.Open(ctx, sealed, nil); err != nil || len(opened) != size {
				t.Fatalf("opened %d bytes, %v", len(opened), err)
			}
		}
		if keys.made != wantMade || keys.opened != 0 {
			t.Errorf("made %d data keys and opened %d, want %d and 0", keys.made, keys.opened, wantMade)
		}
	}
	f(&sealing.Cache{}, 10, 10, 1)
	f(&sealing.Cache{MaxUses: 3}, 10, 10, 4)
	f(&sealing.Cache{MaxBytes: 25}, 10, 10, 5)
}

// What streams write counts, for the data key that they are under.
func TestCacheCountsTheBytesOfStreams(t *testing.T) {
	ctx := context.Background()
	keys := newService()
	s := sealing.New(keys, sealing.Options{Cache: &sealing.Cache{MaxBytes: 100}})
	stream := func(size int) (write func(size int)) {
		t.Helper()
		w, err := s.Writer(ctx, "k", io.Discard, nil)
		if err != nil {
			t.Fatal(err)
		}
		write = func(size int) {
			t.Helper()
			if n, err := w.Write(make([]byte, size)); err != nil || n != size {
				t.Fatal(n, err)
			}
		}
		write(size)
		return write
	}
	seal := func(size, made int) {
		t.Helper()
		if _, err := s.Seal(ctx, "k", make([]byte, size), nil); err != nil {
			t.Fatal(err)
		}
		if keys.made != made {
			t.Errorf("%d data keys, want %d", keys.made, made)
		}
	}
	first := stream(60)
	seal(30, 1)
	seal(11, 2) // beside 90 of the first
	// The first one's stream goes on, under the first data key: the second has
	// sealed no more than before.
	first(1_000_000)
	seal(80, 2)
	stream(5)
	seal(4, 2)
	stream(1) // the second is full, exactly
	seal(99, 3)
	stream(1)
	seal(0, 4)
	stream(1_000_000) // what has begun goes on beyond the bound
	seal(0, 5)
}

func TestCacheTellsContextsAndKeysApart(t *testing.T) {
	ctx := context.Background()
	keys := newService()
	s := sealing.New(keys, sealing.Options{Cache: &sealing.Cache{}})
	seal := func(key string, encryptionContext map[string]string) []byte {
		t.Helper()
		sealed, err := s.Seal(ctx, key, []byte("x"), encryptionContext)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	sealed := seal("k", map[string]string{"a": "b"})
	seal("k", map[string]string{"ab": ""})
	seal("k", nil)
	seal("l", nil)
	if keys.made != 4 {
		t.Errorf("%d data keys for four uses", keys.made)
	}
	if _, err := s.Open(ctx, sealed, nil); !errors.Is(err, errWrongKey) {
		t.Errorf("opened with another context: %v", err)
	}
}

func TestCacheForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		keys := newService()
		cache := &sealing.Cache{MaxAge: time.Minute, MaxEntries: 4}
		s := sealing.New(keys, sealing.Options{Cache: cache})
		sealed, err := s.Seal(ctx, "k", []byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		keys.refused = errors.New("the key is disabled")
		open := func() error {
			got, err := s.Open(ctx, sealed, nil)
			if err == nil && !bytes.Equal(got, []byte("x")) {
				t.Fatalf("opened %q", got)
			}
			return err
		}
		time.Sleep(59 * time.Second)
		if err := open(); err != nil {
			t.Fatalf("within MaxAge: %v", err)
		}
		time.Sleep(time.Second)
		if err := open(); !errors.Is(err, keys.refused) {
			t.Fatalf("after MaxAge: %v", err)
		}

		keys.refused = nil
		if err := open(); err != nil {
			t.Fatal(err)
		}
		keys.refused = errors.New("revoked")
		cache.Wipe()
		if err := open(); !errors.Is(err, keys.refused) {
			t.Fatalf("after Wipe: %v", err)
		}

		keys.refused = nil
		if err := open(); err != nil {
			t.Fatal(err)
		}
		for range 4 { // each makes an entry to seal with and one to open with
			if _, err := s.Seal(ctx, "k", []byte("y"), map[string]string{"n": time.Now().String()}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		before := keys.opened
		if err := open(); err != nil || keys.opened != before+1 {
			t.Fatalf("MaxEntries was not kept to: %d more, %v", keys.opened-before, err)
		}
	})
}
