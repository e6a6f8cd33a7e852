package soft

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

const (
	// MinPassphrase is what a new passphrase must have, in characters. An old one
	// is not looked at: it opens the file or it does not.
	MinPassphrase = 12
	// MaxPassphrase bounds a passphrase, in bytes.
	MaxPassphrase = 1024
)

// What a new file is made with: the second recommended option of RFC 9106,
// section 4, for hosts that do not have 2 GiB to spare at a start.
const (
	argonPasses  = 3
	argonMemory  = 64 << 10 // KiB
	argonThreads = 4
	argonSalt    = 16
)

// What a file may ask for. The file comes from a disk that others may have
// written to: it must neither take the memory of the host nor make guesses cheap.
const (
	argonMostMemory = 1 << 20 // KiB
	argonMostWork   = 8 << 20 // KiB, over all passes
	argonLeastWork  = 3 * 64 << 10
	argonMostLanes  = 16
)

var (
	errPassphraseFile = errors.New("encrypted under a passphrase")
	errUnlockKeyFile  = errors.New("encrypted under an unlock key")
)

// argonFor is how a passphrase becomes the key of a private key file: Argon2id
// version 0x13, RFC 9106.
type argonFor struct {
	Passes  uint32 `cbor:"1,keyasint"`
	Memory  uint32 `cbor:"2,keyasint"` // KiB
	Threads uint8  `cbor:"3,keyasint"`
	Salt    []byte `cbor:"4,keyasint"`
}

func (a *argonFor) check() error {
	work := uint64(a.Passes) * uint64(a.Memory)
	if a.Passes == 0 || a.Threads == 0 || a.Threads > argonMostLanes || len(a.Salt) != argonSalt ||
		a.Memory > argonMostMemory || work > argonMostWork || work < argonLeastWork {
		return errFormat
	}
	return nil
}

// unlocking is how the key to the private key file is come by.
type unlocking interface {
	// forNew is the key of a new file, which is told how it came about.
	forNew(f *privateKeyFile) ([]byte, error)
	// forOld is the key of a file that is there.
	forOld(f *privateKeyFile) ([]byte, error)
	// wipe forgets all keys.
	wipe()
}

// unlockKey is 32 random bytes from a file.
type unlockKey []byte

func (k unlockKey) forNew(*privateKeyFile) ([]byte, error) { return k, nil }

func (k unlockKey) forOld(f *privateKeyFile) ([]byte, error) {
	if f.Passphrase != nil {
		return nil, errPassphraseFile
	}
	return k, nil
}

func (k unlockKey) wipe() { clear(k) }

// passphrase is what a person knows.
type passphrase struct{ text, key []byte }

// ask gets the passphrase from whoever knows it.
func ask(ctx context.Context, from func(ctx context.Context, first bool) ([]byte, error), first bool) (*passphrase, error) {
	text, err := from(ctx, first)
	if err != nil {
		return nil, fmt.Errorf("getting the passphrase: %w", err)
	}
	p := &passphrase{text: text}
	switch {
	case len(text) == 0:
		err = errors.New("the passphrase is empty")
	case len(text) > MaxPassphrase:
		err = fmt.Errorf("the passphrase has more than %d bytes", MaxPassphrase)
	case first && utf8.RuneCount(text) < MinPassphrase:
		err = fmt.Errorf("a new passphrase must have at least %d characters: whoever has both files may try as many as they like", MinPassphrase)
	default:
		return p, nil
	}
	p.wipe()
	return nil, err
}

func (p *passphrase) forNew(f *privateKeyFile) ([]byte, error) {
	f.Passphrase = &argonFor{Passes: argonPasses, Memory: argonMemory, Threads: argonThreads, Salt: make([]byte, argonSalt)}
	if _, err := rand.Read(f.Passphrase.Salt); err != nil {
		return nil, fmt.Errorf("drawing a salt: %w", err)
	}
	return p.derive(f.Passphrase), nil
}

func (p *passphrase) forOld(f *privateKeyFile) ([]byte, error) {
	if f.Passphrase == nil {
		return nil, errUnlockKeyFile
	}
	return p.derive(f.Passphrase), nil
}

func (p *passphrase) derive(a *argonFor) []byte {
	clear(p.key)
	p.key = argon2.IDKey(p.text, a.Salt, a.Passes, a.Memory, a.Threads, unlockKeySize)
	return p.key
}

func (p *passphrase) wipe() {
	clear(p.text)
	clear(p.key)
}
