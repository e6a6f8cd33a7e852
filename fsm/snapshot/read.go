package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/raftkms/raftkms/fsm/state"
)

// Read builds the state that a snapshot holds. It reads r to its end, which
// must be the snapshot's. Errors wrap [ErrCorrupt], [ErrNewer] or the reader's own.
func Read(r io.Reader) (*state.Root, error) { return ReadUpTo(r, state.FeatureLevel) }

// ReadUpTo is [Read] by a binary that knows the feature levels up to highest.
func ReadUpTo(r io.Reader, highest uint32) (*state.Root, error) {
	in := &source{from: bufio.NewReaderSize(r, bufferSize), sum: sha256.New()}
	head, err := readHeader(in, highest)
	if err != nil {
		return nil, err
	}
	loader, err := readRecords(in)
	if err != nil {
		return nil, err
	}
	defer loader.Abandon()
	var stateHash [32]byte
	if err := in.read(stateHash[:]); err != nil {
		return nil, err
	}
	if err := in.end(); err != nil {
		return nil, err
	}
	root, err := loader.Root(head.index)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if root.Hash() != stateHash || levelOf(root) != head.level {
		return nil, fmt.Errorf("%w: the records have another state hash or feature level", ErrCorrupt)
	}
	return root, nil
}

// head is what the header says of the state.
type head struct {
	level uint32
	index uint64
}

func readHeader(in *source, highest uint32) (head, error) {
	var h [headerSize]byte
	if err := in.read(h[:]); err != nil {
		return head{}, err
	}
	if string(h[:len(magic)]) != magic {
		return head{}, fmt.Errorf("%w: it does not begin like one", ErrCorrupt)
	}
	fields := h[len(magic):]
	version := binary.BigEndian.Uint32(fields)
	level := binary.BigEndian.Uint32(fields[4:])
	hashVersion := binary.BigEndian.Uint32(fields[8:])
	switch {
	case version > Version:
		return head{}, fmt.Errorf("%w: format %d, this binary reads up to %d", ErrNewer, version, Version)
	case level > highest:
		return head{}, fmt.Errorf("%w: feature level %d, this binary knows up to %d", ErrNewer, level, highest)
	case hashVersion > state.HashVersion:
		return head{}, fmt.Errorf("%w: state hash %d, this binary knows up to %d", ErrNewer, hashVersion, state.HashVersion)
	case version != Version || hashVersion != state.HashVersion:
		return head{}, fmt.Errorf("%w: no such version", ErrCorrupt)
	}
	return head{level: level, index: binary.BigEndian.Uint64(fields[12:])}, nil
}

// readRecords reads up to and including the count. What is read is decoded by
// others meanwhile, in batches, and added to the loader in its order.
func readRecords(in *source) (*state.Loader, error) {
	loader := state.NewLoader()
	d := startDecoders(loader)
	readErr := d.feed(in)
	// What is wrong with a record comes before what is wrong behind it.
	if err := d.wait(); err != nil {
		loader.Abandon()
		return nil, err
	}
	if readErr != nil {
		loader.Abandon()
		return nil, readErr
	}
	return loader, nil
}

// feed reads records into the decoders.
func (d *decoders) feed(in *source) error {
	for count := uint64(0); ; count++ {
		var prefix [5]byte
		if err := in.read(prefix[:1]); err != nil {
			return err
		}
		if prefix[0] == endMark {
			return checkCount(in, count)
		}
		if err := in.read(prefix[1:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(prefix[1:])
		if size > maxRecord {
			return fmt.Errorf("%w: a record of %d bytes", ErrCorrupt, size)
		}
		if err := in.read(d.place(state.Table(prefix[0]), count, int(size))); err != nil {
			d.unplace()
			return err
		}
		if !d.placed() {
			return nil // wait says why
		}
	}
}

func checkCount(in *source, count uint64) error {
	var field [8]byte
	if err := in.read(field[:]); err != nil {
		return err
	}
	if want := binary.BigEndian.Uint64(field[:]); want != count {
		return fmt.Errorf("%w: %d records of %d", ErrCorrupt, count, want)
	}
	return nil
}

// source hashes what is read from it.
type source struct {
	from *bufio.Reader
	sum  hash.Hash
}

// read fills p.
func (s *source) read(p []byte) error {
	if err := fill(s.from, p); err != nil {
		return err
	}
	s.sum.Write(p)
	return nil
}

// end reads the checksum, compares it, and makes sure that nothing follows.
func (s *source) end() error {
	var checksum [sha256.Size]byte
	if err := fill(s.from, checksum[:]); err != nil {
		return err
	}
	if checksum != [sha256.Size]byte(s.sum.Sum(nil)) {
		return fmt.Errorf("%w: the checksum differs", ErrCorrupt)
	}
	switch _, err := s.from.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%w: more bytes follow", ErrCorrupt)
	default:
		return err
	}
}

func fill(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrCorrupt)
	}
	return err
}
