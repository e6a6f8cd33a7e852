package iam

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/locked"
)

const (
	// maxSecret is the longest secret key, in bytes.
	maxSecret = 128
	// maxCached is how many secret keys are kept open.
	maxCached = 16384
	// cacheMemory bounds the locked memory they are kept in, in bytes; a
	// secret key takes up to 512.
	cacheMemory = maxCached*512 + 64<<10
)

// errSecretSize: what was sealed is no secret key.
var errSecretSize = errors.New("a secret key has 1 to 128 bytes")

// OpenSecret returns the secret key of an access key; the caller wipes it.
type OpenSecret func(ctx context.Context, accessKey *state.AccessKey) ([]byte, error)

// Secrets opens the sealed secret keys of access keys and keeps those in use
// open in locked memory. An entry counts only for the very record it was made
// from: once the state holds another record for that access key, the old
// secret is never used again, with no message needed. It is safe for concurrent use.
type Secrets struct {
	open  OpenSecret
	arena *locked.Arena

	mu      sync.RWMutex
	entries map[*state.AccessKey]*secretEntry // those that are open; found without a look into the record
	byID    map[string]*secretEntry           // by access key id; the same, and those for which there was no memory
	ring    []*secretEntry                    // all in byID, for the clock that finds what to drop
	hand    int
	closed  bool
}

// secretEntry is one open secret. All but used changes only under the lock.
type secretEntry struct {
	record *state.AccessKey
	buffer *locked.Buffer
	secret []byte // in the buffer's memory, as is signing
	used   atomic.Bool

	// The key that the secret was last derived to, by which scheme and for
	// which scope; clients stay with one a day.
	scheme  *scheme
	scope   []byte
	signing []byte
}

// NewSecrets returns an empty cache over open. Close it before what open uses.
func NewSecrets(open OpenSecret) *Secrets {
	return &Secrets{
		open:    open,
		arena:   locked.NewArena(cacheMemory),
		entries: make(map[*state.AccessKey]*secretEntry),
		byID:    make(map[string]*secretEntry),
	}
}

// Close wipes every secret. After it nothing is kept any more.
func (s *Secrets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.entries, s.byID, s.ring = nil, nil, nil
	return s.arena.Close()
}

// read copies the secret key into the caller's memory, which the caller wipes,
// and returns its length.
func (s *Secrets) read(ctx context.Context, accessKey *state.AccessKey, into *[maxSecret]byte) (int, error) {
	if n, ok := s.cached(accessKey, into); ok {
		return n, nil
	}
	secret, err := s.open(ctx, accessKey)
	if err != nil {
		return 0, err
	}
	defer clear(secret)
	if len(secret) < 1 || len(secret) > maxSecret {
		return 0, errSecretSize
	}
	s.keep(accessKey, secret)
	return copy(into[:], secret), nil
}

func (s *Secrets) cached(accessKey *state.AccessKey, into *[maxSecret]byte) (int, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[accessKey]
	if e == nil {
		return 0, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return copy(into[:], e.secret), true
}

// derived copies the signing key of that scheme and scope, if it is the one
// that was used last, and returns it; else nil.
func (s *Secrets) derived(accessKey *state.AccessKey, sig *signature, into *[maxSigningKey]byte) []byte {
	if sig.scheme.derivation == asItIs {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[accessKey]
	if e == nil || e.scheme != sig.scheme || !bytes.Equal(e.scope, sig.scope) {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return into[:copy(into[:], e.signing)]
}

// keepDerived remembers a signing key that has proved right.
func (s *Secrets) keepDerived(accessKey *state.AccessKey, sig *signature, key []byte) {
	if sig.scheme.derivation == asItIs {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[accessKey]
	if e == nil {
		return
	}
	room := e.buffer.Bytes()[len(e.secret):]
	clear(room)
	e.scheme, e.scope, e.signing = sig.scheme, append(e.scope[:0], sig.scope...), room[:copy(room, key)]
}

// keep puts a secret into the cache. Not being able to is no error: the next
// request opens it again.
func (s *Secrets) keep(accessKey *state.AccessKey, secret []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.entries[accessKey] != nil {
		return // another request was faster
	}
	e := s.byID[accessKey.ID]
	switch {
	case e != nil:
		// The record has changed: the place stays, the secret goes.
	case len(s.ring) < maxCached:
		e = new(secretEntry)
		s.ring = append(s.ring, e)
	default:
		e = s.drop()
		delete(s.byID, e.record.ID)
	}
	delete(s.entries, e.record)
	if e.buffer != nil {
		e.buffer.Destroy()
	}
	e.record, e.buffer, e.secret = accessKey, nil, nil
	e.scheme, e.scope, e.signing = nil, e.scope[:0], nil
	s.byID[accessKey.ID] = e
	buffer, err := s.arena.New(len(secret) + maxSigningKey)
	if err != nil {
		return // the place stays in the ring
	}
	e.buffer, e.secret = buffer, buffer.Bytes()[:len(secret)]
	copy(e.secret, secret)
	s.entries[accessKey] = e
}

// drop finds an entry that has not been used since the clock's hand passed it last.
func (s *Secrets) drop() *secretEntry {
	for {
		e := s.ring[s.hand]
		s.hand = (s.hand + 1) % len(s.ring)
		if !e.used.Swap(false) {
			return e
		}
	}
}
