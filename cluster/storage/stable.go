package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
)

// Keys that are in use, and the bucket they are in.
var (
	stableBucket = []byte("stable")
	keyVoteTerm  = []byte("LastVoteTerm")
	keyVoteFor   = []byte("LastVoteCand")
	keySum       = []byte("sum") // not raft's
)

// keyCommitted is our own: see [Stores.NoteCommitted].
var keyCommitted = []byte("KnownCommitted")

// errNotFound has the text that raft compares with.
var errNotFound = errors.New("not found")

// stableStore keeps term and vote in a file of its own.
//
// Raft writes a vote as two values, first its term, then the candidate. A crash
// in between would leave the new term beside the candidate of an older vote,
// and that candidate, asking again in the new term, would be granted the vote
// without a look at its log (hashicorp/raft#661). So the term is held back and
// both are written in one transaction when the candidate comes. raft-boltdb
// cannot write two keys at once, hence bbolt itself.
type stableStore struct {
	db *bbolt.DB

	mu       sync.Mutex
	voteTerm []byte // held back until its candidate comes; nil when there is none
}

func openStable(path string) (*stableStore, error) {
	if err := checkPages(path, string(stableBucket)); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, boltOptions(stableMmap))
	if err != nil {
		return nil, err
	}
	s := &stableStore{db: db}
	err = db.View(checkSum)
	if err == nil { // else a new sum would have the next start take them as they are
		err = s.update(func(*bbolt.Bucket) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// update writes values, and the sum of all.
func (s *stableStore) update(put func(*bbolt.Bucket) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(stableBucket)
		if err != nil {
			return err
		}
		if err := put(bucket); err != nil {
			return err
		}
		sum, err := sumOf(tx)
		if err != nil {
			return err
		}
		return bucket.Put(keySum, sum)
	})
}

// checkSum finds out whether values are as they were written. One that another
// transaction has come behind is none: that of a version that wrote no sums.
func checkSum(tx *bbolt.Tx) error {
	bucket := tx.Bucket(stableBucket)
	if bucket == nil {
		return nil
	}
	written := bucket.Get(keySum)
	sum, err := sumOf(tx)
	if err != nil {
		return err
	}
	if len(written) == len(sum) && slices.Equal(written[:8], sum[:8]) && !slices.Equal(written, sum) {
		return fmt.Errorf("term and vote: %w", errAltered)
	}
	return nil
}

// sumOf is the transaction that wrote the values, and a checksum over both.
func sumOf(tx *bbolt.Tx) ([]byte, error) {
	id := binary.BigEndian.AppendUint64(nil, uint64(tx.ID()))
	all := slices.Clone(id)
	err := tx.Bucket(stableBucket).ForEach(func(key, value []byte) error {
		if slices.Equal(key, keySum) {
			return nil
		}
		for _, part := range [][]byte{key, value} {
			all = append(binary.BigEndian.AppendUint32(all, uint32(len(part))), part...)
		}
		return nil
	})
	return binary.BigEndian.AppendUint32(id, crc32.Checksum(all, crc32.MakeTable(crc32.Castagnoli))), err
}

func (s *stableStore) Close() error { return s.db.Close() }

// Set writes one value, or a whole vote when it is the vote's candidate.
func (s *stableStore) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(key, keyVoteTerm) {
		s.voteTerm = slices.Clone(value)
		return nil
	}
	vote := slices.Equal(key, keyVoteFor)
	if err := s.update(func(bucket *bbolt.Bucket) error {
		if vote && s.voteTerm != nil {
			if err := bucket.Put(keyVoteTerm, s.voteTerm); err != nil {
				return err
			}
		}
		return bucket.Put(key, value)
	}); err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	if vote {
		s.voteTerm = nil
	}
	return nil
}

// Get returns what is on disk; a vote's term that is held back is not.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	var value []byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		if bucket := tx.Bucket(stableBucket); bucket != nil { // a first start that was cut short has made none
			value = slices.Clone(bucket.Get(key))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", key, err)
	case value == nil:
		return nil, errNotFound
	}
	return value, nil
}

// SetUint64 is Set of 8 bytes, big-endian.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 is Get of 8 bytes, big-endian.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("reading %s: %d bytes instead of 8", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// term is raft's current one; zero: none was written yet.
func (s *stableStore) term() (uint64, error) {
	term, err := s.GetUint64([]byte("CurrentTerm")) // the name is raft's
	if err != nil && !errors.Is(err, errNotFound) {
		return 0, err
	}
	return term, nil
}
