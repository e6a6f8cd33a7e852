package state

import (
	"encoding/binary"
	"slices"
	"strings"
)

// What belongs to a key: how it is written, found and removed.

// PutKey writes a key, its name, its tags, its place in the project's list and
// what is due for it. Project, Sequence and Default of a key never change.
func (x *Txn) PutKey(k *Key) {
	old, had := put(x, TableKey, &x.keys, []byte(k.ID), k)
	x.moveTimer(old, k)
	x.moveInLists(old, k)
	x.moveTags(old, k)
	x.moveGrants(old, k)
	if had && old.Name == k.Name {
		return
	}
	x.moveName(old, k)
	if had {
		x.keyNames.remove(appendNameKey(nil, old.ProjectID, PlainName(old.Name)))
	} else {
		x.keyOrder.insert(appendSequenceKey(nil, k.ProjectID, k.Sequence), k.ID)
		x.countKey(k, 1)
	}
	x.keyNames.insert(appendNameKey(nil, k.ProjectID, PlainName(k.Name)), k.ID)
}

// DeleteKey removes a key with its versions, aliases, grants, uses and discards.
func (x *Txn) DeleteKey(k *Key) {
	for _, v := range x.Versions(k.ID) {
		key := appendVersionKey(nil, v.KeyID, v.Number)
		remove(x, TableVersion, &x.versions, key, v)
		if u, used := x.uses.get(key); used {
			remove(x, TableUse, &x.uses, key, u)
		}
	}
	for _, a := range x.AliasesOf(k.ID) {
		x.DeleteAlias(a)
	}
	for _, d := range x.Discards(k.ID) {
		x.DeleteDiscard(d)
	}
	for _, g := range x.GrantsOn(k.ID, 0, allGrants) {
		x.DeleteGrant(g)
	}
	if p, ok := x.Project(k.ProjectID); ok && k.Sequence == x.newest(k.ProjectID) && k.Sequence > p.LastSequence {
		project := *p
		project.LastSequence = k.Sequence
		x.PutProject(&project)
	}
	remove(x, TableKey, &x.keys, []byte(k.ID), k)
	x.moveTimer(k, nil)
	x.moveInLists(k, nil)
	x.moveTags(k, nil)
	x.moveName(k, nil)
	x.moveGrants(k, nil)
	x.keyNames.remove(appendNameKey(nil, k.ProjectID, PlainName(k.Name)))
	x.keyOrder.remove(appendSequenceKey(nil, k.ProjectID, k.Sequence))
	x.countKey(k, -1)
}

func (x *Txn) countKey(k *Key, by int) {
	if !k.Default { // the default master keys of services are not counted
		x.keyCounts.insert([]byte(k.ProjectID), x.KeyCount(k.ProjectID)+by)
	}
}

// moveTimer keeps the list of what is due in step with a key; nil: there is none.
func (x *Txn) moveTimer(from, to *Key) {
	was, is := due(from), due(to)
	if was == is {
		return
	}
	if was != 0 {
		x.timers.remove(appendTimerKey(nil, was, from.ID))
	}
	if is != 0 {
		x.timers.insert(appendTimerKey(nil, is, to.ID), to.ID)
	}
}

// due returns when something has to be done for a key next; 0: nothing.
func due(k *Key) int64 {
	if k == nil {
		return 0
	}
	next := k.ImportDue() // in every state
	switch k.State {
	case PendingDeletion:
		next = earlier(next, k.Deletion)
	case Enabled:
		next = earlier(next, k.RotationDue)
	}
	return next
}

// earlier returns the one that comes first; 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// PutAlias writes an alias. Its project and name never change.
func (x *Txn) PutAlias(a *Alias) {
	key := appendNameKey(nil, a.ProjectID, PlainName(a.Name))
	old, had := put(x, TableAlias, &x.aliases, key, a)
	if had {
		x.keyAliases.remove(appendNameKey(nil, old.KeyID, PlainName(old.Name)))
	}
	x.keyAliases.insert(appendNameKey(nil, a.KeyID, PlainName(a.Name)), PlainName(a.Name))
	x.keyNames.insert(slices.Clone(key), a.KeyID)
}

// DeleteAlias removes an alias.
func (x *Txn) DeleteAlias(a *Alias) {
	key := appendNameKey(nil, a.ProjectID, PlainName(a.Name))
	remove(x, TableAlias, &x.aliases, key, a)
	x.keyAliases.remove(appendNameKey(nil, a.KeyID, PlainName(a.Name)))
	x.keyNames.remove(key)
}

// PutTombstone writes what stays of a deleted key.
func (x *Txn) PutTombstone(t *Tombstone) {
	if old, had := put(x, TableTombstone, &x.tombstones, []byte(t.KeyID), t); had {
		x.deletions.remove(appendDeletionKey(nil, old.Index, old.KeyID))
	}
	x.deletions.insert(appendDeletionKey(nil, t.Index, t.KeyID), t.KeyID)
}

// PutErasure writes how far a node has erased.
func (x *Txn) PutErasure(e *Erasure) { put(x, TableErasure, &x.erasures, []byte(e.NodeID), e) }

// DeleteErasure forgets how far a node has erased.
func (x *Txn) DeleteErasure(e *Erasure) {
	remove(x, TableErasure, &x.erasures, []byte(e.NodeID), e)
}

// PutUse writes when a version was last used.
func (x *Txn) PutUse(u *Use) { put(x, TableUse, &x.uses, appendVersionKey(nil, u.KeyID, u.Number), u) }

// PlainName is a name without the prefix that may stand in front of it.
func PlainName(name string) string { return strings.TrimPrefix(name, AliasPrefix) }

// KeyByName returns the key of that name or alias in that project; the name
// may have [AliasPrefix] in front.
func (v *View) KeyByName(projectID, name string) (*Key, bool) {
	return byName(&v.keys, &v.keyNames, projectID, PlainName(name))
}

// Alias returns the alias of that name in that project.
func (v *View) Alias(projectID, name string) (*Alias, bool) {
	return v.aliases.get(appendNameKey(nil, projectID, PlainName(name)))
}

// AliasesOf returns the aliases that point at a key, by name, in a new slice.
func (v *View) AliasesOf(keyID string) []*Alias {
	var all []*Alias
	key, ok := v.Key(keyID)
	if !ok {
		return nil
	}
	for _, name := range v.keyAliases.under(appendNameKey(nil, keyID, "")) {
		a, _ := v.Alias(key.ProjectID, name)
		all = append(all, a)
	}
	return all
}

// Aliases returns up to limit aliases of a project whose names come after the
// given one (without prefix; empty: from the first), in the order of their names, in a new slice.
func (v *View) Aliases(projectID, after string, limit int) []*Alias {
	return take(&v.aliases, appendNameKey(nil, projectID, after), appendNameKey(nil, projectID, ""), after != "", limit)
}

// take returns up to limit records whose keys begin with prefix and are not
// before from; skip: nor equal to it.
func take[T any](t *table[T], from, prefix []byte, skip bool, limit int) []T {
	var all []T
	for key, record := range t.up(from) {
		if len(all) >= limit || !strings.HasPrefix(key, string(prefix)) {
			break
		}
		if skip && key == string(from) {
			continue
		}
		all = append(all, record)
	}
	return all
}

// Versions returns all versions of a key, oldest first, in a new slice.
func (v *View) Versions(keyID string) []*Version {
	return records(v.versions.under([]byte(keyID)))
}

// Due returns up to limit keys for which something is due at that time: a
// deletion (of those that are pending), a rotation (of those that are Enabled)
// or the end of something imported. The longest overdue comes first. A filter leaves keys out; nil: none.
// The slice is new.
func (v *View) Due(now int64, limit int, filter func(*Key) bool) []*Key {
	var keys []*Key
	for place, id := range v.timers.all() {
		if len(keys) >= limit || int64(binary.BigEndian.Uint64([]byte(place[:8]))) > now {
			break
		}
		if key, _ := v.Key(id); filter == nil || filter(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Tombstone returns what stays of the deleted key of that id.
func (v *View) Tombstone(keyID string) (*Tombstone, bool) { return byID(&v.tombstones, keyID) }

// LastDeletion returns the index of the entry that last deleted a key, discarded
// material, or came late with what was deleted or discarded before; 0: none did.
func (v *View) LastDeletion() uint64 {
	place, _, ok := v.deletions.last()
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(place[:8]))
}

// Erasure returns how far a node has erased.
func (v *View) Erasure(nodeID string) (*Erasure, bool) { return byID(&v.erasures, nodeID) }

// Use returns when a version was last used, if it was.
func (v *View) Use(keyID string, number uint32) (*Use, bool) {
	return v.uses.get(appendVersionKey(nil, keyID, number))
}
