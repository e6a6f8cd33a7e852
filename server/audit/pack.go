package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// A segment that is closed is packed: its lines, as they are, in blocks that
// are zstd frames one after the other. So zstdcat and zstdgrep read it, a
// search unpacks only the blocks that it needs, and the chain goes through it
// like through any other.
const (
	packedSuffix = segmentSuffix + ".zst"
	tempSuffix   = ".tmp"
	// blockSize is how much text is packed together, some 90 records: a search
	// that finds one record unpacks that much. Four times as much packs by a
	// tenth better.
	blockSize = 64 << 10
	// maxBlock is more text than any block has.
	maxBlock = blockSize + maxLine
)

func packedName(first uint64) string { return segmentName(first) + packedSuffix[len(segmentSuffix):] }

// errNotPacked: a segment is not as it was written, and stays what it is.
var errNotPacked = errors.New("a segment is not packed because of what it holds")

// packer packs segments. It is for one goroutine.
type packer struct {
	dir     string
	encoder *zstd.Encoder
	decoder *zstd.Decoder

	text, packed, again []byte
	builder             blockBuilder
}

func newPacker(dir string) (*packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("making the packer of the trace log: %w", err)
	}
	decoder, err := newDecoder(nil)
	if err != nil {
		return nil, errors.Join(err, encoder.Close())
	}
	return &packer{dir: dir, encoder: encoder, decoder: decoder}, nil
}

// newDecoder is a decoder that takes no more memory than our frames need.
func newDecoder(r io.Reader) (*zstd.Decoder, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(4*maxBlock), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, fmt.Errorf("making an unpacker of traces: %w", err)
	}
	return d, nil
}

func (p *packer) close() {
	_ = p.encoder.Close() // nothing was streamed
	p.decoder.Close()
}

// pack packs the segment that begins with first, writes its index, and takes
// the plain file away. It returns how many bytes are there instead.
func (p *packer) pack(first uint64) (size int64, err error) {
	plain := filepath.Join(p.dir, segmentName(first))
	in, err := os.Open(plain)
	if err != nil {
		return 0, fmt.Errorf("packing a segment: %w", err)
	}
	defer in.Close()
	target := filepath.Join(p.dir, packedName(first))
	out, err := os.OpenFile(target+tempSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("packing a segment: %w", err)
	}
	x, err := p.packTo(out, in, first)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = p.writeIndex(first, x)
	}
	if err == nil {
		err = os.Rename(target+tempSuffix, target)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("packing %s: %w", segmentName(first), err), os.Remove(target+tempSuffix))
	}
	if err := p.syncDir(); err != nil {
		return 0, err
	}
	// From here on the packed segment is the segment.
	if err := os.Remove(plain); errors.Is(err, fs.ErrNotExist) {
		// It was dropped meanwhile, and so must this be.
		return 0, errors.Join(err, os.Remove(target), os.Remove(filepath.Join(p.dir, indexName(first))))
	} else if err != nil {
		return 0, fmt.Errorf("removing a segment that was packed: %w", err)
	}
	return x.packed, nil
}

func (p *packer) syncDir() error {
	dir, err := os.Open(p.dir)
	if err != nil {
		return fmt.Errorf("syncing the directory of the trace log: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (p *packer) writeIndex(first uint64, x *index) error {
	path := filepath.Join(p.dir, indexName(first))
	f, err := os.OpenFile(path+tempSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(x.append(nil))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+tempSuffix, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing an index: %w", err), os.Remove(path+tempSuffix))
	}
	return nil
}

// packTo packs the lines of in, and returns the index.
func (p *packer) packTo(out io.Writer, in io.Reader, first uint64) (*index, error) {
	var blocks []block
	var size int64
	var err error
	lines := newChecker().scan(segment{first: first}, in)
	p.builder.begin(first)
	p.text = p.text[:0]
	flush := func() error {
		b := p.builder.take(len(p.text))
		p.packed = p.encoder.EncodeAll(p.text, p.packed[:0])
		// What is unpacked must be what was packed: the plain file goes.
		if p.again, err = p.decoder.DecodeAll(p.packed, p.again[:0]); err != nil || !bytes.Equal(p.again, p.text) {
			return fmt.Errorf("the block that begins with sequence %d does not come out as it went in: %w", b.first, errors.Join(err, errNotPacked))
		}
		b.offset, b.size = size, len(p.packed)
		blocks = append(blocks, b)
		size += int64(len(p.packed))
		p.text = p.text[:0]
		_, err := out.Write(p.packed)
		return err
	}
	for {
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(l.raw) == 1 && l.whole {
			continue // what was filled ahead; a chain in which it is not the end is broken there anyway
		}
		if !l.whole {
			return nil, fmt.Errorf("%w: line %d is none", errNotPacked, l.number)
		}
		if len(p.text) > 0 && len(p.text)+len(l.raw) > blockSize {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if !p.builder.add(l.raw, l.number == 1) {
			return nil, fmt.Errorf("%w: line %d is not one that was written there", errNotPacked, l.number)
		}
		p.text = append(p.text, l.raw...)
	}
	if len(p.text) > 0 {
		if err := flush(); err != nil {
			return nil, err
		}
	}
	return newIndex(size, blocks, p.builder.places), nil
}

// reindex makes the index of a packed segment, of what the segment holds.
func reindex(dir string, first uint64, d *zstd.Decoder) (*index, error) {
	f, err := os.Open(filepath.Join(dir, packedName(first)))
	if err != nil {
		return nil, fmt.Errorf("indexing a segment: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("indexing a segment: %w", err)
	}
	blocks, err := framesOf(f, info.Size())
	if err != nil {
		return nil, err
	}
	var builder blockBuilder
	var text, packed []byte
	builder.begin(first)
	for i := range blocks {
		offset, size := blocks[i].offset, blocks[i].size
		if text, err = unpack(d, f, &blocks[i], &packed, text); err != nil {
			return nil, err
		}
		number := 0
		for raw := range bytes.Lines(text) {
			if number++; !builder.add(raw, i == 0 && number == 1) {
				return nil, fmt.Errorf("%w: line %d of the block at byte %d", ErrAltered, number, offset)
			}
		}
		blocks[i] = builder.take(len(text))
		blocks[i].offset, blocks[i].size = offset, size
	}
	return newIndex(info.Size(), blocks, builder.places), nil
}

// framesOf finds the frames of a packed segment; only offset and size of the
// blocks are known.
func framesOf(f io.ReaderAt, size int64) ([]block, error) {
	var blocks []block
	var head [zstd.HeaderMaxSize]byte
	for at := int64(0); at < size; {
		n, err := f.ReadAt(head[:min(int64(len(head)), size-at)], at)
		if err != nil {
			return nil, fmt.Errorf("reading a packed segment: %w", err)
		}
		var h zstd.Header
		if err := h.Decode(head[:n]); err != nil || h.Skippable {
			return nil, fmt.Errorf("%w: no frame at byte %d (%v)", ErrAltered, at, err)
		}
		end := at + int64(h.HeaderSize)
		for last := false; !last; {
			var raw [3]byte
			if end+3 > size {
				return nil, fmt.Errorf("%w: the packed segment ends within a frame", ErrAltered)
			}
			if _, err := f.ReadAt(raw[:], end); err != nil {
				return nil, fmt.Errorf("reading a packed segment: %w", err)
			}
			v := binary.LittleEndian.Uint32([]byte{raw[0], raw[1], raw[2], 0})
			last = v&1 == 1
			length := int64(v >> 3)
			if v>>1&3 == 1 { // one byte, repeated
				length = 1
			}
			end += 3 + length
		}
		if h.HasCheckSum {
			end += 4
		}
		if end > size || end-at > maxBlock {
			return nil, fmt.Errorf("%w: the packed segment ends within a frame", ErrAltered)
		}
		blocks = append(blocks, block{offset: at, size: int(end - at)})
		at = end
	}
	return blocks, nil
}

// unpack returns the text of a block, in space where that is large enough.
func unpack(d *zstd.Decoder, f io.ReaderAt, b *block, packed *[]byte, space []byte) ([]byte, error) {
	if cap(*packed) < b.size {
		*packed = make([]byte, b.size, b.size+b.size/4)
	}
	*packed = (*packed)[:b.size]
	if _, err := f.ReadAt(*packed, b.offset); err != nil {
		return space, fmt.Errorf("reading a packed segment: %w", err)
	}
	text, err := d.DecodeAll(*packed, space[:0])
	if err != nil {
		return space, fmt.Errorf("%w: the block at byte %d cannot be unpacked: %v", ErrAltered, b.offset, err)
	}
	return text, nil
}
