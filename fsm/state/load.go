package state

import (
	"bytes"
	"crypto/sha256"
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
	for _, record := range t.all() {
		if !yield(number, canonical.MustMarshal(record)) {
			return false
		}
	}
	return true
}

// Loader builds a state from the records that [Root.Records] yielded, in the
// same order, and computes the hash and every index anew. One goroutine uses it;
// in the end it calls Root or Abandon.
type Loader struct {
	txn   *Txn
	table Table
	key   []byte
	fresh freshKeys
}

// NewLoader returns a Loader with no records.
func NewLoader() *Loader { return &Loader{txn: NewRoot().Txn()} }

// Load adds one record. It keeps no reference to data.
func (l *Loader) Load(number Table, data []byte) error {
	decoded, err := Decode(number, data)
	if err != nil {
		return err
	}
	return l.Add(decoded)
}

// Decoded is a record that is ready to be added.
type Decoded struct {
	table  Table
	key    []byte
	digest [sha256.Size]byte
	add    func(*Loader)
}

// Add adds a record that [Decode] has returned.
func (l *Loader) Add(d Decoded) error {
	if d.table < l.table || d.table == l.table && bytes.Compare(d.key, l.key) <= 0 {
		return fmt.Errorf("%w: table %d: out of order", ErrRecord, d.table)
	}
	if d.table > TableKey && l.table <= TableKey {
		l.fresh.begin(l.txn)
	}
	if d.table >= TableAlias { // writes into the index of names, too
		l.fresh.all.Wait()
	}
	l.table, l.key = d.table, d.key
	l.txn.digested = &d.digest
	d.add(l)
	return nil
}

// Abandon ends what a Loader is doing whose state nobody wants.
func (l *Loader) Abandon() { l.fresh.all.Wait() }

// Decode reads a record. It depends on nothing but its arguments, so records may
// be decoded side by side, and it keeps no reference to data.
func Decode(number Table, data []byte) (Decoded, error) {
	d, err := decode(number, data)
	if err != nil {
		return Decoded{}, fmt.Errorf("%w: table %d: %w", ErrRecord, number, err)
	}
	hashed := d.key
	if number == TableCluster || number == TableClock {
		hashed = nil // there is one only
	}
	d.table = number
	d.digest, _ = digest(make([]byte, 0, 5+len(hashed)+len(data)), number, hashed, data)
	return d, nil
}

func decode(number Table, data []byte) (Decoded, error) {
	switch number {
	case TableCluster:
		return decodeOne(data, (*Txn).PutCluster, func(*Cluster) []byte { return []byte{0} })
	case TableClock:
		return decodeOne(data, (*Txn).PutClock, func(*Clock) []byte { return []byte{0} })
	case TableDomain:
		return decodeOne(data, (*Txn).PutDomain, func(d *Domain) []byte { return []byte(d.ID) })
	case TableProject:
		return decodeOne(data, (*Txn).PutProject, func(p *Project) []byte { return []byte(p.ID) })
	case TableUser:
		return decodeOne(data, (*Txn).PutUser, func(u *User) []byte { return []byte(u.ID) })
	case TableAccessKey:
		return decodeOne(data, (*Txn).PutAccessKey, func(a *AccessKey) []byte { return []byte(a.ID) })
	case TableKey:
		return decodeKey(data)
	case TableVersion:
		return decodeOne(data, (*Txn).PutVersion, func(v *Version) []byte { return appendVersionKey(nil, v.KeyID, v.Number) })
	case TableJoinToken:
		return decodeOne(data, (*Txn).PutJoinToken, func(t *JoinToken) []byte { return []byte(t.ID) })
	case TableNode:
		return decodeOne(data, (*Txn).PutNode, func(n *Node) []byte { return []byte(n.ID) })
	case TableReply:
		return decodeOne(data, (*Txn).PutReply, func(r *Reply) []byte { return []byte(r.ProposalID) })
	case TableAlias:
		return decodeOne(data, (*Txn).PutAlias, func(a *Alias) []byte { return appendNameKey(nil, a.ProjectID, PlainName(a.Name)) })
	case TableTombstone:
		return decodeOne(data, (*Txn).PutTombstone, func(t *Tombstone) []byte { return []byte(t.KeyID) })
	case TableErasure:
		return decodeOne(data, (*Txn).PutErasure, func(e *Erasure) []byte { return []byte(e.NodeID) })
	case TableUse:
		return decodeOne(data, (*Txn).PutUse, func(u *Use) []byte { return appendVersionKey(nil, u.KeyID, u.Number) })
	case TableDiscard:
		return decodeOne(data, (*Txn).PutDiscard, func(d *Discard) []byte { return appendDiscardKey(nil, d.KeyID, d.Index) })
	case TableGrant:
		return decodeOne(data, (*Txn).PutGrant, func(g *Grant) []byte { return []byte(g.ID) })
	case TableGroup:
		return decodeOne(data, (*Txn).PutGroup, func(g *Group) []byte { return []byte(g.ID) })
	case TablePolicy:
		return decodePolicy(data)
	case TableRevokedToken:
		return decodeOne(data, (*Txn).PutRevokedToken, func(t *RevokedToken) []byte { return []byte(t.ID) })
	case TableAccess:
		return decodeOne(data, (*Txn).PutAccess, func(a *Access) []byte { return []byte(a.AccessKeyID) })
	case TableProvider:
		return decodeOne(data, (*Txn).PutProvider, func(p *Provider) []byte { return []byte(p.ID) })
	case TableBinding:
		return decodeOne(data, (*Txn).PutBinding, func(b *Binding) []byte { return appendNameKey(nil, b.ProviderID, b.Name) })
	case TableAuthenticator:
		return decodeOne(data, (*Txn).PutAuthenticator, func(a *Authenticator) []byte { return []byte(a.UserID) })
	case TableTraceLog:
		return decodeOne(data, (*Txn).PutTraceLog, func(t *TraceLog) []byte { return []byte(t.NodeID) })
	default:
		return Decoded{}, errors.New("no such table")
	}
}

// decodePolicy decodes a policy, whose document must be one.
func decodePolicy(data []byte) (Decoded, error) {
	p := new(Policy)
	if err := canonical.Unmarshal(data, p); err != nil {
		return Decoded{}, err
	}
	if err := p.Document.Check(); err != nil {
		return Decoded{}, err
	}
	return Decoded{key: []byte(p.ID), add: func(l *Loader) { l.txn.PutPolicy(p) }}, nil
}

// decodeKey decodes a key, whose indexes are made later, of all keys at once.
func decodeKey(data []byte) (Decoded, error) {
	k := new(Key)
	if err := canonical.Unmarshal(data, k); err != nil {
		return Decoded{}, err
	}
	id := []byte(k.ID)
	return Decoded{key: id, add: func(l *Loader) {
		put(l.txn, TableKey, &l.txn.keys, id, k)
		l.txn.moveTimer(nil, k)
		l.txn.moveGrants(nil, k)
		l.fresh.keys = append(l.fresh.keys, k)
	}}, nil
}

func decodeOne[T any](data []byte, put func(*Txn, *T), keyOf func(*T) []byte) (Decoded, error) {
	record := new(T)
	if err := canonical.Unmarshal(data, record); err != nil {
		return Decoded{}, err
	}
	return Decoded{key: keyOf(record), add: func(l *Loader) { put(l.txn, record) }}, nil
}

// Root returns the state after the entry at index applied. It refuses records
// of which two claim one name or one place in a list.
func (l *Loader) Root(applied uint64) (*Root, error) {
	if l.table <= TableKey {
		l.fresh.begin(l.txn)
	}
	l.fresh.all.Wait()
	l.txn.SetApplied(applied)
	l.txn.forgetFences(applied)
	r := l.txn.Commit()
	for _, unique := range [...]bool{
		r.domainNames.size() == r.domains.size(),
		r.projectNames.size() == r.projects.size(),
		r.userNames.size() == r.users.size(),
		r.groupNames.size() == r.groups.size(),
		r.policyNames.size() == r.policies.size(),
		r.keyNames.size() == r.keys.size()+r.aliases.size(),
		r.keyOrder.size() == r.keys.size(),
		r.replyOrder.size() == r.replies.size(),
	} {
		if !unique {
			return nil, fmt.Errorf("%w: two records claim one name or place", ErrRecord)
		}
	}
	return r, nil
}
