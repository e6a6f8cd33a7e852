package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A packed segment has an index file beside it, with which a search finds the
// blocks that it must read. It is made of the segment alone, byte for byte the
// same every time, so it is made again where it is missing or damaged, and
// [Verify] compares it.
//
// For every value of a field that many traces share (a key, a user, a name) it
// lists the blocks that hold it, so that a search reads those and no others. A
// value that one trace has (its id, that of the request) would make lists of
// one; those are in a filter for each block, a part of the file that is read
// only by who looks for one.
//
//	magic(8) size of the packed segment(8)
//	numbers of blocks(4) and terms(4), bytes of lists(4) and filters(4)
//	for each block: place(8) size(4) unpacked(4) sequence of its first line(8)
//	  lines(4) earliest and latest time(8, 8) hash of the line before(32)
//	  length of its filter(4)
//	for each term, in their order: term(8) end of its list(4)
//	lists: numbers of blocks, each as a varint of the step from the one before
//	CRC-32C of all that(4)
//	filters
//	CRC-32C of the filters(4)
//
// Numbers are little-endian.
const (
	indexSuffix = ".index"
	indexMagic  = "rkidx\x00\x00\x02"
	indexHead   = 8 + 8 + 4*4
	blockHead   = 8 + 4 + 4 + 8 + 4 + 8 + 8 + 32 + 4
	termSize    = 8 + 4
	sumSize     = 4
	// maxIndex is more than the index of any segment has, in bytes.
	maxIndex = 64 << 20
)

var errIndex = errors.New("the index of a segment is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// block is some lines of a segment that are packed together.
type block struct {
	offset   int64 // in the file
	size     int   // in the file
	unpacked int   // bytes of text
	first    uint64
	lines    int // with a sequence; the header is none
	earliest int64
	latest   int64
	before   Hash   // of the line in front of the block's first one
	filter   []byte // of what is unique; no filter says nothing
}

// next is the sequence after the block's last line.
func (b *block) next() uint64 { return b.first + uint64(b.lines) }

// index is what an index file says.
type index struct {
	packed int64 // size of the packed segment
	blocks []block
	terms  []byte // termSize each
	lists  []byte
}

// place is that a block holds a term.
type place struct {
	term  term
	block uint32
}

// newIndex makes an index; places are brought into order for it.
func newIndex(packed int64, blocks []block, places []place) *index {
	x := &index{packed: packed, blocks: blocks}
	slices.SortFunc(places, func(a, b place) int {
		switch {
		case a.term < b.term:
			return -1
		case a.term > b.term:
			return 1
		}
		return int(a.block) - int(b.block)
	})
	le := binary.LittleEndian
	for i := 0; i < len(places); {
		t, last := places[i].term, uint32(0)
		for ; i < len(places) && places[i].term == t; i++ {
			x.lists = binary.AppendUvarint(x.lists, uint64(places[i].block-last))
			last = places[i].block
		}
		x.terms = le.AppendUint32(le.AppendUint64(x.terms, uint64(t)), uint32(len(x.lists)))
	}
	return x
}

func (b *block) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(b.offset))
	dst = le.AppendUint32(dst, uint32(b.size))
	dst = le.AppendUint32(dst, uint32(b.unpacked))
	dst = le.AppendUint64(dst, b.first)
	dst = le.AppendUint32(dst, uint32(b.lines))
	dst = le.AppendUint64(dst, uint64(b.earliest))
	dst = le.AppendUint64(dst, uint64(b.latest))
	dst = append(dst, b.before[:]...)
	return le.AppendUint32(dst, uint32(len(b.filter)))
}

// append appends the index as its file has it.
func (x *index) append(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	filters := 0
	for i := range x.blocks {
		filters += len(x.blocks[i].filter)
	}
	dst = le.AppendUint64(append(dst, indexMagic...), uint64(x.packed))
	for _, n := range []int{len(x.blocks), len(x.terms) / termSize, len(x.lists), filters} {
		dst = le.AppendUint32(dst, uint32(n))
	}
	for i := range x.blocks {
		dst = x.blocks[i].append(dst)
	}
	dst = append(append(dst, x.terms...), x.lists...)
	dst = le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	start = len(dst)
	for i := range x.blocks {
		dst = append(dst, x.blocks[i].filter...)
	}
	return le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// indexSizes are the sizes of the two parts of an index, by its head.
func indexSizes(head []byte) (lists, filters int64, err error) {
	le := binary.LittleEndian
	if len(head) < indexHead || string(head[:8]) != indexMagic {
		return 0, 0, errIndex
	}
	n := func(at int) int64 { return int64(le.Uint32(head[16+4*at:])) }
	lists = indexHead + n(0)*blockHead + n(1)*termSize + n(2) + sumSize
	filters = n(3) + sumSize
	if lists+filters > maxIndex {
		return 0, 0, errIndex
	}
	return lists, filters, nil
}

// unsum takes the checksum off a part of an index.
func unsum(part []byte) ([]byte, error) {
	n := len(part) - sumSize
	if n < 0 || crc32.Checksum(part[:n], castagnoli) != binary.LittleEndian.Uint32(part[n:]) {
		return nil, errIndex
	}
	return part[:n], nil
}

// parseIndex reads the first part of an index, and the second one, the filters,
// where that is not nil. What it returns are parts of both.
func parseIndex(part, filters []byte) (*index, error) {
	part, err := unsum(part)
	if err != nil || len(part) < indexHead {
		return nil, errIndex
	}
	size, _, err := indexSizes(part)
	if err != nil || size != int64(len(part))+sumSize {
		return nil, errIndex
	}
	if filters != nil {
		if filters, err = unsum(filters); err != nil {
			return nil, err
		}
	}
	le := binary.LittleEndian
	x := &index{packed: int64(le.Uint64(part[8:])), blocks: make([]block, le.Uint32(part[16:]))}
	terms, lists := int(le.Uint32(part[20:]))*termSize, int(le.Uint32(part[24:]))
	all, rest := int(le.Uint32(part[28:])), part[indexHead:]
	at, given := int64(0), filters != nil
	for i := range x.blocks {
		b := &x.blocks[i]
		b.offset, b.size, b.unpacked = int64(le.Uint64(rest)), int(le.Uint32(rest[8:])), int(le.Uint32(rest[12:]))
		b.first, b.lines = le.Uint64(rest[16:]), int(le.Uint32(rest[24:]))
		b.earliest, b.latest = int64(le.Uint64(rest[28:])), int64(le.Uint64(rest[36:]))
		copy(b.before[:], rest[44:])
		n := int(le.Uint32(rest[76:]))
		rest = rest[blockHead:]
		if n > all || given && n > len(filters) || b.offset != at || b.unpacked > maxBlock || b.lines > b.unpacked ||
			i > 0 && b.first != x.blocks[i-1].next() || b.first == 0 || b.first > maxSequence {
			return nil, errIndex
		}
		if all -= n; given {
			b.filter, filters = filters[:n:n], filters[n:]
		}
		at += int64(b.size)
	}
	if x.packed < 0 || at != x.packed || all != 0 || len(filters) > 0 {
		return nil, errIndex
	}
	x.terms, x.lists = rest[:terms:terms], rest[terms:]
	return x, x.checkTerms(lists)
}

// checkTerms checks that the terms are in their order and share the lists.
func (x *index) checkTerms(lists int) error {
	le := binary.LittleEndian
	end, before := uint32(0), uint64(0)
	for at := 0; at < len(x.terms); at += termSize {
		t, next := le.Uint64(x.terms[at:]), le.Uint32(x.terms[at+8:])
		if next <= end || int64(next) > int64(lists) || at > 0 && t <= before {
			return errIndex
		}
		end, before = next, t
	}
	if int(end) != len(x.lists) {
		return errIndex
	}
	return nil
}

// list is the list of a term; empty: no block holds it.
func (x *index) list(t term) []byte {
	le := binary.LittleEndian
	n := len(x.terms) / termSize
	low, high := 0, n
	for low < high {
		if mid := (low + high) / 2; le.Uint64(x.terms[mid*termSize:]) < uint64(t) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == n || le.Uint64(x.terms[low*termSize:]) != uint64(t) {
		return nil
	}
	start := uint32(0)
	if low > 0 {
		start = le.Uint32(x.terms[low*termSize-4:])
	}
	return x.lists[start:le.Uint32(x.terms[low*termSize+8:])]
}

// holders returns how many of the terms each block holds, in counts where that
// is large enough; who holds all of them may hold a trace with all.
func (x *index) holders(terms []term, counts []uint8) ([]uint8, error) {
	counts = append(counts[:0], make([]uint8, len(x.blocks))...)
	for _, t := range terms {
		list, at := x.list(t), uint64(0)
		for first := true; len(list) > 0; first = false {
			step, n := binary.Uvarint(list)
			if at += step; n <= 0 || at >= uint64(len(counts)) || step == 0 && !first {
				return nil, errIndex
			}
			list = list[n:]
			counts[at]++
		}
	}
	return counts, nil
}

// indexName is the name of the index of the segment that begins with first.
func indexName(first uint64) string {
	return strings.TrimSuffix(segmentName(first), segmentSuffix) + indexSuffix
}

// readIndex reads the index of a packed segment of that many bytes, with its
// filters or without. space is used for it where it is large enough.
func readIndex(dir string, first uint64, packed int64, filters bool, space []byte) (x *index, used []byte, err error) {
	f, err := os.Open(filepath.Join(dir, indexName(first)))
	if err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	var head [indexHead]byte
	if info.Size() < indexHead {
		return nil, space, errIndex
	}
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	part, more, err := indexSizes(head[:])
	if err != nil || part+more != info.Size() {
		return nil, space, errIndex
	}
	size := part
	if filters {
		size += more
	}
	if int64(cap(space)) < size {
		space = make([]byte, size+size/4)
	}
	data := space[:size]
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	var second []byte
	if filters {
		second = data[part:]
	}
	x, err = parseIndex(data[:part], second)
	if err == nil && x.packed != packed {
		err = errIndex
	}
	return x, space, err
}
