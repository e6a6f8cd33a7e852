package audit_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/raftkms/raftkms/server/audit"
)

const origin = "c0ffee00/audit/n1"

func signer(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(name, public, func(digest []byte) ([]byte, error) { return ecdsa.SignASN1(rand.Reader, private, digest) })
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.VerifierKey(name, public)
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func checkpoint(t testing.TB, log *audit.Log) audit.Checkpoint {
	t.Helper()
	c, ok := log.Checkpoint(origin)
	if !ok {
		t.Fatal("there is no checkpoint")
	}
	return c
}

func against(dir string, kept ...audit.Checkpoint) (audit.Report, error) {
	return audit.VerifyAgainst(context.Background(), dir, audit.Against{Checkpoints: kept})
}

// The tree is the one that tlog makes of the hashes of the lines.
func TestTheTree(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	stored := make(map[int64]tlog.Hash)
	read := tlog.HashReaderFunc(func(indexes []int64) (all []tlog.Hash, err error) {
		for _, i := range indexes {
			all = append(all, stored[i])
		}
		return all, nil
	})
	for n := range int64(70) {
		appended(t, log, "x", 1)
		all := lines(t, dir)
		var h audit.Hash
		last := all[len(all)-1]
		if err := h.UnmarshalText([]byte(last[len(last)-67 : len(last)-3])); err != nil {
			t.Fatal(err)
		}
		hashes, err := tlog.StoredHashes(n, h[:], read)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range hashes {
			stored[tlog.StoredHashIndex(0, n)+int64(i)] = h
		}
		want, err := tlog.TreeHash(n+1, read)
		if err != nil {
			t.Fatal(err)
		}
		c := checkpoint(t, log)
		if c.Size != uint64(n+1) || c.From != 1 || tlog.Hash(c.Root) != want || c.Last != h {
			t.Fatalf("after %d lines: %+v, want %s", n+1, c, want)
		}
		if n%13 == 0 { // the edge is in the headers
			shut(t, log)
			log, _ = open(t, small(dir))
		}
	}
}

func TestCheckpointsAreSigned(t *testing.T) {
	log, _ := open(t, small(t.TempDir()))
	appended(t, log, "x", 3)
	c := checkpoint(t, log)
	s, key := signer(t, origin)
	// The base64 of some signatures ends in bits that decode to nothing, and so
	// has more than one spelling, which altering a byte finds where it ends in one
	// of these digits: take such a signature.
	var signed []byte
	for spelt := regexp.MustCompile(`[048]=\n$`); !spelt.Match(signed); {
		var err error
		if signed, err = c.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	got, err := audit.OpenCheckpoint(signed, key)
	if err != nil || got != c {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range signed {
		altered := bytes.Clone(signed)
		altered[i] ^= 1
		if got, err := audit.OpenCheckpoint(altered, key); !errors.Is(err, audit.ErrCheckpoint) {
			t.Fatalf("byte %d: %+v, %v", i, got, err)
		}
	}
	_, other := signer(t, origin)
	foreign, foreignKey := signer(t, "another/audit/n1")
	theirs, err := c.Sign(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []struct {
		note []byte
		key  string
	}{{signed, other}, {theirs, foreignKey}, {signed, "no key"}, {nil, key}, {make([]byte, 5000), key}} {
		if _, err := audit.OpenCheckpoint(wrong.note, wrong.key); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("%.20q with %.20q: %v", wrong.note, wrong.key, err)
		}
	}
}

// What others have kept shows whatever is done to the log before it.
func TestVerifyAgainstCheckpoints(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, packing(dir))
	var kept []audit.Checkpoint
	for range 8 {
		appended(t, log, "x", 7)
		kept = append(kept, checkpoint(t, log))
	}
	packed(t, dir)
	shut(t, log)
	f := func(name string, change func(t *testing.T, dir string), want error, part string) {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, dir)
			change(t, dir)
			r, err := against(dir, kept...)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("fault %v, want %v", err, want)
			}
			if want == nil && r.Proved+r.Passed != len(kept) {
				t.Errorf("%d proved, %d passed", r.Proved, r.Passed)
			}
		})
	}
	f("nothing", func(*testing.T, string) {}, nil, "")
	f("goes on", func(t *testing.T, dir string) {
		log, _ := open(t, packing(dir))
		appended(t, log, "y", 20)
		shut(t, log)
	}, nil, "")
	f("without its end", func(t *testing.T, dir string) {
		all := segments(t, dir)
		if err := os.Remove(all[len(all)-1]); err != nil {
			t.Fatal(err)
		}
	}, audit.ErrMissing, "the checkpoint of")
	f("without its last line", func(t *testing.T, dir string) {
		all := segments(t, dir)
		text := strings.SplitAfter(content(t, all[len(all)-1]), "\n")
		overwrite(t, all[len(all)-1], strings.Join(text[:len(text)-2], ""))
	}, audit.ErrMissing, "the checkpoint of")
	anew := func(t *testing.T, dir string, n int) {
		t.Helper()
		old, err := filepath.Glob(filepath.Join(dir, "traces-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		log, _ := open(t, packing(dir))
		appended(t, log, "forged", n)
		shut(t, log)
	}
	f("written anew", func(t *testing.T, dir string) { anew(t, dir, 80) }, audit.ErrAltered, "is not the one of the checkpoint")
	f("written anew and short", func(t *testing.T, dir string) { anew(t, dir, 3) }, audit.ErrMissing, "the checkpoint of")
	f("empty", func(t *testing.T, dir string) { anew(t, dir, 0) }, audit.ErrMissing, "the checkpoint of")
}

// A log that begins behind a checkpoint, since retention has dropped what was
// before, is checked by the newer ones: the edge of the tree is in its headers.
func TestVerifyBehindRetention(t *testing.T) {
	dir := t.TempDir()
	now := time.UnixMilli(1700000000000)
	cfg := small(dir)
	cfg.Clock = func() time.Time { return now }
	log, _ := open(t, cfg)
	var kept []audit.Checkpoint
	for range 6 {
		appended(t, log, "x", 10)
		kept = append(kept, checkpoint(t, log))
		log.Published(1 << 40)
		now = now.Add(3 * 24 * time.Hour)
	}
	r, err := against(dir, kept...)
	if err != nil || r.Err() != nil || r.First == 1 || r.Proved == 0 || r.Passed == 0 || r.Proved+r.Passed != 6 {
		t.Errorf("%+v, %v", r, err)
	}
}

// After damage a new tree begins, and what was published of the old one before
// the damage still holds.
func TestATreeBeginsAnewBehindDamage(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	appended(t, log, "x", 3)
	first := checkpoint(t, log)
	appended(t, log, "x", 4)
	second := checkpoint(t, log)
	shut(t, log)
	all := lines(t, dir)
	all[5] = strings.Replace(all[5], "createDataKey", "createDataKex", 1)
	overwrite(t, segments(t, dir)[0], strings.Join(all, ""))
	log, _ = open(t, small(dir))
	appended(t, log, "y", 3)
	third := checkpoint(t, log)
	if third.From <= second.From {
		t.Errorf("the tree goes on: %+v", third)
	}
	r, err := against(dir, third, second, first)
	if err != nil || r.Proved != 2 || r.Passed != 1 || r.FaultCount != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
