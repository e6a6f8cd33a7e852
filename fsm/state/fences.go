package state

import "encoding/binary"

// fences is what a state knows of the fenced commands that led to it: the last
// one that concerned a key, a project or everything. An answer may be told once
// the last one that concerns it is released (DESIGN.md §4). It is an index: not
// hashed, not stored. A state that was read from a snapshot knows only that there
// may have been some, and so does one for what is too long ago to be kept.
type fences struct {
	last uint64
	all  uint64        // the last one that concerned everything
	by   table[uint64] // scope → the last one
	age  table[string] // index → scope of a key, oldest first
	keys int           // how many of these there are
}

// maxFencedKeys bounds how many keys have a fence of their own. The oldest one
// then counts as one that concerned everything: it is released long since.
const maxFencedKeys = 4096

// The scopes: a key; what concerned all keys of a project; and the last one that
// concerned a project or any key in it.
const (
	scopeKey     = 'k'
	scopeProject = 'p'
	scopeWithin  = 'w'
)

func scopeOf(kind byte, id string) []byte { return append([]byte{kind}, id...) }

// Fenced notes that the fenced command at that index was done. It concerned a
// key of a project; with keyID empty the project; with both empty everything.
func (x *Txn) Fenced(index uint64, projectID, keyID string) {
	f := &x.fences
	f.last = index
	if projectID == "" {
		f.all = index
		return
	}
	f.by.insert(scopeOf(scopeWithin, projectID), index)
	if keyID == "" {
		f.by.insert(scopeOf(scopeProject, projectID), index)
		return
	}
	scope := scopeOf(scopeKey, keyID)
	if old, had := f.by.insert(scope, index); had {
		f.age.remove(binary.BigEndian.AppendUint64(nil, old))
		f.keys--
	}
	f.age.insert(binary.BigEndian.AppendUint64(nil, index), string(scope))
	if f.keys++; f.keys > maxFencedKeys {
		at, oldest, _ := f.age.first()
		f.all = max(f.all, number(at))
		f.by.remove([]byte(oldest))
		f.age.remove([]byte(at))
		f.keys--
	}
}

// forgetFences is for a state whose past is not known.
func (x *Txn) forgetFences(applied uint64) { x.fences.last, x.fences.all = applied, applied }

// LastFence returns the last fenced command of all that led to the state. What
// the state denies, and what it shows of more than one key, may be told once
// that is released.
func (v *View) LastFence() uint64 { return v.fences.last }

// FenceOf returns the last fenced command that concerns the use of a key by a
// caller of that project; with keyID empty that of none in particular.
func (v *View) FenceOf(projectID, keyID string) uint64 {
	f := &v.fences
	if f.last == f.all {
		return f.all
	}
	return max(f.all, f.at(scopeProject, projectID), f.at(scopeKey, keyID))
}

// FenceWithin returns the last fenced command that concerns a project or any
// key in it.
func (v *View) FenceWithin(projectID string) uint64 {
	return max(v.fences.all, v.fences.at(scopeWithin, projectID))
}

func (f *fences) at(kind byte, id string) uint64 {
	var space [keySpace]byte
	index, _ := f.by.get(append(append(space[:0], kind), id...))
	return index
}
