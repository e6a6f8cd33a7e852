package state

import (
	"crypto/sha256"
	"encoding/binary"
)

// HashVersion is the version of the state hash. Nodes compare hashes of the
// same version only.
const HashVersion uint32 = 1

// sum is the state hash as it is kept: the sum of the SHA-256 of every record,
// in four lanes of 64 bits that each wrap around. A sum has no order and can be
// subtracted from, so a write costs two records however many there are.
//
// It tells apart states that differ by a mistake. It is no defence against
// somebody who chooses records to collide: a snapshot carries a SHA-256 over
// all of its bytes for that.
type sum [4]uint64

// add counts a record in.
func (s *sum) add(digest [sha256.Size]byte) {
	for lane := range s {
		s[lane] += binary.BigEndian.Uint64(digest[lane*8:])
	}
}

// sub counts a record out.
func (s *sum) sub(digest [sha256.Size]byte) {
	for lane := range s {
		s[lane] -= binary.BigEndian.Uint64(digest[lane*8:])
	}
}

// digest hashes the table, the key with its length (4 bytes, big endian), and
// the record, so that no two of these triples run together.
func (x *Txn) digest(number Table, key, record []byte) (d [sha256.Size]byte) {
	d, x.scratch = digest(x.scratch[:0], number, key, record)
	return d
}

// digest puts what is hashed behind scratch, and returns that, too.
func digest(scratch []byte, number Table, key, record []byte) ([sha256.Size]byte, []byte) {
	scratch = append(scratch, byte(number))
	scratch = binary.BigEndian.AppendUint32(scratch, uint32(len(key)))
	scratch = append(scratch, key...)
	scratch = append(scratch, record...)
	return sha256.Sum256(scratch), scratch
}

// Hash returns the state hash in version [HashVersion]. It covers every record,
// the reply cache and the clock, but not the applied index: two nodes compare
// it at equal indexes.
func (v *View) Hash() [32]byte {
	var h [32]byte
	for lane := range v.sum {
		binary.BigEndian.PutUint64(h[lane*8:], v.sum[lane])
	}
	return h
}
