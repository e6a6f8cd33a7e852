package kms

import (
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// Sizes that every dialect keeps to, in bytes.
const (
	MaxDataBytes    = 4096 // plaintext of EncryptData
	MaxDataKeyBytes = 1024 // a data key
	MaxDataKeys     = 1000 // of one CreateDataKeys, a number
	MaxRandomBytes  = 1024 // one GenerateRandom
)

// CreateKeyRequest asks for a key with its first version.
type CreateKeyRequest struct {
	Name        string
	Description string
	Spec        string // empty: AES_256
	Usage       string // empty: the usual one of the spec
	Origin      string // empty: kms
	Level       string // HSM or SOFTWARE; empty: what the module is for
	Protected   bool   // whether its deletion is refused until that is switched off
}

// ListKeysRequest asks for one page of the project's keys, newest first.
type ListKeysRequest struct {
	Limit  int            // 1–1000
	Offset int            // keys to skip
	State  state.KeyState // 0: every state
	Spec   string         // empty: every spec
}

// KeyPage is one page of keys.
type KeyPage struct {
	Keys  []*state.Key
	Total int // matching keys in all
	Next  int // offset of the next page; 0 on the last one
}

// CreateDataKeyRequest asks for a fresh data key.
type CreateDataKeyRequest struct {
	Key       string // id or alias/NAME
	Bytes     int    // 1–MaxDataKeyBytes
	Context   envelope.Context
	Plaintext bool // whether the answer carries the data key itself
}

// CreateDataKeysRequest asks for many fresh data keys at once.
type CreateDataKeysRequest struct {
	CreateDataKeyRequest
	Count int // 1–MaxDataKeys
}

// EncryptRequest asks for the encryption of a data key or of data.
type EncryptRequest struct {
	Key       string
	Version   uint32 // of a pair; 0: the first
	Plaintext []byte // the caller wipes it
	Context   envelope.Context
	Algorithm string // of data; empty: that of symmetric keys
}

// DecryptRequest asks for the plaintext of an envelope. Key may be empty:
// the envelope names its key; where it is given it must be the same one.
// The ciphertext of a pair is a bare block, so that Key must be given.
type DecryptRequest struct {
	Key        string
	Version    uint32 // of a pair; 0: the first
	Ciphertext []byte
	Context    envelope.Context
	Algorithm  string // of data; empty: that of symmetric keys
}

// Sealed is a ciphertext and what it was made with. Plaintext is set only by
// CreateDataKey, when asked for, and by the decrypting operations.
// Wipe zeroes it.
type Sealed struct {
	KeyID      string
	Spec       string // of the key
	Ciphertext []byte
	Plaintext  []byte
}

// Wipe zeroes the plaintext.
func (s *Sealed) Wipe() { clear(s.Plaintext) }

// SealedKeys are many data keys: Ciphertexts, and Plaintexts where they were
// asked for, are one behind the other and of equal size. The caller wipes
// Plaintexts.
type SealedKeys struct {
	KeyID       string
	Ciphertexts []byte
	Plaintexts  []byte
}

// ListAliasesRequest asks for one page of aliases, by name.
type ListAliasesRequest struct {
	Key   string // id or alias/NAME; empty: all of the project
	Limit int    // 1–1000
	After string // the Next of the page before
}

// AliasPage is one page of aliases.
type AliasPage struct {
	Aliases []*state.Alias
	Next    string // empty on the last page
}

// ListVersionsRequest asks for one page of a key's versions, newest first.
type ListVersionsRequest struct {
	Key    string
	Limit  int
	Before uint32 // the Next of the page before; 0: from the newest
}

// VersionPage is one page of versions.
type VersionPage struct {
	Key      *state.Key
	Versions []DescribedVersion
	Total    int
	Next     uint32 // 0 on the last page
}

// DescribedVersion is what may be told of a version.
type DescribedVersion struct {
	Number   uint32
	Created  int64 // Unix ms
	Primary  bool  // encrypts
	LastUsed int64 // Unix ms, some minutes behind; 0: not that anybody knew
}
