package state

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// ErrRecord is returned for a record that cannot be part of a state: of an
// unknown table, out of order, or not what this binary writes.
var ErrRecord = errors.New("not a record of the replicated state")

// Records yields every record as its table and its encoding, ordered by table
// and then by key. It encodes one at a time; the bytes are the caller's.
func (r *Root) Records() iter.Seq2[Table, []byte] {
	return func(yield func(Table, []byte) bool) {
		_ = (r.cluster == nil || yield(TableCluster, canonical.MustMarshal(r.cluster))) &&
			(r.clock == nil || yield(TableClock, canonical.MustMarshal(r.clock))) &&
			yieldTable(yield, TableDomain, &r.domains) &&
			yieldTable(yield, TableProject, &r.projects) &&
			yieldTable(yield, TableUser, &r.users) &&
			yieldTable(yield, TableAccessKey, &r.accessKeys) &&
			yieldTable(yield, TableKey, &r.keys) &&
			yieldTable(yield, TableVersion, &r.versions) &&
			yieldTable(yield, TableJoinToken, &r.joinTokens) &&
			yieldTable(yield, TableNode, &r.nodes) &&
			yieldTable(yield, TableReply, &r.replies) &&
			yieldTable(yield, TableAlias, &r.aliases) &&
			yieldTable(yield, TableTombstone, &r.tombstones) &&
			yieldTable(yield, TableErasure, &r.erasures) &&
			yieldTable(yield, TableUse, &r.uses) &&
			yieldTable(yield, TableDiscard, &r.discards) &&
			yieldTable(yield, TableGrant, &r.grants) &&
			yieldTable(yield, TableGroup, &r.groups) &&
			yieldTable(yield, TablePolicy, &r.policies) &&
			yieldTable(yield, TableRevokedToken, &r.revoked) &&
			yieldTable(yield, TableAccess, &r.accesses) &&
			yieldTable(yield, TableProvider, &r.providers) &&
			yieldTable(yield, TableBinding, &r.bindings) &&
			yieldTable(yield, TableAuthenticator, &r.authenticators) &&
			yieldTable(yield, TableTraceLog, &r.traceLogs)
	}
}

func yieldTable[T any](yield func(Table, []byte) bool, number Table, t *table[*T]) bool {
	for it := t.node().Iterator(); ; {
		_, record, ok := it.Next()
		if !ok {
			return true
		}
		if !yield(number, canonical.MustMarshal(record)) {
			return false
		}
	}
}

// Loader builds a state from the records that [Root.Records] yielded, in the
// same order, and computes the hash and every index anew.
type Loader struct {
	txn   *Txn
	table Table
	key   []byte
}

// NewLoader returns a Loader with no records.
func NewLoader() *Loader { return &Loader{txn: NewRoot().Txn()} }

// Load adds one record. It keeps no reference to data.
func (l *Loader) Load(number Table, data []byte) error {
	key, err := l.load(number, data)
	if err != nil {
		return fmt.Errorf("%w: table %d: %w", ErrRecord, number, err)
	}
	if number < l.table || number == l.table && bytes.Compare(key, l.key) <= 0 {
		return fmt.Errorf("%w: table %d: out of order", ErrRecord, number)
	}
	l.table, l.key = number, key
	return nil
}

// load writes the record and returns its key. The last record decides nothing
// before Load has checked the order: a Loader that failed is thrown away.
func (l *Loader) load(number Table, data []byte) (key []byte, err error) {
	x := l.txn
	x.encoded = data
	switch number {
	case TableCluster:
		return loadOne(data, x.PutCluster, func(*Cluster) []byte { return []byte{0} })
	case TableClock:
		return loadOne(data, x.PutClock, func(*Clock) []byte { return []byte{0} })
	case TableDomain:
		return loadOne(data, x.PutDomain, func(d *Domain) []byte { return []byte(d.ID) })
	case TableProject:
		return loadOne(data, x.PutProject, func(p *Project) []byte { return []byte(p.ID) })
	case TableUser:
		return loadOne(data, x.PutUser, func(u *User) []byte { return []byte(u.ID) })
	case TableAccessKey:
		return loadOne(data, x.PutAccessKey, func(a *AccessKey) []byte { return []byte(a.ID) })
	case TableKey:
		return loadOne(data, x.PutKey, func(k *Key) []byte { return []byte(k.ID) })
	case TableVersion:
		return loadOne(data, x.PutVersion, func(v *Version) []byte { return appendVersionKey(nil, v.KeyID, v.Number) })
	case TableJoinToken:
		return loadOne(data, x.PutJoinToken, func(t *JoinToken) []byte { return []byte(t.ID) })
	case TableNode:
		return loadOne(data, x.PutNode, func(n *Node) []byte { return []byte(n.ID) })
	case TableReply:
		return loadOne(data, x.PutReply, func(r *Reply) []byte { return []byte(r.ProposalID) })
	case TableAlias:
		return loadOne(data, x.PutAlias, func(a *Alias) []byte { return appendNameKey(nil, a.ProjectID, PlainName(a.Name)) })
	case TableTombstone:
		return loadOne(data, x.PutTombstone, func(t *Tombstone) []byte { return []byte(t.KeyID) })
	case TableErasure:
		return loadOne(data, x.PutErasure, func(e *Erasure) []byte { return []byte(e.NodeID) })
	case TableUse:
		return loadOne(data, x.PutUse, func(u *Use) []byte { return appendVersionKey(nil, u.KeyID, u.Number) })
	case TableDiscard:
		return loadOne(data, x.PutDiscard, func(d *Discard) []byte { return appendDiscardKey(nil, d.KeyID, d.Index) })
	case TableGrant:
		return loadOne(data, x.PutGrant, func(g *Grant) []byte { return []byte(g.ID) })
	case TableGroup:
		return loadOne(data, x.PutGroup, func(g *Group) []byte { return []byte(g.ID) })
	case TablePolicy:
		return l.loadPolicy(data)
	case TableRevokedToken:
		return loadOne(data, x.PutRevokedToken, func(t *RevokedToken) []byte { return []byte(t.ID) })
	case TableAccess:
		return loadOne(data, x.PutAccess, func(a *Access) []byte { return []byte(a.AccessKeyID) })
	case TableProvider:
		return loadOne(data, x.PutProvider, func(p *Provider) []byte { return []byte(p.ID) })
	case TableBinding:
		return loadOne(data, x.PutBinding, func(b *Binding) []byte { return appendNameKey(nil, b.ProviderID, b.Name) })
	case TableAuthenticator:
		return loadOne(data, x.PutAuthenticator, func(a *Authenticator) []byte { return []byte(a.UserID) })
	case TableTraceLog:
		return loadOne(data, x.PutTraceLog, func(t *TraceLog) []byte { return []byte(t.NodeID) })
	default:
		return nil, errors.New("no such table")
	}
}

// loadPolicy loads a policy, whose document must be one.
func (l *Loader) loadPolicy(data []byte) ([]byte, error) {
	p := new(Policy)
	if err := canonical.Unmarshal(data, p); err != nil {
		return nil, err
	}
	if err := p.Document.Check(); err != nil {
		return nil, err
	}
	l.txn.PutPolicy(p)
	return []byte(p.ID), nil
}

func loadOne[T any](data []byte, put func(*T), keyOf func(*T) []byte) ([]byte, error) {
	record := new(T)
	if err := canonical.Unmarshal(data, record); err != nil {
		return nil, err
	}
	put(record)
	return keyOf(record), nil
}

// Root returns the state after the entry at index applied. It refuses records
// of which two claim one name or one place in a list.
func (l *Loader) Root(applied uint64) (*Root, error) {
	l.txn.SetApplied(applied)
	l.txn.forgetFences(applied)
	r := l.txn.Commit()
	for _, unique := range [...]bool{
		r.domainNames.tree.Len() == r.domains.tree.Len(),
		r.projectNames.tree.Len() == r.projects.tree.Len(),
		r.userNames.tree.Len() == r.users.tree.Len(),
		r.groupNames.tree.Len() == r.groups.tree.Len(),
		r.policyNames.tree.Len() == r.policies.tree.Len(),
		r.keyNames.tree.Len() == r.keys.tree.Len()+r.aliases.tree.Len(),
		r.keyOrder.tree.Len() == r.keys.tree.Len(),
		r.replyOrder.tree.Len() == r.replies.tree.Len(),
	} {
		if !unique {
			return nil, fmt.Errorf("%w: two records claim one name or place", ErrRecord)
		}
	}
	return r, nil
}
