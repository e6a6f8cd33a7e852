package iam

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/raftkms/raftkms/fsm/state"
)

// counted opens secrets and counts how often; every secret it has handed out
// is kept to see whether it gets wiped.
type counted struct {
	mu     sync.Mutex
	opened int
	handed [][]byte
	err    error
}

func (c *counted) open(_ context.Context, ak *state.AccessKey) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	if c.err != nil {
		return nil, c.err
	}
	secret := bytes.Clone(ak.SealedSecret)
	c.handed = append(c.handed, secret)
	return secret, nil
}

func readSecret(t *testing.T, s *Secrets, ak *state.AccessKey) string {
	t.Helper()
	var space [maxSecret]byte
	n, err := s.read(t.Context(), ak, &space)
	if err != nil {
		t.Fatal(err)
	}
	return string(space[:n])
}

func record(id, secret string) *state.AccessKey {
	return &state.AccessKey{ID: id, SealedSecret: []byte(secret)}
}

func closeSecrets(t *testing.T, s *Secrets) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreOpenedOnceAndWiped(t *testing.T) {
	c := &counted{}
	s := NewSecrets(c.open)
	defer closeSecrets(t, s)
	ak := record("A", "secret of A")
	for range 3 {
		if got := readSecret(t, s, ak); got != "secret of A" {
			t.Fatalf("read %q", got)
		}
	}
	if c.opened != 1 {
		t.Errorf("opened %d times, want once", c.opened)
	}
	if !bytes.Equal(c.handed[0], make([]byte, len("secret of A"))) {
		t.Error("the opened secret was not wiped")
	}
}

// The cache answers for the very record and for no equal one: another pointer
// means that the state has changed.
func TestSecretsFollowTheRecord(t *testing.T) {
	c := &counted{}
	s := NewSecrets(c.open)
	defer closeSecrets(t, s)
	older, newer := record("A", "old"), record("A", "newer")
	for _, step := range []struct {
		ak   *state.AccessKey
		want string
	}{{older, "old"}, {newer, "newer"}, {newer, "newer"}, {older, "old"}, {record("A", "old"), "old"}} {
		if got := readSecret(t, s, step.ak); got != step.want {
			t.Errorf("read %q, want %q", got, step.want)
		}
	}
	if c.opened != 4 {
		t.Errorf("opened %d times, want 4", c.opened)
	}
	if len(s.ring) != 1 || len(s.byID) != 1 || len(s.entries) != 1 {
		t.Errorf("one access key takes %d places, is found by %d ids and %d records", len(s.ring), len(s.byID), len(s.entries))
	}
}

func TestSecretsRefuseSizes(t *testing.T) {
	s := NewSecrets((&counted{}).open)
	defer closeSecrets(t, s)
	var space [maxSecret]byte
	for _, secret := range []string{"", strings.Repeat("x", maxSecret+1)} {
		if _, err := s.read(t.Context(), record("A", secret), &space); !errors.Is(err, errSecretSize) {
			t.Errorf("a secret of %d bytes: %v", len(secret), err)
		}
	}
	failing := errors.New("failing")
	broken := NewSecrets((&counted{err: failing}).open)
	defer closeSecrets(t, broken)
	if _, err := broken.read(t.Context(), record("A", "x"), &space); !errors.Is(err, failing) {
		t.Errorf("error = %v, want the opener's", err)
	}
}

// The cache is bounded, keeps what is used, and drops what is not.
func TestSecretsDropTheUnused(t *testing.T) {
	c := &counted{}
	s := NewSecrets(c.open)
	defer closeSecrets(t, s)
	records := make([]*state.AccessKey, maxCached+maxCached/2)
	for i := range records {
		records[i] = record(fmt.Sprint(i), fmt.Sprint("secret ", i))
	}
	favourite := records[0]
	for i, ak := range records {
		if got := readSecret(t, s, ak); got != fmt.Sprint("secret ", i) {
			t.Fatalf("read %q for %d", got, i)
		}
		readSecret(t, s, favourite)
	}
	if c.opened != len(records) {
		t.Errorf("opened %d times for %d access keys: what is used again and again was dropped", c.opened, len(records))
	}
	if len(s.entries) != maxCached || len(s.byID) != maxCached || len(s.ring) != maxCached {
		t.Errorf("%d entries, %d by id, %d places; want %d", len(s.entries), len(s.byID), len(s.ring), maxCached)
	}
	for _, ak := range records {
		if got, want := readSecret(t, s, ak), string(ak.SealedSecret); got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
}

func TestSecretsClose(t *testing.T) {
	c := &counted{}
	s := NewSecrets(c.open)
	ak := record("A", "secret")
	readSecret(t, s, ak)
	closeSecrets(t, s)
	closeSecrets(t, s)
	if got := readSecret(t, s, ak); got != "secret" || len(s.entries) != 0 {
		t.Errorf("after Close: %q, %d entries kept", got, len(s.entries))
	}
}

// Without locked memory nothing is kept and everything works.
func TestSecretsWithoutMemory(t *testing.T) {
	c := &counted{}
	s := NewSecrets(c.open)
	if err := s.arena.Close(); err != nil {
		t.Fatal(err)
	}
	defer closeSecrets(t, s)
	ak := record("A", "secret")
	for range 2 {
		if got := readSecret(t, s, ak); got != "secret" {
			t.Fatalf("read %q", got)
		}
	}
	if c.opened != 2 {
		t.Errorf("opened %d times, want 2", c.opened)
	}
}

func TestSecretsSideBySide(t *testing.T) {
	s := NewSecrets((&counted{}).open)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				// Two versions of each record, so that entries are replaced
				// while others read them.
				ak := record(fmt.Sprint(i%7), fmt.Sprint("secret ", i%7, " ", worker%2))
				var space [maxSecret]byte
				n, err := s.read(context.Background(), ak, &space)
				if err != nil || string(space[:n]) != string(ak.SealedSecret) {
					t.Errorf("read %q, %v; want %q", space[:n], err, ak.SealedSecret)
					return
				}
			}
		})
	}
	wg.Wait()
	closeSecrets(t, s)
}

func TestHashPassword(t *testing.T) {
	first, second := HashPassword("correct horse"), HashPassword("correct horse")
	if first == second {
		t.Error("two hashes have one salt")
	}
	parts := strings.Split(first, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != "v=19" || parts[3] != "m=19456,t=2,p=1" {
		t.Fatalf("not a PHC string of the intended cost: %q", first)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		t.Fatal(err)
	}
	want := base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte("correct horse"), salt, 2, 19456, 1, 32))
	if len(salt) != 16 || parts[5] != want {
		t.Errorf("hash %q under a salt of %d bytes, want %q", parts[5], len(salt), want)
	}
}

// The key derived last is used again for its scope alone, and goes with the
// record that it was derived from.
func TestSecretsKeepOneDerivedKey(t *testing.T) {
	s := NewSecrets((&counted{}).open)
	defer closeSecrets(t, s)
	sign := func(scope string) *signature {
		sig, reason := parseAuthorization([]byte("SDK-HMAC-SHA256 Credential=A/" + scope + "/sdk_request, SignedHeaders=x-sdk-date, Signature=" + someMAC))
		if reason != "" {
			t.Fatal(reason)
		}
		return &sig
	}
	today, tomorrow := sign("20261122//"), sign("20261123//")
	ak := record("A", "secret")
	var space, derived [maxSigningKey]byte
	if s.derived(ak, today, &space) != nil {
		t.Error("a key that nobody has derived")
	}
	readSecret(t, s, ak)
	key := today.signingKey(&derived, []byte("secret"), new(macs))
	s.keepDerived(ak, today, key)
	if got := s.derived(ak, today, &space); !bytes.Equal(got, key) {
		t.Errorf("kept %x, want %x", got, key)
	}
	if s.derived(ak, tomorrow, &space) != nil {
		t.Error("a key of another day's scope")
	}
	if s.derived(record("A", "secret"), today, &space) != nil {
		t.Error("a key of a record that the state no longer holds")
	}
	s.keepDerived(ak, tomorrow, tomorrow.signingKey(&derived, []byte("secret"), new(macs)))
	if s.derived(ak, today, &space) != nil || s.derived(ak, tomorrow, &space) == nil {
		t.Error("not the key that was derived last")
	}
}
