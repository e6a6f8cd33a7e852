package state

import (
	"iter"
	"math/bits"
)

// A list of keys that is to be compared with other lists is kept as bits, by
// the sequence numbers of its keys, in blocks: what two lists have in common,
// and how much it is, costs a word for 64 keys.

// placeBits is how many low bits of a sequence number lie in one block.
const placeBits = 12

// keyBits are keys of one block, by their places in it.
type keyBits [1 << placeBits / 64]uint64

// put notes that a key is among them, or is not.
func (p *keyBits) put(place uint64, on bool) {
	if word, bit := place>>6, uint64(1)<<(place&63); on {
		p[word] |= bit
	} else {
		p[word] &^= bit
	}
}

func (p *keyBits) and(other *keyBits) {
	for i := range p {
		p[i] &= other[i]
	}
}

func (p *keyBits) count() int { return countBits(p[:]) }

// newestFirst yields where in the block the keys are. What is taken away
// meanwhile, of those that were yielded, changes nothing.
func (p *keyBits) newestFirst() iter.Seq[uint64] { return lastFirst(p[:]) }

func countBits(words []uint64) (n int) {
	for _, word := range words {
		n += bits.OnesCount64(word)
	}
	return n
}

// lastFirst yields the places of the bits that are set, the last first.
func lastFirst(words []uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := len(words) - 1; i >= 0; i-- {
			for word := words[i]; word != 0; {
				bit := 63 - bits.LeadingZeros64(word)
				if word &^= 1 << bit; !yield(uint64(i<<6 | bit)) {
					return
				}
			}
		}
	}
}

// fewKeys is up to how many keys of a block are kept one by one.
const fewKeys = 128

// listBlock is one block of a list: its places, or as bits if they are many. It
// never changes.
type listBlock struct {
	few  []uint16
	many *keyBits
}

// addTo adds the keys to others.
func (b listBlock) addTo(all *keyBits) {
	for _, place := range b.few {
		all.put(uint64(place), true)
	}
	if b.many != nil {
		for i := range all {
			all[i] |= b.many[i]
		}
	}
}

// with returns the block with a key, or without it.
func (b listBlock) with(sequence uint64, on bool) listBlock {
	var p keyBits
	b.addTo(&p)
	p.put(sequence&(1<<placeBits-1), on)
	return p.block()
}

// block returns the block with these keys. They must not be changed any more.
func (p *keyBits) block() listBlock {
	if n := p.count(); n <= fewKeys {
		few := make([]uint16, 0, n)
		for place := range p.newestFirst() {
			few = append(few, uint16(place))
		}
		return listBlock{few: few}
	}
	return listBlock{many: p}
}

func (b listBlock) empty() bool { return len(b.few) == 0 && b.many == nil }

// part returns the keys of one part of the block.
func (b listBlock) part(i int) (keys partKeys) {
	var all keyBits
	b.addTo(&all)
	copy(keys[:], all[i*len(keys):])
	return keys
}

// blocksOf yields the blocks of some lists put together, newest first. What is
// yielded is the caller's until the next one.
func blocksOf(t *table[listBlock], lists [][]byte) iter.Seq2[uint64, *keyBits] {
	return func(yield func(uint64, *keyBits) bool) {
		walks := cursors(t, lists, ^uint64(0))
		for {
			top := highest(walks)
			if top == nil {
				return
			}
			block := top.at
			var all keyBits
			for _, w := range walks {
				if w.ok && w.at == block {
					w.walk.at.Value().addTo(&all)
					w.step()
				}
			}
			if !yield(block, &all) {
				return
			}
		}
	}
}

// atBlock returns one block of some lists put together.
func atBlock(t *table[listBlock], lists [][]byte, block uint64) *keyBits {
	all := new(keyBits)
	for _, list := range lists {
		some, _ := t.get(appendPlace(list, block))
		some.addTo(all)
	}
	return all
}
