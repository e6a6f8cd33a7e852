package clustertest

import (
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/raftkms/raftkms/cluster"
)

// Machine is a tiny state machine: a command "key=value" sets a key, "!key=value"
// does so and is fenced, any other is only counted. The reply to a command is how many commands have been
// applied so far, in decimal.
type Machine struct {
	stall sync.Mutex // held: nothing is applied

	mu       sync.Mutex
	state    machineState
	fail     error
	restored int
}

type machineState struct {
	Index, Commands, Entries uint64
	Values                   map[string]string
}

// NewMachine makes an empty machine.
func NewMachine() *Machine { return &Machine{state: machineState{Values: map[string]string{}}} }

// Apply applies a batch, or fails as FailWith asked.
func (m *Machine) Apply(entries []cluster.Entry) ([]cluster.Reply, error) {
	m.stall.Lock()
	defer m.stall.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	replies := make([]cluster.Reply, len(entries))
	for i, entry := range entries {
		if entry.Index <= m.state.Index {
			return nil, fmt.Errorf("entry %d after %d", entry.Index, m.state.Index)
		}
		m.state.Index = entry.Index
		m.state.Entries++
		if len(entry.Data) == 0 {
			continue
		}
		if m.fail != nil {
			return nil, m.fail
		}
		m.state.Commands++
		data, fenced := strings.CutPrefix(string(entry.Data), "!")
		if fenced {
			replies[i].Fence = entry.Index
		}
		if key, value, ok := strings.Cut(data, "="); ok {
			m.state.Values[key] = value
		}
		replies[i].Data = fmt.Append(nil, m.state.Commands)
	}
	return replies, nil
}

// Snapshot pins a copy of the state.
func (m *Machine) Snapshot() (io.WriterTo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pinned := m.state
	pinned.Values = maps.Clone(pinned.Values)
	return pinned, nil
}

// WriteTo writes the state.
func (s machineState) WriteTo(w io.Writer) (int64, error) { return 0, gob.NewEncoder(w).Encode(s) }

// Restore replaces the state.
func (m *Machine) Restore(r io.Reader) error {
	var restored machineState
	if err := gob.NewDecoder(r).Decode(&restored); err != nil {
		return err
	}
	if restored.Values == nil {
		restored.Values = map[string]string{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = restored
	m.restored++
	return nil
}

// AppliedIndex is the index of the last entry applied.
func (m *Machine) AppliedIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Index
}

// Value returns the value of a key.
func (m *Machine) Value(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Values[key]
}

// Commands returns how many commands have been applied.
func (m *Machine) Commands() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Commands
}

// Entries returns how many entries have been applied, marks among them.
func (m *Machine) Entries() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Entries
}

// Restored returns how many snapshots have been restored.
func (m *Machine) Restored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restored
}

// Hash hashes the values and the counts.
func (m *Machine) Hash() ([32]byte, uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := sha256.New()
	fmt.Fprintln(h, m.state.Commands, m.state.Entries)
	for _, key := range slices.Sorted(maps.Keys(m.state.Values)) {
		fmt.Fprintf(h, "%q %q\n", key, m.state.Values[key])
	}
	return [32]byte(h.Sum(nil)), 1
}

// Corrupt changes a value behind everybody's back.
func (m *Machine) Corrupt(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Values[key] = value
}

// FailWith makes Apply fail at the next command.
func (m *Machine) FailWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Stall has Apply hang until resume is called, as on a disk or a lock that does
// not let go.
func (m *Machine) Stall() (resume func()) {
	m.stall.Lock()
	return m.stall.Unlock
}
