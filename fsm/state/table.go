package state

import (
	"encoding/binary"
	"iter"
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
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

// degree is of the trees: 15 to 31 entries a node, which is what a write copies
// of every node on its way.
const degree = 16

// table is one kind of record, or one index, in the order of its keys: a tree
// that never changes in a [Root], and once a [Txn] has written to it a tree of
// its own, which shares with the other what it has not changed.
type table[T any] struct {
	tree *btree.Map[string, T]
	own  bool // the Txn's
}

func newTable[T any]() table[T] { return table[T]{tree: btree.NewMap[string, T](degree)} }

// sought is a key for as long as something is looked for: no copy is made.
func sought(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

func (t *table[T]) get(key []byte) (T, bool) { return t.tree.Get(sought(key)) }

// size is how many records the table has.
func (t *table[T]) size() int { return t.tree.Len() }

// up walks from a key, or the first one after it, to the end of the table.
func (t *table[T]) up(from []byte) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) { t.tree.Ascend(sought(from), yield) }
}

// down walks from a key, or the last one before it, to the start of the table.
func (t *table[T]) down(from []byte) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) { t.tree.Descend(sought(from), yield) }
}

// below is the entry of a key, or the last one before it.
func (t *table[T]) below(key []byte) (at string, value T, ok bool) {
	for at, value := range t.down(key) {
		return at, value, true
	}
	return at, value, false
}

// under walks over the keys that begin with a prefix, in their order.
func (t *table[T]) under(prefix []byte) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		t.tree.Ascend(sought(prefix), func(key string, value T) bool {
			return strings.HasPrefix(key, sought(prefix)) && yield(key, value)
		})
	}
}

// all walks over the whole table.
func (t *table[T]) all() iter.Seq2[string, T] { return t.tree.Scan }

// records are the values of a walk, in a new slice.
func records[T any](walk iter.Seq2[string, T]) (all []T) {
	for _, record := range walk {
		all = append(all, record)
	}
	return all
}

// walkDown is [table.down] a step at a time, for who goes down several tables
// side by side.
type walkDown[T any] struct {
	at btree.MapIter[string, T]
	ok bool // it is at an entry
}

// from begins the walk.
func (w *walkDown[T]) from(t *table[T], key []byte) {
	w.at = t.tree.Iter()
	switch {
	case !w.at.Seek(sought(key)):
		w.ok = w.at.Last()
	case w.at.Key() != sought(key):
		w.ok = w.at.Prev()
	default:
		w.ok = true
	}
}

func (w *walkDown[T]) step() { w.ok = w.at.Prev() }

func (t *table[T]) insert(key []byte, value T) (old T, replaced bool) {
	t.begin()
	return t.tree.Set(string(key), value)
}

func (t *table[T]) remove(key []byte) {
	t.begin()
	t.tree.Delete(sought(key))
}

// begin makes the tree the Txn's own. One goroutine at a time writes states that
// come of one another: the tree of the Root notes that it is shared now.
func (t *table[T]) begin() {
	if !t.own {
		t.tree, t.own = t.tree.Copy(), true
	}
}

// commit turns the table of a Txn into that of a Root.
func (t *table[T]) commit() { t.own = false }

// first is the entry with the lowest key; ok is false if the table is empty.
func (t *table[T]) first() (key string, value T, ok bool) { return t.tree.Min() }

// last is the entry with the highest key.
func (t *table[T]) last() (key string, value T, ok bool) { return t.tree.Max() }

// number reads the number that a key ends with.
func number(key string) uint64 { return binary.BigEndian.Uint64([]byte(key[len(key)-8:])) }

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

// appendDeletionKey orders deletions by their entry, which may have several.
func appendDeletionKey(dst []byte, index uint64, keyID string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, index), keyID...)
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
