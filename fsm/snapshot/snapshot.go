// Package snapshot is the file format of the replicated state.
//
// It promises: what [Read] accepts is, record for record and with the same
// hash, a state that [Write] was given. A file that is cut short, altered
// anywhere, out of order, or written by a newer raftkms is refused whole. Both
// stream, holding one record at a time besides the state itself.
//
// # Format, version 1
//
// Integers are big endian.
//
//	magic           16 bytes  "raftkms snapshot"
//	version          4 bytes  1
//	feature level    4 bytes  of the cluster; 0 before bootstrap
//	hash version     4 bytes  of the state hash below
//	index            8 bytes  log index of the last entry in it
//	records                   by table and then by key, each:
//	  table          1 byte
//	  length         4 bytes
//	  record                  CBOR, as package state says
//	end              1 byte   0
//	count            8 bytes  of records
//	state hash      32 bytes
//	checksum        32 bytes  SHA-256 of everything before it
//
// What a snapshot holds of secrets is wrapped or sealed under the cluster's roots.
package snapshot

import "errors"

// Version is the version of the format that this binary writes, and the
// newest that it reads.
const Version uint32 = 1

// The causes of a refusal.
var (
	// ErrCorrupt: the file is cut short, altered, or not a snapshot.
	ErrCorrupt = errors.New("not an intact snapshot")
	// ErrNewer: the file was written by a newer raftkms, or at a feature level
	// that this binary does not know.
	ErrNewer = errors.New("snapshot of a newer version")
)

const (
	magic      = "raftkms snapshot"
	headerSize = len(magic) + 4 + 4 + 4 + 8
	endMark    = 0
	// maxRecord bounds a record, in bytes. The largest command is 64 KiB; the
	// cluster's record gathers what several brought.
	maxRecord = 1 << 20
	// bufferSize is that of the buffer on either side of the hash, in bytes.
	bufferSize = 64 << 10
)
