package state

import (
	"math/bits"
	"slices"
	"strings"
)

// partKeys are keys of one part of a block, by their places in it.
type partKeys [1 << partBits / 64]uint64

func (p *partKeys) and(other *partKeys) {
	for i := range p {
		p[i] &= other[i]
	}
}

func (p *partKeys) drop(place uint64) { p[place>>6] &^= 1 << (place & 63) }

// partNames are the names of the keys of one part, and which of them have what
// pairs of letters. It never changes.
type partNames struct {
	keys  partKeys
	text  string // the names behind one another
	spans [1 << partBits]span
	pairs []uint16 // ascending; nil: there are too many to note
	sets  []partKeys
}

// span is where a name stands.
type span struct{ from, to uint32 }

// A pair of letters is a number: the first one, a byte, and then the second, or
// zero, which is in no name: the first one alone.
func letterPair(first, second byte) uint16 { return uint16(first)<<8 | uint16(second) }

// maxPairs bounds what the names of one part cost: names that have more pairs
// of letters than that are looked at one by one. There are 4,096 of letters and
// digits; names that somebody has chosen have a few hundred.
const maxPairs = 1024

// letters are the pairs of letters of some names while these are read.
type letters struct {
	rows [256]*[256]uint16 // where the set of a pair is, plus one
	all  []uint16
	sets []partKeys
}

// note adds a name.
func (l *letters) note(name string, place uint64) {
	for i := range len(name) {
		if l.put(name[i], 0, place); i > 0 {
			l.put(name[i-1], name[i], place)
		}
	}
}

func (l *letters) put(first, second byte, place uint64) {
	row := l.rows[first]
	if row == nil {
		row = new([256]uint16)
		l.rows[first] = row
	}
	if row[second] == 0 {
		if len(l.all) > maxPairs {
			return
		}
		l.all, l.sets = append(l.all, letterPair(first, second)), append(l.sets, partKeys{})
		row[second] = uint16(len(l.all))
	}
	l.sets[row[second]-1][place>>6] |= 1 << (place & 63)
}

// sorted returns the pairs in their order, and the keys that have each.
func (l *letters) sorted() (pairs []uint16, sets []partKeys) {
	if len(l.all) > maxPairs {
		return nil, nil
	}
	pairs = slices.Clone(l.all)
	slices.Sort(pairs)
	sets = make([]partKeys, len(pairs))
	for i, pair := range pairs {
		sets[i] = l.sets[l.rows[pair>>8][pair&0xff]-1]
	}
	return pairs, sets
}

// with returns the keys in whose names a part stands, which is not empty.
func (n *partNames) with(name string) partKeys {
	found := n.keys
	if strings.IndexByte(name, 0) >= 0 {
		return partKeys{}
	}
	if n.pairs != nil {
		for i := range max(1, len(name)-1) {
			pair := letterPair(name[i], 0)
			if len(name) > 1 {
				pair = letterPair(name[i], name[i+1])
			}
			at, has := slices.BinarySearch(n.pairs, pair)
			if !has {
				return partKeys{}
			}
			found.and(&n.sets[at])
		}
		if len(name) <= 2 {
			return found // they have it: it is that pair
		}
	}
	for i, word := range found {
		for ; word != 0; word &= word - 1 {
			place := i<<6 | bits.TrailingZeros64(word)
			if at := n.spans[place]; !strings.Contains(n.text[at.from:at.to], name) {
				found.drop(uint64(place))
			}
		}
	}
	return found
}
