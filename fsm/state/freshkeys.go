package state

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
)

// freshKeys are keys that a [Loader] has put into the state without the indexes
// by which they are found. Those are made of all of them at once: a tree that is
// built in the order of its keys costs a fraction of one that is built in
// another's, and counts are added up before they are written. The indexes are
// trees apart, so they are made side by side; what each becomes depends on the
// keys alone.
type freshKeys struct {
	keys []*Key
	all  sync.WaitGroup // of what makes the indexes
}

// begin makes the indexes. Until all are made nobody else touches these.
func (f *freshKeys) begin(x *Txn) {
	if len(f.keys) == 0 {
		return
	}
	inOrder := slices.Clone(f.keys)
	f.all.Go(func() { x.indexNames(f.keys) })
	f.all.Go(func() {
		slices.SortFunc(inOrder, func(a, b *Key) int {
			return cmp.Or(strings.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.Sequence, b.Sequence))
		})
		x.indexPlaces(inOrder)
		x.indexNameBlocks(inOrder)
		for _, k := range inOrder {
			x.moveTags(nil, k)
		}
		x.indexLists(inOrder) // changes the order
	})
}

// entry is one of an index.
type entry struct {
	key []byte
	id  string
}

// indexNames enters the names of keys.
func (x *Txn) indexNames(keys []*Key) {
	entries := make([]entry, len(keys))
	for i, k := range keys {
		entries[i] = entry{appendNameKey(nil, k.ProjectID, PlainName(k.Name)), k.ID}
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	for _, e := range entries {
		x.keyNames.insert(e.key, e.id)
	}
}

// indexPlaces enters the places of keys, and counts them. They are sorted by
// project and place.
func (x *Txn) indexPlaces(keys []*Key) {
	for of := range projects(keys) {
		counted := 0
		for _, k := range of {
			x.keyOrder.insert(appendSequenceKey(nil, k.ProjectID, k.Sequence), k.ID)
			if !k.Default {
				counted++
			}
		}
		if counted > 0 {
			x.keyCounts.insert([]byte(of[0].ProjectID), counted)
		}
	}
}

// indexNameBlocks makes the blocks of keys whose names are searched. They are
// sorted by project and place.
func (x *Txn) indexNameBlocks(keys []*Key) {
	named := make([]*Key, 0, len(keys))
	for _, k := range keys {
		if !k.Default {
			named = append(named, k)
		}
	}
	for of := range groups(named, func(a, b *Key) bool {
		return a.ProjectID == b.ProjectID && a.Sequence>>placeBits == b.Sequence>>placeBits
	}) {
		var in keyBits
		block := new(nameBlock)
		for _, k := range of {
			in.put(k.Sequence&(1<<placeBits-1), true)
			if part := &block.parts[k.Sequence>>partBits&(1<<(placeBits-partBits)-1)]; *part == nil {
				*part = new(namePart)
			}
		}
		block.has = in.block()
		x.nameBlocks.insert(appendPlace(appendNameKey(nil, of[0].ProjectID, ""), of[0].Sequence>>placeBits), block)
	}
}

// indexLists enters keys into the lists by state and spec. They are sorted by
// project and place, and are in another order afterwards.
func (x *Txn) indexLists(keys []*Key) {
	sameList := func(a, b *Key) bool { return a.ProjectID == b.ProjectID && a.State == b.State && a.Spec == b.Spec }
	slices.SortStableFunc(keys, func(a, b *Key) int {
		return cmp.Or(strings.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.State, b.State), strings.Compare(a.Spec, b.Spec))
	})
	for of := range groups(keys, sameList) {
		list := appendList(nil, of[0])
		x.listCounts.insert(list, len(of))
		for block := range groups(of, func(a, b *Key) bool { return a.Sequence>>blockBits == b.Sequence>>blockBits }) {
			x.blockCounts.insert(appendPlace(list, block[0].Sequence>>blockBits), len(block))
		}
		for _, k := range of {
			x.keyLists.insert(appendPlace(list, k.Sequence), k.ID)
		}
	}
}

// projects yields the keys of one project after another.
func projects(keys []*Key) func(yield func([]*Key) bool) {
	return groups(keys, func(a, b *Key) bool { return a.ProjectID == b.ProjectID })
}

// groups yields runs of keys that belong together.
func groups(keys []*Key, together func(a, b *Key) bool) func(yield func([]*Key) bool) {
	return func(yield func([]*Key) bool) {
		for len(keys) > 0 {
			n := 1
			for n < len(keys) && together(keys[0], keys[n]) {
				n++
			}
			if !yield(keys[:n:n]) {
				return
			}
			keys = keys[n:]
		}
	}
}
