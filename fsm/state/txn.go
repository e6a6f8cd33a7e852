package state

import (
	"crypto/sha256"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// Txn makes the next [Root]. Its own reads see its writes; nobody else does
// before [Txn.Commit]. It keeps every index and the state hash in step with the
// records, so a caller cannot forget one. Records that are put belong to the
// state from then on and must not be changed; to change one, put a copy.
//
// A Txn checks no rule: names that collide or parents that do not exist are for
// package fsm to refuse before it writes.
type Txn struct {
	View
	// digested is the digest of the record that is about to be put, when the
	// [Loader] has it already.
	digested *[sha256.Size]byte
	scratch  []byte // reused from one digest to the next
}

// SetApplied moves the applied index.
func (x *Txn) SetApplied(index uint64) { x.applied = index }

// PutCluster writes the record of the cluster.
func (x *Txn) PutCluster(c *Cluster) {
	x.recount(TableCluster, nil, x.cluster != nil, x.cluster, c)
	x.cluster = c
}

// PutClock writes the replicated time.
func (x *Txn) PutClock(c *Clock) {
	x.recount(TableClock, nil, x.clock != nil, x.clock, c)
	x.clock = c
}

// PutVersion writes one version of a key.
func (x *Txn) PutVersion(v *Version) {
	put(x, TableVersion, &x.versions, appendVersionKey(nil, v.KeyID, v.Number), v)
}

// PutJoinToken writes a join token.
func (x *Txn) PutJoinToken(t *JoinToken) {
	put(x, TableJoinToken, &x.joinTokens, []byte(t.ID), t)
}

// PutNode writes a node.
func (x *Txn) PutNode(n *Node) {
	put(x, TableNode, &x.nodes, []byte(n.ID), n)
}

// DeleteNode removes a node.
func (x *Txn) DeleteNode(n *Node) { remove(x, TableNode, &x.nodes, []byte(n.ID), n) }

// DeleteJoinToken forgets a token.
func (x *Txn) DeleteJoinToken(t *JoinToken) {
	remove(x, TableJoinToken, &x.joinTokens, []byte(t.ID), t)
}

// PutReply keeps an answer. A proposal is answered once, so its id is new.
func (x *Txn) PutReply(r *Reply) {
	put(x, TableReply, &x.replies, []byte(r.ProposalID), r)
	x.replyOrder.insert(appendReplyOrderKey(nil, r.First, r.Index), r.ProposalID)
	x.replyCount++
}

// DeleteReply forgets an answer.
func (x *Txn) DeleteReply(r *Reply) {
	remove(x, TableReply, &x.replies, []byte(r.ProposalID), r)
	x.replyOrder.remove(appendReplyOrderKey(nil, r.First, r.Index))
	x.replyCount--
}

// put writes a record into its table and the hash, and returns what it replaced.
func put[T any](x *Txn, number Table, t *table[*T], key []byte, record *T) (old *T, had bool) {
	old, had = t.insert(key, record)
	x.recount(number, key, had, old, record)
	return old, had
}

// recount takes the old record, if there was one, out of the hash and the new one in.
func (x *Txn) recount(number Table, key []byte, had bool, old, record any) {
	x.changed(number)
	if had {
		x.sum.sub(x.digest(number, key, canonical.MustMarshal(old)))
	}
	if x.digested != nil {
		x.sum.add(*x.digested)
		return
	}
	x.sum.add(x.digest(number, key, canonical.MustMarshal(record)))
}

// changed says that a record of a table is written or removed: nothing that was
// made of the records before counts for the state that comes of it.
func (x *Txn) changed(number Table) {
	if ofPeople(number) {
		x.people = new(people)
	}
}

// remove takes a record out of its table and the hash.
func remove[T any](x *Txn, number Table, t *table[*T], key []byte, record *T) {
	x.changed(number)
	x.sum.sub(x.digest(number, key, canonical.MustMarshal(record)))
	t.remove(key)
}
