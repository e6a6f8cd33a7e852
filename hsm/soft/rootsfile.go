package soft

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/raftkms/raftkms/hsm"
)

var errOtherVault = errors.New("encrypted to another public key")

// openRootsFile checks the contents of a roots file as far as that is possible
// without opening an entry.
func openRootsFile(v *vault, b []byte) ([]rootEntry, error) {
	contents, _, err := splitMAC(b)
	if err != nil {
		return nil, err
	}
	var f rootsFile
	if err := decode(rootsMagic, contents, &f); err != nil {
		return nil, err
	}
	if !bytes.Equal(f.PublicKey, v.public) {
		return nil, errOtherVault
	}
	if _, err := v.authentic(b); err != nil {
		return nil, err
	}
	for i := 1; i < len(f.Entries); i++ {
		if compareEntries(f.Entries[i-1], f.Entries[i]) >= 0 {
			return nil, errFormat
		}
	}
	return f.Entries, nil
}

// emptyRoots tells whether b is a roots file that holds nothing, which is all
// that can be said without the private key.
func emptyRoots(b []byte) bool {
	contents, _, err := splitMAC(b)
	if err != nil {
		return false
	}
	var f rootsFile
	return decode(rootsMagic, contents, &f) == nil && len(f.Entries) == 0
}

// writeRoots replaces the roots file, and on success the entries in memory.
func (m *Module) writeRoots(entries []rootEntry) error {
	if len(entries) > maxEntries {
		return fmt.Errorf("writing the roots file: %d generations are more than %d", len(entries), maxEntries)
	}
	slices.SortFunc(entries, compareEntries)
	contents, err := encode(rootsMagic, rootsFile{PublicKey: m.vault.public, Entries: append([]rootEntry{}, entries...)})
	if err != nil {
		return err
	}
	if contents, err = m.vault.authenticate(contents); err != nil {
		return err
	}
	if err := writeFile(m.config.RootsFile, contents); err != nil {
		return fmt.Errorf("writing the roots file: %w", err)
	}
	m.file = entries
	return nil
}

func compareEntries(a, b rootEntry) int {
	return cmp.Or(bytes.Compare(a.Cluster[:], b.Cluster[:]), cmp.Compare(a.Generation, b.Generation))
}

// entryInfo binds an entry to its place: keys moved to another cluster or
// generation do not open.
func entryInfo(cluster hsm.ClusterID, generation hsm.RootGeneration) []byte {
	info := append([]byte(rootsMagic), cluster[:]...)
	return binary.BigEndian.AppendUint32(info, uint32(generation))
}
