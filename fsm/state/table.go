package state

import (
	"encoding/binary"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Table numbers one kind of record, in the hash and in snapshots. Numbers are
// never reused; a snapshot holds the tables in this order.
type Table uint8

// The tables.
const (
	TableCluster   Table = 1
	TableClock     Table = 2
	TableDomain    Table = 3
	TableProject   Table = 4
	TableUser      Table = 5
	TableAccessKey Table = 6
	TableKey       Table = 7
	TableVersion   Table = 8
	TableJoinToken Table = 9
	TableNode      Table = 10
	TableReply     Table = 11
	TableAlias     Table = 20
	TableTombstone Table = 21
	TableErasure   Table = 22
	TableUse       Table = 23
	TableDiscard   Table = 24
	TableGrant     Table = 27
	TableGroup     Table = 36
	TablePolicy    Table = 37

	TableRevokedToken Table = 44
	TableAccess       Table = 45
	TableProvider     Table = 46
	TableBinding      Table = 47

	TableAuthenticator Table = 48

	TableTraceLog Table = 54
)

// table is one kind of record, or one index, in the order of its keys: a tree
// in a [Root], and besides a transaction on it once a [Txn] has written to it.
type table[T any] struct {
	tree *iradix.Tree[T]
	txn  *iradix.Txn[T] // nil until the first write
}

func newTable[T any]() table[T] { return table[T]{tree: iradix.New[T]()} }

// node is where every read starts.
func (t *table[T]) node() *iradix.Node[T] {
	if t.txn != nil {
		return t.txn.Root()
	}
	return t.tree.Root()
}

func (t *table[T]) get(key []byte) (T, bool) { return t.node().Get(key) }

// size is how many records the table has once it is committed: those of the
// tree that the transaction began with.
func (t *table[T]) size() int { return t.tree.Len() }

// insert keeps key, which the caller must not touch again.
func (t *table[T]) insert(key []byte, value T) (old T, replaced bool) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	return t.txn.Insert(key, value)
}

func (t *table[T]) remove(key []byte) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	t.txn.Delete(key)
}

// commit turns the table of a Txn into that of a Root.
func (t *table[T]) commit() {
	if t.txn != nil {
		*t = table[T]{tree: t.txn.Commit()}
	}
}

// keySpace is what the key of a lookup needs at most in every table but a long
// name's, so that a lookup allocates nothing.
const keySpace = 96

// The keys of records. An id is its own key; versions of a key lie together.

func appendVersionKey(dst []byte, keyID string, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, keyID...), number)
}

// The keys of indexes. Ids hold no zero byte, so a parent's children lie
// together and no two parents' run into one another.

// appendTimerKey orders what is due by when, and then by which key.
func appendTimerKey(dst []byte, at int64, keyID string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(at)), keyID...)
}

func appendNameKey(dst []byte, parentID, name string) []byte {
	return append(append(append(dst, parentID...), 0), name...)
}

func appendSequenceKey(dst []byte, projectID string, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append(dst, projectID...), 0), sequence)
}

// appendPlace adds a sequence number, or that of a block of them, to a list,
// which stays as it is.
func appendPlace(list []byte, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(list)+8), list...), sequence)
}

// appendTimeKey orders records by an instant, which is never negative.
func appendTimeKey(dst []byte, at int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(at)), id...)
}

// appendReplyOrderKey orders replies by when they leave: First is never negative.
func appendReplyOrderKey(dst []byte, first int64, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(first)), index)
}
