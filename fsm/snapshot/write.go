package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/raftkms/raftkms/fsm/state"
)

// Write writes a state and returns how many bytes went to w. It may run while
// the machine goes on.
func Write(w io.Writer, root *state.Root) (int64, error) {
	out := &sink{to: w, sum: sha256.New()}
	buffered := bufio.NewWriterSize(out, bufferSize)

	// A bufio.Writer keeps its first error and Flush returns it.
	_, _ = buffered.Write(header(root))
	var count uint64
	for table, record := range root.Records() {
		var prefix [5]byte
		prefix[0] = byte(table)
		binary.BigEndian.PutUint32(prefix[1:], uint32(len(record)))
		_, _ = buffered.Write(prefix[:])
		if _, err := buffered.Write(record); err != nil {
			return out.written, err
		}
		count++
	}
	stateHash := root.Hash()
	tail := binary.BigEndian.AppendUint64([]byte{endMark}, count)
	_, _ = buffered.Write(append(tail, stateHash[:]...))
	if err := buffered.Flush(); err != nil {
		return out.written, err
	}
	n, err := w.Write(out.sum.Sum(nil))
	return out.written + int64(n), err
}

// levelOf returns the feature level of the cluster; 0 before bootstrap.
func levelOf(root *state.Root) uint32 {
	if c := root.Cluster(); c != nil {
		return c.FeatureLevel
	}
	return 0
}

func header(root *state.Root) []byte {
	h := append(make([]byte, 0, headerSize), magic...)
	h = binary.BigEndian.AppendUint32(h, Version)
	h = binary.BigEndian.AppendUint32(h, levelOf(root))
	h = binary.BigEndian.AppendUint32(h, state.HashVersion)
	return binary.BigEndian.AppendUint64(h, root.Applied())
}

// sink counts and hashes what it passes on.
type sink struct {
	to      io.Writer
	sum     hash.Hash
	written int64
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.sum.Write(p[:n])
	s.written += int64(n)
	return n, err
}
