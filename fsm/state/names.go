package state

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// A search for a part of a name has to look at every name. So that it need not
// look at every record, the names of some keys are put behind one another when
// they are first searched, and what was found is kept beside them. Both are of
// one namePart, in whose place comes another as soon as a name in it is changed:
// neither can be old. They are no part of the state: they decide nothing, are
// neither hashed nor stored, and may be lost at any time.

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
	names atomic.Pointer[joinedNames]
	found atomic.Pointer[nameFound]
}

// joinedNames are names, each behind a zero byte, which no name holds.
type joinedNames struct {
	text   string
	starts []int    // in text, ascending
	at     []uint64 // the places of the keys
}

// nameFound is what was last searched for.
type nameFound struct {
	name string
	in   [1 << partBits / 64]uint64
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
		for w := walkBlocks(&v.nameBlocks, appendNameKey(nil, projectID, "")); w.ok; w.step() {
			var all keyBits
			if w.value.has.addTo(&all); !yield(w.block, &all) {
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
		const words = 1 << partBits / 64
		var asked, has keyBits
		copy(asked[i*words:][:words], among[i*words:])
		found, n := (*nameFound)(nil), asked.count()
		switch last := part.lastFound(); {
		case n == 0:
			continue
		case last != nil && last.name == name:
			found = last
		case n <= fewNames:
			for place := range asked.newestFirst() {
				if key := v.keyAt(projectID, block<<placeBits|place); !strings.Contains(key.Name, name) {
					among.put(place, false)
				}
			}
			continue
		default:
			joined := part.names.Load()
			if joined == nil {
				names.has.addTo(&has)
				joined = v.join(projectID, block, i, &has)
				part.names.Store(joined)
			}
			found = joined.find(name)
			part.found.Store(found)
		}
		for j, word := range found.in {
			among[i*words+j] &= word
		}
	}
}

func (p *namePart) lastFound() *nameFound {
	if p == nil {
		return nil // no key was ever here
	}
	return p.found.Load()
}

// join puts the names of a part of a block behind one another.
func (v *View) join(projectID string, block uint64, part int, has *keyBits) *joinedNames {
	j := new(joinedNames)
	var text strings.Builder
	for place := range has.newestFirst() {
		if place>>partBits != uint64(part) {
			continue
		}
		j.starts, j.at = append(j.starts, text.Len()), append(j.at, place&(1<<partBits-1))
		text.WriteByte(0)
		text.WriteString(v.keyAt(projectID, block<<placeBits|place).Name)
	}
	j.text = text.String()
	return j
}

// find returns where a part stands in the names.
func (j *joinedNames) find(name string) *nameFound {
	found := &nameFound{name: strings.Clone(name)}
	if strings.IndexByte(name, 0) >= 0 {
		return found
	}
	for from := 0; from < len(j.text); {
		i := strings.Index(j.text[from:], name)
		if i < 0 {
			break
		}
		after, _ := slices.BinarySearch(j.starts, from+i+1) // the name that begins behind it
		place := j.at[after-1]
		if found.in[place>>6] |= 1 << (place & 63); after == len(j.starts) {
			break
		}
		from = j.starts[after]
	}
	return found
}

// keyAt returns the key with a sequence number, which must be there.
func (v *View) keyAt(projectID string, sequence uint64) *Key {
	id, _ := v.keyOrder.get(appendSequenceKey(nil, projectID, sequence))
	key, _ := v.Key(id)
	return key
}
