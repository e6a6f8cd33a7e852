package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// addressesFile is in the Raft directory: node id → cluster address.
const addressesFile = "addresses.json"

// addressBook remembers where members were last seen. Raft's configuration says
// where they were when they joined, and gossip where they are, but only to a node
// that finds it: one that starts where all have moved meanwhile would find nobody.
// It is advice: who answers at an address proves who he is.
type addressBook struct {
	path string

	mu   sync.Mutex
	seen map[string]string
}

// openAddresses reads the book. One that cannot be read is begun anew: it is
// advice, and a node that starts without it may be found by others.
func openAddresses(dir string) (*addressBook, error) {
	b := &addressBook{path: filepath.Join(dir, addressesFile), seen: make(map[string]string)}
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &b.seen)
	}
	if err != nil {
		b.seen = make(map[string]string)
		return b, fmt.Errorf("reading where members were last seen: %w", err)
	}
	return b, nil
}

// of returns where a node was last seen; empty: nowhere.
func (b *addressBook) of(nodeID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[nodeID]
}

// note writes down where nodes are seen now, and forgets those that are no
// members any more.
func (b *addressBook) note(now map[string]string, member func(nodeID string) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.seen)
	maps.DeleteFunc(next, func(nodeID, _ string) bool { return !member(nodeID) })
	for nodeID, address := range now {
		if address != "" && member(nodeID) {
			next[nodeID] = address
		}
	}
	if maps.Equal(next, b.seen) {
		return nil
	}
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("writing down where members are: %w", err)
	}
	if err := b.write(text); err != nil {
		return fmt.Errorf("writing down where members are: %w", err)
	}
	b.seen = next
	return nil
}

// write has the file hold text, or what it held before, also after a power cut.
func (b *addressBook) write(text []byte) error {
	under := b.path + ".tmp"
	f, err := os.OpenFile(under, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(under, b.path)
}
