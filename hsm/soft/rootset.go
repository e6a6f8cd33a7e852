package soft

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/kwp"
	"github.com/raftkms/raftkms/hsm/locked"
)

const (
	rootSize    = 32 // of each of the four keys
	rootSetSize = 4 * rootSize
)

// everyRoot is the order in which a root set is stored.
var everyRoot = [...]hsm.Root{hsm.RootHSM, hsm.RootSoft, hsm.RootSeal, hsm.RecordMAC}

// rootSet is one opened generation.
type rootSet struct {
	generation hsm.RootGeneration
	raw        *locked.Buffer // all four, for export and for the MAC
	wrapping   map[hsm.Level]*locked.Key
	seal       *locked.Key
}

// newRootSet takes the four keys in their order and wipes them.
func newRootSet(arena *locked.Arena, generation hsm.RootGeneration, plain []byte) (*rootSet, error) {
	defer clear(plain)
	if len(plain) != rootSetSize {
		return nil, errFormat
	}
	s := &rootSet{generation: generation, wrapping: make(map[hsm.Level]*locked.Key)}
	var err error
	if s.raw, err = arena.New(rootSetSize); err != nil {
		return nil, err
	}
	copy(s.raw.Bytes(), plain)
	for root, keep := range map[hsm.Root]func(*locked.Key){
		hsm.RootHSM:  func(k *locked.Key) { s.wrapping[hsm.LevelHSM] = k },
		hsm.RootSoft: func(k *locked.Key) { s.wrapping[hsm.LevelSoftware] = k },
		hsm.RootSeal: func(k *locked.Key) { s.seal = k },
	} {
		k, err := arena.NewKey(rootOf(plain, root))
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		keep(k)
	}
	return s, nil
}

// rootOf is the part of the stored order that holds root.
func rootOf(all []byte, root hsm.Root) []byte {
	for i, r := range everyRoot {
		if r == root {
			return all[i*rootSize : (i+1)*rootSize : (i+1)*rootSize]
		}
	}
	return nil
}

func (s *rootSet) close() error {
	s.raw.Destroy()
	var errs []error
	for _, k := range s.wrapping {
		errs = append(errs, k.Close())
	}
	if s.seal != nil {
		errs = append(errs, s.seal.Close())
	}
	return errors.Join(errs...)
}

// wrap wraps material under the root of the level.
func (s *rootSet) wrap(level hsm.Level, raw []byte) (blob []byte, err error) {
	err = s.wrapping[level].Lend(func(block cipher.Block) error {
		blob, err = kwp.Wrap(block, raw)
		return err
	})
	return blob, err
}

// unwrap returns the material; whatever is wrong with the blob is hsm.ErrUnwrap.
func (s *rootSet) unwrap(level hsm.Level, blob []byte) (raw []byte, err error) {
	err = s.wrapping[level].Lend(func(block cipher.Block) error {
		raw, err = kwp.Unwrap(block, blob)
		return err
	})
	if errors.Is(err, kwp.ErrUnwrap) {
		return nil, hsm.ErrUnwrap
	}
	return raw, err
}

func (s *rootSet) mac(message []byte) []byte {
	h := hmac.New(sha256.New, rootOf(s.raw.Bytes(), hsm.RecordMAC))
	h.Write(message)
	return h.Sum(nil)
}
