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
type cursor[T any] struct {
	list []byte
	walk walkDown[T]
	at   uint64 // the block, or the sequence number
	ok   bool
}

// cursors begin each of the lists in a table at a number, or the next lower one.
func cursors[T any](t *table[T], lists [][]byte, from uint64) []*cursor[T] {
	all := make([]*cursor[T], len(lists))
	for i, list := range lists {
		c := &cursor[T]{list: list}
		c.walk.from(t, appendPlace(list, from))
		c.look()
		all[i] = c
	}
	return all
}

func (c *cursor[T]) step() {
	c.walk.step()
	c.look()
}

// look takes note of where the walk is; beyond the list it is over.
func (c *cursor[T]) look() {
	if c.ok = c.walk.ok; c.ok {
		key := c.walk.at.Key()
		if c.ok = len(key) == len(c.list)+8 && key[:len(c.list)] == string(c.list); c.ok {
			c.at = number(key)
		}
	}
}

// highest returns the cursor that is furthest up; nil: all are through.
func highest[T any](cursors []*cursor[T]) *cursor[T] {
	var top *cursor[T]
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
	keys := cursors(&v.keyLists, lists, block<<blockBits|(1<<blockBits-1))
	for len(page) < limit {
		top := highest(keys)
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
	prefix := append([]byte(projectID), 0)
	for list, n := range v.listCounts.under(prefix) {
		state, spec := KeyState(list[len(prefix)]), list[len(prefix)+1:len(list)-1]
		if (filter.State == 0 || filter.State == state) && (filter.Spec == "" || filter.Spec == spec) {
			lists, total = append(lists, []byte(list)), total+n
		}
	}
	return lists, total
}

// skipBlocks returns the block in which the key at that offset lies, and its
// offset from the top of it.
func (v *View) skipBlocks(lists [][]byte, offset int) (block uint64, rest int) {
	blocks := cursors(&v.blockCounts, lists, ^uint64(0))
	for {
		top := highest(blocks)
		if top == nil {
			return 0, offset
		}
		block = top.at
		n := 0
		for _, c := range blocks {
			if c.ok && c.at == block {
				n += c.walk.at.Value()
			}
		}
		if offset < n {
			return block, offset
		}
		offset -= n
		for _, c := range blocks {
			if c.ok && c.at == block {
				c.step()
			}
		}
	}
}
