package sealing

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrMalformed is returned for what this package has not sealed, or what was
// changed in its header.
var ErrMalformed = errors.New("not sealed by raftkms, or altered")

// magic begins everything that is sealed; its last byte is the version.
const magic = "raftkms\x01"

// Segment sizes: small data takes small buffers, streams large ones.
const (
	smallSegment = 4 << 10
	largeSegment = 1 << 20
)

const (
	keyIDSize  = 16
	fixedSize  = len(magic) + 4 + keyIDSize + 2
	maxWrapped = 4096 // bytes of an encrypted data key
)

// header is what stands in front of the segments.
type header struct {
	segment int
	keyID   string // UUID
	wrapped []byte // encrypted data key
}

// encode returns the header's bytes.
func (h header) encode() ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(h.keyID, "-", ""))
	if err != nil || len(id) != keyIDSize {
		return nil, fmt.Errorf("the service named the key %.64q, which is no UUID", h.keyID)
	}
	if len(h.wrapped) == 0 || len(h.wrapped) > maxWrapped {
		return nil, fmt.Errorf("the service returned an encrypted data key of %d bytes, more than %d", len(h.wrapped), maxWrapped)
	}
	out := make([]byte, 0, fixedSize+len(h.wrapped))
	out = append(out, magic...)
	out = binary.BigEndian.AppendUint32(out, uint32(h.segment))
	out = append(out, id...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.wrapped)))
	return append(out, h.wrapped...), nil
}

// readHeader reads a header and returns its bytes, too. What is not one wraps
// [ErrMalformed]; other errors are the reader's.
func readHeader(r io.Reader) (h header, raw []byte, err error) {
	raw = make([]byte, fixedSize, fixedSize+512)
	if err := readFull(r, raw); err != nil {
		return header{}, nil, err
	}
	if !bytes.HasPrefix(raw, []byte(magic)) {
		return header{}, nil, ErrMalformed
	}
	rest := raw[len(magic):]
	h.segment = int(binary.BigEndian.Uint32(rest))
	id := hex.EncodeToString(rest[4 : 4+keyIDSize])
	h.keyID = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	wrapped := int(binary.BigEndian.Uint16(rest[4+keyIDSize:]))
	if h.segment != smallSegment && h.segment != largeSegment || wrapped == 0 || wrapped > maxWrapped {
		return header{}, nil, ErrMalformed
	}
	raw = append(raw, make([]byte, wrapped)...)
	if err := readFull(r, raw[fixedSize:]); err != nil {
		return header{}, nil, err
	}
	h.wrapped = raw[fixedSize:]
	return h, raw, nil
}

// readFull fills p; an early end is a malformed header.
func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrMalformed
	}
	if err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	return nil
}
