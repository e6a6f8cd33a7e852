package custody

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
)

const (
	magic      = "raftkms root key backup, format 1\n"
	macSize    = sha256.Size
	maxBackup  = 256 << 10
	lockedRoom = 64 << 10

	// MinThreshold and MaxShares bound k and n: with k of 1 every custodian
	// alone would have the roots.
	MinThreshold = 2
	MaxShares    = 50
)

// The causes of a refusal.
var (
	// ErrMalformed: the file is no backup of root keys, is cut short, or was altered.
	ErrMalformed = errors.New("this is no intact backup of root keys")
	// ErrTooFew: there are fewer shares than it takes.
	ErrTooFew = errors.New("there are too few shares")
	// ErrWrongShare: a share is of another backup, or not what was given out.
	ErrWrongShare = errors.New("this is a wrong share")
)

// Backup is what a file holds. Nothing of it is proved until shares have
// opened it.
type Backup struct {
	Cluster    hsm.ClusterID       `cbor:"1,keyasint"`
	ModuleKind string              `cbor:"2,keyasint"` // soft or pkcs11, of the module that wrapped it
	Generation hsm.RootGeneration  `cbor:"3,keyasint"`
	Created    int64               `cbor:"4,keyasint"` // Unix seconds
	Set        [setSize]byte       `cbor:"5,keyasint"` // which shares it takes
	Threshold  uint8               `cbor:"6,keyasint"`
	Prints     [][]byte            `cbor:"7,keyasint"` // of all shares, in their order
	Canary     []byte              `cbor:"8,keyasint"` // that the roots open
	Mechanism  string              `cbor:"9,keyasint"`
	Wrapped    map[hsm.Root][]byte `cbor:"10,keyasint"`
}

// Time is when the backup was made.
func (b *Backup) Time() time.Time { return time.Unix(b.Created, 0).UTC() }

// SetID names the shares that belong to the backup.
func (b *Backup) SetID() string { return hex.EncodeToString(b.Set[:]) }

// Make has the module back up a generation of its roots, which opens the canary.
// It returns the file and the n shares of which threshold open it; the shares
// are all there is, and are kept nowhere.
func Make(ctx context.Context, m hsm.Module, canary hsm.Canary, threshold, n int, officerPIN []byte, now time.Time) (file []byte, shares []string, err error) {
	switch {
	case threshold < MinThreshold:
		return nil, nil, fmt.Errorf("a backup takes %d shares or more to be restored: with fewer one custodian alone has the root keys", MinThreshold)
	case n < threshold || n > MaxShares:
		return nil, nil, fmt.Errorf("there are %d to %d shares when it takes %d", threshold, MaxShares, threshold)
	}
	encoded, err := canary.Encode()
	if err != nil {
		return nil, nil, err
	}
	b := &Backup{
		Cluster: canary.Cluster, ModuleKind: m.Describe().Kind, Generation: canary.Generation, Created: now.Unix(),
		Threshold: uint8(threshold), Canary: encoded,
	}
	rand.Read(b.Set[:])
	secret := group.Ristretto255.RandomNonZeroScalar(rand.Reader)
	defer wipe(secret)
	keys, err := derive(secret, b.Set)
	if err != nil {
		return nil, nil, err
	}
	defer keys.close()
	bundle, err := m.BackUpRoots(ctx, canary.Generation, keys.recovery.Bytes(), officerPIN)
	if err != nil {
		return nil, nil, err
	}
	if bundle.Cluster != canary.Cluster || bundle.Generation != canary.Generation {
		return nil, nil, errors.New("the module backed up other roots than were asked for")
	}
	b.Mechanism, b.Wrapped = bundle.Mechanism, bundle.Wrapped
	for _, part := range secretsharing.New(rand.Reader, uint(threshold-1), secret).Share(uint(n)) {
		s := &share{set: b.Set, threshold: b.Threshold, number: uint8(len(shares) + 1)}
		err := s.setValue(part.Value)
		wipe(part.Value)
		if err != nil {
			return nil, nil, err
		}
		b.Prints = append(b.Prints, s.print())
		shares = append(shares, s.text())
		s.wipe()
	}
	contents, err := b.encode()
	if err != nil {
		return nil, nil, err
	}
	return append(contents, keys.mac(contents)...), shares, nil
}

// Read reads a file; what is wrong with its form is [ErrMalformed].
func Read(file []byte) (*Backup, error) {
	if len(file) > maxBackup || len(file) < macSize {
		return nil, ErrMalformed
	}
	body, found := bytes.CutPrefix(file[:len(file)-macSize], []byte(magic))
	if !found {
		return nil, ErrMalformed
	}
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxArrayElements: 64, MaxMapPairs: 64,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("preparing to decode: %w", err)
	}
	b := new(Backup)
	if err := mode.Unmarshal(body, b); err != nil {
		return nil, ErrMalformed
	}
	if again, err := b.encode(); err != nil || !bytes.Equal(again, file[:len(file)-macSize]) {
		return nil, ErrMalformed
	}
	if b.Threshold < MinThreshold || len(b.Prints) < int(b.Threshold) || len(b.Prints) > MaxShares {
		return nil, ErrMalformed
	}
	return b, nil
}

// Check tells whether a share belongs to the file, and which one it is, before
// there are enough of them. Errors: [ErrShare], [ErrWrongShare].
func (b *Backup) Check(text string) (number int, err error) {
	s, err := b.parse(text)
	if err != nil {
		return 0, err
	}
	s.wipe()
	return int(s.number), nil
}

// Restore opens a file with shares, in any order, and has the module restore
// the roots, which then prove themselves with the backup's canary; roots that do
// not are destroyed again. Errors: those of [Open], and of [hsm.Module.RestoreRoots].
func Restore(ctx context.Context, m hsm.Module, file []byte, shares []string) (*Backup, error) {
	b, keys, err := open(file, shares)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	canary, err := hsm.DecodeCanary(b.Canary)
	if err != nil {
		return nil, err
	}
	bundle := hsm.RootBundle{Cluster: b.Cluster, Generation: b.Generation, Mechanism: b.Mechanism, Wrapped: b.Wrapped}
	if err := m.RestoreRoots(ctx, bundle, keys.recovery.Bytes()); err != nil {
		return nil, err
	}
	if err := canary.Verify(ctx, m); err != nil {
		if errors.Is(err, hsm.ErrCanary) {
			err = errors.Join(err, m.DestroyRoots(ctx, b.Cluster, b.Generation))
		}
		return nil, fmt.Errorf("proving the restored roots: %w", err)
	}
	return b, nil
}

// Open proves that the shares open the file, without a module. Errors:
// [ErrMalformed], [ErrShare], [ErrTooFew], [ErrWrongShare].
func Open(file []byte, shares []string) (*Backup, error) {
	b, keys, err := open(file, shares)
	if err != nil {
		return nil, err
	}
	keys.close()
	return b, nil
}

func open(file []byte, texts []string) (*Backup, *keys, error) {
	b, err := Read(file)
	if err != nil {
		return nil, nil, err
	}
	var parts []secretsharing.Share
	defer func() {
		for _, part := range parts {
			wipe(part.Value)
		}
	}()
	seen := make(map[uint8]bool)
	for _, text := range texts {
		s, err := b.parse(text)
		if err != nil {
			return nil, nil, err
		}
		if seen[s.number] {
			s.wipe()
			continue // the same: its print has said so
		}
		seen[s.number] = true
		part, err := s.part()
		s.wipe()
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, part)
	}
	if len(parts) < int(b.Threshold) {
		return nil, nil, fmt.Errorf("%w: it takes %d different ones of the set %s, and there are %d", ErrTooFew, b.Threshold, b.SetID(), len(parts))
	}
	secret, err := secretsharing.Recover(uint(b.Threshold)-1, parts)
	if err != nil {
		return nil, nil, fmt.Errorf("combining the shares: %w", err)
	}
	defer wipe(secret)
	k, err := derive(secret, b.Set)
	if err != nil {
		return nil, nil, err
	}
	if at := len(file) - macSize; !hmac.Equal(k.mac(file[:at]), file[at:]) {
		k.close()
		return nil, nil, fmt.Errorf("%w: it was altered since it was made", ErrMalformed)
	}
	return b, k, nil
}

// parse reads a share and compares it with what the file says of it.
func (b *Backup) parse(text string) (*share, error) {
	s, err := parseShare(text)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.wipe()
		}
	}()
	switch {
	case s.set != b.Set:
		err = fmt.Errorf("%w: %s is of the set %x, and this backup takes the set %s", ErrWrongShare, s.name(), s.set[:], b.SetID())
	case int(s.number) > len(b.Prints) || !hmac.Equal(s.print(), b.Prints[s.number-1]):
		err = fmt.Errorf("%w: %s is not the one that was given out with this backup", ErrWrongShare, s.name())
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (b *Backup) encode() ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("preparing to encode: %w", err)
	}
	body, err := mode.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding a backup of root keys: %w", err)
	}
	return append([]byte(magic), body...), nil
}

func (s *share) setValue(v group.Scalar) error {
	raw, err := v.MarshalBinary()
	defer clear(raw)
	if err != nil || len(raw) != valueSize {
		return fmt.Errorf("encoding a share of %d bytes: %w", len(raw), err)
	}
	copy(s.value[:], raw)
	return nil
}

func (s *share) part() (secretsharing.Share, error) {
	part := secretsharing.Share{ID: group.Ristretto255.NewScalar().SetUint64(uint64(s.number)), Value: group.Ristretto255.NewScalar()}
	if err := part.Value.UnmarshalBinary(s.value[:]); err != nil {
		return part, fmt.Errorf("%w: %s is no number of the group", ErrWrongShare, s.name())
	}
	return part, nil
}

func wipe(s group.Scalar) { s.SetUint64(0) }

// keys are what comes of the secret, in locked memory.
type keys struct {
	arena             *locked.Arena
	recovery, forFile *locked.Buffer
}

func derive(secret group.Scalar, set [setSize]byte) (*keys, error) {
	raw, err := secret.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encoding the secret: %w", err)
	}
	defer clear(raw)
	k := &keys{arena: locked.NewArena(lockedRoom)}
	one := func(purpose string) (*locked.Buffer, error) {
		key, err := hkdf.Key(sha256.New, raw, set[:], purpose, hsm.RecoveryKeySize)
		if err != nil {
			return nil, fmt.Errorf("deriving a key: %w", err)
		}
		defer clear(key)
		memory, err := k.arena.New(len(key))
		if err == nil {
			copy(memory.Bytes(), key)
		}
		return memory, err
	}
	if k.recovery, err = one("raftkms custody wrapping v1"); err == nil {
		k.forFile, err = one("raftkms custody file v1")
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *keys) mac(contents []byte) []byte {
	h := hmac.New(sha256.New, k.forFile.Bytes())
	h.Write(contents)
	return h.Sum(nil)
}

// close wipes the keys with their memory.
func (k *keys) close() { _ = k.arena.Close() }
