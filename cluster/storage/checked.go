package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// checkedLog writes a checksum beside each entry, where raft leaves room for it,
// and finds an entry damaged that does not fit its own: bbolt has no checksums,
// and a flipped bit would be replicated, or applied, as what was proposed.
// Entries of versions that wrote none are taken as they are.
type checkedLog struct {
	*raftboltdb.BoltStore
	dir string
}

var errAltered = errors.New("it is not as it was written")

// GetLog implements [raft.LogStore].
func (l checkedLog) GetLog(index uint64, entry *raft.Log) error {
	if err := l.BoltStore.GetLog(index, entry); err != nil {
		return err
	}
	if entry.Index != index || len(entry.Extensions) > 0 && !bytes.Equal(entry.Extensions, checksum(entry)) {
		return Damaged(l.dir, fmt.Errorf("entry %d of the log: %w", index, errAltered))
	}
	entry.Extensions = nil // other nodes write their own
	return nil
}

// StoreLog implements [raft.LogStore].
func (l checkedLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements [raft.LogStore].
func (l checkedLog) StoreLogs(entries []*raft.Log) error {
	copies, written := make([]raft.Log, len(entries)), make([]*raft.Log, len(entries))
	for i, entry := range entries { // raft has them in use
		copies[i] = *entry
		copies[i].Extensions = checksum(entry)
		written[i] = &copies[i]
	}
	return l.BoltStore.StoreLogs(written)
}

// checksum is over all that matters of an entry.
func checksum(entry *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, entry.Index)
	head = binary.BigEndian.AppendUint64(head, entry.Term)
	head = append(head, byte(entry.Type))
	table := crc32.MakeTable(crc32.Castagnoli)
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(head, table), table, entry.Data))
}
