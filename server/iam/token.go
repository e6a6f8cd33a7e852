package iam

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// TokenLife is how long a token counts.
const TokenLife = 24 * time.Hour

const (
	// maxToken is the longest text of a token, in bytes.
	maxToken = 1024
	// maxTokensKept is how many opened tokens are kept.
	maxTokensKept = 16_384
)

// Scope is what a token is good for.
type Scope uint8

// The scopes.
const (
	Unscoped     Scope = 0 // says who somebody is, and gets other tokens
	ScopeProject Scope = 1
	ScopeDomain  Scope = 2 // who may do what in the account
)

// The methods by which the user of a token was identified.
const (
	MethodPassword uint8 = 1 << iota
	MethodToken
	MethodTOTP // a one-time code, beside a password
)

// Token is what a token says. It is sealed under root-seal, so that any node
// can read it, nobody else can, and nobody can make one; it needs no record.
type Token struct {
	ID      [16]byte `cbor:"1,keyasint"`
	UserID  string   `cbor:"2,keyasint"`
	Epoch   uint64   `cbor:"3,keyasint"` // of the user's credentials
	Issued  int64    `cbor:"4,keyasint"` // Unix ms
	Expires int64    `cbor:"5,keyasint"` // Unix ms
	Scope   Scope    `cbor:"6,keyasint"`
	ScopeID string   `cbor:"7,keyasint"`
	Methods uint8    `cbor:"8,keyasint"`
	MFA     bool     `cbor:"9,keyasint"`

	generation uint32 // of the roots that it is sealed under
}

// TokenID is the token's id as the state knows it.
func (t *Token) TokenID() string { return hex.EncodeToString(t.ID[:]) }

func (t *Token) principal(user *state.User, domain *state.Domain) Principal {
	p := Principal{
		UserID: user.ID, UserName: user.Name, DomainID: domain.ID, MFA: t.MFA,
		Via: command.ViaToken, CredentialID: t.TokenID(), Epoch: t.Epoch, Expires: t.Expires, Confined: true,
	}
	switch t.Scope {
	case ScopeProject:
		p.ProjectID = t.ScopeID
	case ScopeDomain:
		p.Account = true
	}
	return p
}

// Seals makes and opens the seals of tokens, under root-seal.
type Seals interface {
	SealToken(ctx context.Context, root *state.Root, token []byte) ([]byte, error)
	OpenToken(ctx context.Context, root *state.Root, sealed []byte) ([]byte, error)
	// TokenCheck returns the key of the check behind the seals under a generation
	// of the roots, the same on every node.
	TokenCheck(ctx context.Context, root *state.Root, generation uint32) ([]byte, error)
}

// checkSize is the length of the check behind a token's seal, in bytes.
const checkSize = 16

// Tokens makes tokens and reads them. What it has read it keeps, by the hash
// of the text; whether a token still counts is asked of the state each time
// ([Door.Standing]), so nothing kept outlives anything. It is safe for concurrent use.
//
// Behind the seal stands a check, an HMAC under a key that the process holds:
// whoever makes tokens up costs a hash each, and no call of the module. The
// seal alone is what proves a token; who had the key of the check could have
// the module asked, and no more.
type Tokens struct {
	seals Seals
	kept  *lru.Cache[[sha256.Size]byte, *Token]

	mu     sync.Mutex
	checks map[uint32][]byte // by the generation of the roots; those that were asked for
}

// NewTokens returns a maker and reader of tokens.
func NewTokens(seals Seals) *Tokens {
	kept, err := lru.New[[sha256.Size]byte, *Token](maxTokensKept)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Tokens{seals: seals, kept: kept, checks: make(map[uint32][]byte)}
}

// Make returns the text of a token, and completes it with a fresh id.
func (s *Tokens) Make(ctx context.Context, root *state.Root, t *Token) (string, error) {
	rand.Read(t.ID[:]) // never fails: the process ends instead
	plain, err := cbor.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encoding a token: %w", err)
	}
	sealed, err := s.seals.SealToken(ctx, root, plain)
	if err != nil {
		return "", fmt.Errorf("sealing a token: %w", err)
	}
	generation, err := envelope.SecretGeneration(sealed)
	if err != nil {
		return "", err
	}
	check, err := s.checkOf(ctx, root, uint32(generation), sealed)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(sealed, check[:]...)), nil
}

// checkOf is the check of a seal under a generation of the roots that the state
// takes. The key is asked for once.
func (s *Tokens) checkOf(ctx context.Context, root *state.Root, generation uint32, sealed []byte) (check [checkSize]byte, err error) {
	s.mu.Lock()
	key := s.checks[generation]
	s.mu.Unlock()
	if key == nil {
		// Whoever comes meanwhile asks as well: the key is the same, and nobody
		// waits behind somebody else's deadline.
		if key, err = s.seals.TokenCheck(ctx, root, generation); err != nil {
			return check, fmt.Errorf("asking for the key of the tokens' check: %w", err)
		}
		s.mu.Lock()
		for other := range s.checks {
			if !root.Cluster().TakesRoots(other) {
				delete(s.checks, other)
			}
		}
		s.checks[generation] = key
		s.mu.Unlock()
	}
	mac := hmacSHA256(key, sealed)
	copy(check[:], mac[:])
	return check, nil
}

// strict reads nothing but what Make has written.
var strict = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err) // of options that contradict one another
	}
	return mode
}()

// Open reads a token. One that this cluster has not made is refused with an
// [*Error]; whether it still counts is for [Door.Standing] to say.
func (s *Tokens) Open(ctx context.Context, root *state.Root, text []byte) (*Token, error) {
	if len(text) == 0 || len(text) > maxToken {
		return nil, refuseForgery()
	}
	hash := sha256.Sum256(text)
	if t, ok := s.kept.Get(hash); ok {
		if !root.Cluster().TakesRoots(t.generation) {
			return nil, refuse(reasonToken)
		}
		return t, nil
	}
	var space [maxToken]byte
	n, err := base64.RawURLEncoding.Strict().Decode(space[:], text)
	if err != nil || n <= checkSize {
		return nil, refuseForgery()
	}
	sealed := space[:n-checkSize]
	generation, err := envelope.SecretGeneration(sealed)
	if err != nil {
		return nil, refuseForgery()
	}
	if !root.Cluster().TakesRoots(uint32(generation)) {
		return nil, refuse(reasonToken) // a newer state may know it; an older one ended with its roots
	}
	check, err := s.checkOf(ctx, root, uint32(generation), sealed)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(check[:], space[n-checkSize:n]) != 1 {
		return nil, refuseForgery()
	}
	plain, err := s.seals.OpenToken(ctx, root, sealed)
	switch {
	case errors.Is(err, envelope.ErrMalformed), errors.Is(err, envelope.ErrAuthentication):
		return nil, refuse(reasonToken)
	case err != nil:
		return nil, fmt.Errorf("opening a token: %w", err)
	}
	t := new(Token)
	if err := strict.Unmarshal(plain, t); err != nil {
		return nil, refuse(reasonToken)
	}
	t.generation = uint32(generation)
	s.kept.Add(hash, t)
	return t, nil
}
