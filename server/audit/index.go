package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// A packed segment has an index file beside it, with which a search finds the
// blocks that it must read. It is made of the segment alone, byte for byte the
// same every time, so it is made again where it is missing or damaged, and
// [Verify] compares it.
//
//	magic(8) size of the packed segment(8) number of blocks(4)
//	for each block: place(8) size(4) unpacked(4) sequence of its first line(8)
//	  lines(4) earliest and latest time(8, 8) hash of the line before(32)
//	  length of the filter(4) filter
//	CRC-32C of all that(4)
//
// Numbers are little-endian.
const (
	indexSuffix = ".index"
	indexMagic  = "rkidx\x00\x00\x01"
	indexHead   = 8 + 8 + 4
	blockHead   = 8 + 4 + 4 + 8 + 4 + 8 + 8 + 32 + 4
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
	filter   []byte // no filter says nothing
}

// next is the sequence after the block's last line.
func (b *block) next() uint64 { return b.first + uint64(b.lines) }

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
	dst = le.AppendUint32(dst, uint32(len(b.filter)))
	return append(dst, b.filter...)
}

func appendIndex(dst []byte, packed int64, blocks []block) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(append(dst, indexMagic...), uint64(packed))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(blocks)))
	for i := range blocks {
		dst = blocks[i].append(dst)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseIndex reads an index. Filters are parts of data.
func parseIndex(data []byte) (packed int64, blocks []block, err error) {
	le := binary.LittleEndian
	if len(data) < indexHead+4 || string(data[:8]) != indexMagic {
		return 0, nil, errIndex
	}
	sum := len(data) - 4
	if crc32.Checksum(data[:sum], castagnoli) != le.Uint32(data[sum:]) {
		return 0, nil, errIndex
	}
	packed = int64(le.Uint64(data[8:]))
	count := int(le.Uint32(data[16:]))
	rest := data[indexHead:sum]
	if packed < 0 || count > len(rest)/blockHead {
		return 0, nil, errIndex
	}
	blocks = make([]block, count)
	at := int64(0)
	for i := range blocks {
		if len(rest) < blockHead {
			return 0, nil, errIndex
		}
		b := &blocks[i]
		b.offset, b.size, b.unpacked = int64(le.Uint64(rest)), int(le.Uint32(rest[8:])), int(le.Uint32(rest[12:]))
		b.first, b.lines = le.Uint64(rest[16:]), int(le.Uint32(rest[24:]))
		b.earliest, b.latest = int64(le.Uint64(rest[28:])), int64(le.Uint64(rest[36:]))
		copy(b.before[:], rest[44:])
		n := int(le.Uint32(rest[76:]))
		rest = rest[blockHead:]
		if n > len(rest) || b.offset != at || b.unpacked > maxBlock || b.lines > b.unpacked ||
			i > 0 && b.first != blocks[i-1].next() || b.first == 0 || b.first > maxSequence {
			return 0, nil, errIndex
		}
		b.filter, rest = rest[:n:n], rest[n:]
		at += int64(b.size)
	}
	if len(rest) > 0 || at != packed {
		return 0, nil, errIndex
	}
	return packed, blocks, nil
}

// indexName is the name of the index of the segment that begins with first.
func indexName(first uint64) string {
	return strings.TrimSuffix(segmentName(first), segmentSuffix) + indexSuffix
}

// readIndex reads the index of a packed segment of that many bytes. space is
// used for it where it is large enough.
func readIndex(dir string, first uint64, packed int64, space []byte) (blocks []block, used []byte, err error) {
	f, err := os.Open(filepath.Join(dir, indexName(first)))
	if err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	if info.Size() > maxIndex {
		return nil, space, errIndex
	}
	if int64(cap(space)) < info.Size() {
		space = make([]byte, info.Size()+info.Size()/4)
	}
	data := space[:info.Size()]
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, space, fmt.Errorf("reading an index: %w", err)
	}
	size, blocks, err := parseIndex(data)
	if err == nil && size != packed {
		err = errIndex
	}
	return blocks, space, err
}
