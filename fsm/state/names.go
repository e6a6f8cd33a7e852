package state

import (
	"iter"
	"strings"
	"sync/atomic"
)

// A search for a part of a name is about every name, since it counts what it
// finds. So that it need not look at each, it is noted of some keys, when they
// are first searched, in whose names two letters stand beside one another; only
// names with all the pairs of letters of what is searched for are looked at.
// What was found is kept as well. Both are of one namePart, in whose place comes
// another as soon as a name in it is changed: neither can be old. They are no
// part of the state: they decide nothing, are neither hashed nor stored, and may
// be lost at any time.

// partBits is how many low bits of a place lie in one part of a block.
const partBits = 9

// nameBlock is which keys a block of a project has. Default master keys are in none.
type nameBlock struct {
	has   listBlock
	parts [1 << (placeBits - partBits)]*namePart
}

// namePart is what was made of the names of a part of a block. It is safe for
// concurrent use.
type namePart struct {
	names atomic.Pointer[partNames]
	found atomic.Pointer[nameFound]
}

// nameFound is what was last searched for.
type nameFound struct {
	name string
	in   partKeys
}

// moveName keeps the blocks of names in step with a key; nil: there is none.
func (x *Txn) moveName(from, to *Key) {
	k := to
	if k == nil {
		k = from
	}
	if k.Default {
		return
	}
	place := appendPlace(appendNameKey(nil, k.ProjectID, ""), k.Sequence>>placeBits)
	next := new(nameBlock)
	if old, ok := x.nameBlocks.get(place); ok {
		*next = *old
	}
	next.parts[k.Sequence>>partBits&(1<<(placeBits-partBits)-1)] = new(namePart)
	if from == nil || to == nil {
		next.has = next.has.with(k.Sequence, to != nil)
	}
	if next.has.empty() {
		x.nameBlocks.remove(place)
	} else {
		x.nameBlocks.insert(place, next)
	}
}

// namedBlocks yields the blocks of a project's keys, newest first. What is
// yielded is the caller's until the next one.
func (v *View) namedBlocks(projectID string) iter.Seq2[uint64, *keyBits] {
	return func(yield func(uint64, *keyBits) bool) {
		list := [][]byte{appendNameKey(nil, projectID, "")}
		for w := cursors(&v.nameBlocks, list, ^uint64(0))[0]; w.ok; w.step() {
			var all keyBits
			if w.walk.at.Value().has.addTo(&all); !yield(w.at, &all) {
				return
			}
		}
	}
}

// fewNames is how many keys of a part are looked at one by one rather than by
// the names of all.
const fewNames = 8

// keepNamed takes away those of some keys of a block in whose names a part does
// not stand.
func (v *View) keepNamed(projectID string, block uint64, among *keyBits, name string) {
	names, _ := v.nameBlocks.get(appendPlace(appendNameKey(nil, projectID, ""), block))
	for i, part := range names.parts {
		asked := (*partKeys)(among[i*len(partKeys{}):])
		first := block<<placeBits | uint64(i)<<partBits
		found, n := (*nameFound)(nil), countBits(asked[:])
		switch last := part.lastFound(); {
		case n == 0:
			continue
		case last != nil && last.name == name:
			found = last
		case n <= fewNames:
			for place := range lastFirst(asked[:]) {
				if !strings.Contains(v.keyAt(projectID, first|place).Name, name) {
					asked.drop(place)
				}
			}
			continue
		default:
			all := part.names.Load()
			if all == nil {
				all = v.namesOf(projectID, first, names.has.part(i))
				part.names.Store(all)
			}
			found = &nameFound{name: strings.Clone(name), in: all.with(name)}
			part.found.Store(found)
		}
		asked.and(&found.in)
	}
}

func (p *namePart) lastFound() *nameFound {
	if p == nil {
		return nil // no key was ever here
	}
	return p.found.Load()
}

// namesOf makes ready for a search the names of the keys of a part, which
// begins at a sequence number.
func (v *View) namesOf(projectID string, first uint64, keys partKeys) *partNames {
	n := &partNames{keys: keys}
	var text strings.Builder
	var l letters
	for place := range lastFirst(keys[:]) {
		name := v.keyAt(projectID, first|place).Name
		from := text.Len()
		text.WriteString(name)
		n.spans[place] = span{uint32(from), uint32(text.Len())}
		l.note(name, place)
	}
	n.text = text.String()
	n.pairs, n.sets = l.sorted()
	return n
}

// keyAt returns the key with a sequence number, which must be there.
func (v *View) keyAt(projectID string, sequence uint64) *Key {
	id, _ := v.keyOrder.get(appendSequenceKey(nil, projectID, sequence))
	key, _ := v.Key(id)
	return key
}
