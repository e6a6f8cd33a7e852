package state

import "encoding/binary"

// The lists of a project's keys by state and spec: a filtered page and its
// total cost what the page costs, not what the project holds. Keys that are
// skipped are skipped by blocks of their sequence numbers, whose keys are counted.

// blockBits is how many low bits of a sequence number lie in one block.
const blockBits = 8

// KeyFilter selects keys of a project's list; zero values select all.
type KeyFilter struct {
	State KeyState
	Spec  string
}

// list names one list: the keys of a project in one state with one spec. Specs
// hold no zero byte.
func appendList(dst []byte, k *Key) []byte {
	dst = append(append(dst, k.ProjectID...), 0, byte(k.State))
	return append(append(dst, k.Spec...), 0)
}

// moveInLists keeps the lists in step with a key; nil: there is none.
func (x *Txn) moveInLists(from, to *Key) {
	if from != nil && to != nil && from.State == to.State && from.Spec == to.Spec {
		return
	}
	if from != nil {
		x.keyLists.remove(binary.BigEndian.AppendUint64(appendList(nil, from), from.Sequence))
		x.countInList(from, -1)
	}
	if to != nil {
		x.keyLists.insert(binary.BigEndian.AppendUint64(appendList(nil, to), to.Sequence), to.ID)
		x.countInList(to, 1)
	}
}

func (x *Txn) countInList(k *Key, by int) {
	for _, t := range [...]struct {
		counts *table[int]
		key    []byte
	}{
		{&x.listCounts, appendList(nil, k)},
		{&x.blockCounts, binary.BigEndian.AppendUint64(appendList(nil, k), k.Sequence>>blockBits)},
	} {
		n, _ := t.counts.get(t.key)
		if n += by; n == 0 {
			t.counts.remove(t.key)
		} else {
			t.counts.insert(t.key, n)
		}
	}
}

// cursor walks down one list: first by blocks, then by keys.
type cursor struct {
	list     []byte
	previous func() (key []byte, keys int, ok bool) // one lower
	at       uint64                                 // the block, or the sequence number
	keys     int                                    // in the block
	ok       bool
}

func (c *cursor) step() {
	key, keys, ok := c.previous()
	c.ok = ok && len(key) == len(c.list)+8 && string(key[:len(c.list)]) == string(c.list)
	if c.ok {
		c.at, c.keys = binary.BigEndian.Uint64(key[len(c.list):]), keys
	}
}

// highest returns the cursor that is furthest up; nil: all are through.
func highest(cursors []*cursor) *cursor {
	var top *cursor
	for _, c := range cursors {
		if c.ok && (top == nil || c.at > top.at) {
			top = c
		}
	}
	return top
}

// KeyPage returns up to limit keys that a filter selects, newest first, after
// offset of them, and how many it selects in all. The slice is new.
func (v *View) KeyPage(projectID string, filter KeyFilter, offset, limit int) (page []*Key, total int) {
	lists, total := v.selected(projectID, filter)
	if offset >= total || limit <= 0 {
		return nil, total
	}
	block, offset := v.skipBlocks(lists, offset)
	cursors := make([]*cursor, len(lists))
	for i, list := range lists {
		it := v.keyLists.node().ReverseIterator()
		it.SeekReverseLowerBound(binary.BigEndian.AppendUint64(append([]byte(nil), list...), block<<blockBits|(1<<blockBits-1)))
		cursors[i] = &cursor{list: list, previous: func() ([]byte, int, bool) { key, _, ok := it.Previous(); return key, 1, ok }}
		cursors[i].step()
	}
	for len(page) < limit {
		top := highest(cursors)
		if top == nil {
			break
		}
		if offset > 0 {
			offset--
		} else if id, ok := v.keyOrder.get(appendSequenceKey(nil, projectID, top.at)); ok {
			key, _ := v.Key(id)
			page = append(page, key)
		}
		top.step()
	}
	return page, total
}

// selected returns the lists that a filter selects, and how many keys are in them.
func (v *View) selected(projectID string, filter KeyFilter) (lists [][]byte, total int) {
	it := v.listCounts.node().Iterator()
	prefix := append([]byte(projectID), 0)
	it.SeekPrefix(prefix)
	for {
		list, n, ok := it.Next()
		if !ok {
			return lists, total
		}
		state, spec := KeyState(list[len(prefix)]), string(list[len(prefix)+1:len(list)-1])
		if (filter.State == 0 || filter.State == state) && (filter.Spec == "" || filter.Spec == spec) {
			lists, total = append(lists, list), total+n
		}
	}
}

// skipBlocks returns the block in which the key at that offset lies, and its
// offset from the top of it.
func (v *View) skipBlocks(lists [][]byte, offset int) (block uint64, rest int) {
	cursors := make([]*cursor, len(lists))
	for i, list := range lists {
		it := v.blockCounts.node().ReverseIterator()
		it.SeekReverseLowerBound(binary.BigEndian.AppendUint64(append([]byte(nil), list...), ^uint64(0)))
		cursors[i] = &cursor{list: list, previous: it.Previous}
		cursors[i].step()
	}
	for {
		top := highest(cursors)
		if top == nil {
			return 0, offset
		}
		block = top.at
		n := 0
		for _, c := range cursors {
			if c.ok && c.at == block {
				n += c.keys
			}
		}
		if offset < n {
			return block, offset
		}
		offset -= n
		for _, c := range cursors {
			if c.ok && c.at == block {
				c.step()
			}
		}
	}
}
